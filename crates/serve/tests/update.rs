//! The loops that tell and learn endpoints, on real sockets of the loopback device.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

mod middle;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use straddle_announce::Reason;
use straddle_serve::http;
use straddle_serve::told::Endpoints;
use straddle_serve::update::{Client, Expected, Server, Timing, Told};
use straddle_wire::ip::Version;

use middle::{ByHand, HERE, LIMIT, Middle, key, loopback, socket, until};

const A: &str = "2001:db8:a::231:201:224:144";
const B: &str = "2001:db8:b::231:201:224:144";
const C: &str = "2001:db8:c::231:201:224:144";

/// Kinds of messages.
const CHALLENGE: u8 = 2;
const ACK: u8 = 3;

/// A year in which many clocks stand that nobody has set, and one far away.
const BEHIND: Duration = Duration::from_secs(86_400);
const AHEAD: Duration = Duration::from_secs(4_102_444_800);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A server, and what it was told.
struct Heard {
    server: Server,
    endpoints: Arc<Endpoints>,
}

impl Deref for Heard {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn hearing(listen: &[SocketAddr], expected: Vec<Expected>, endpoint: Option<&str>) -> Heard {
    let known = endpoint.map(|endpoint| ("home".to_owned(), address(endpoint)));
    let endpoints = Arc::new(Endpoints::new(known).unwrap());
    Heard { server: Server::begin(listen, expected, endpoints.clone()).unwrap(), endpoints }
}

fn server_at(listen: SocketAddr, endpoint: Option<&str>) -> Heard {
    let home = Expected { bridge: "home".into(), key: key(7), version: Version::V6 };
    let box4 = Expected { bridge: "box".into(), key: key(8), version: Version::V4 };
    hearing(&[listen], vec![home, box4], endpoint)
}

fn server() -> Heard {
    server_at((HERE, 0).into(), None)
}

/// An address that no other test listens at, so that its port stays free between one server and the next.
fn nobodys(last: u8) -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    ([127, high.max(1), low, last], 0).into()
}

fn at(server: &Server) -> SocketAddr {
    server.addresses()[0]
}

/// A client that does not hurry, and asks for no answer twice while the test is about something else.
fn client(server: SocketAddr, endpoint: &str) -> Client {
    with_patience(LIMIT, server, endpoint)
}

fn with_patience(first: Duration, server: SocketAddr, endpoint: &str) -> Client {
    let timing = Timing { first, longest: LIMIT, refresh: Duration::from_millis(20) };
    let client = Client::begin("home", key(7), server, timing).unwrap();
    client.tell(Some(Told { endpoint: address(endpoint), source: loopback(server) }));
    client
}

fn tell(client: &Client, endpoint: &str) {
    client.tell(Some(Told { endpoint: address(endpoint), source: HERE }));
}

fn is_ready(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).unwrap();
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&limit)).unwrap() == 1
}

/// Waits for the next change that the server tells.
#[track_caller]
fn changes_to(server: &Heard, endpoint: &str) {
    assert!(is_ready(server.endpoints.fd(), LIMIT), "no endpoint has changed");
    assert_eq!(endpoint_of(server), Some(address(endpoint)));
    assert!(!is_ready(server.endpoints.fd(), Duration::ZERO));
}

fn endpoint_of(server: &Heard) -> Option<IpAddr> {
    server.endpoints.all().get("home").copied()
}

fn told_at(server: &Heard) -> Option<u64> {
    server.endpoints.of("home")?.told_at
}

fn count(server: &Server, reason: Reason) -> u64 {
    let messages = server.reports().remove(0).messages;
    messages.iter().find(|(name, _)| *name == reason.name()).map_or(0, |(_, count)| *count)
}

fn stranger(server: &Server, reason: Reason) -> u64 {
    server.strangers().iter().find(|(name, _)| *name == reason.name()).map_or(0, |(_, count)| *count)
}

fn is_acknowledged(client: &Client) -> bool {
    let state = client.state();
    state.acknowledged_at.is_some() && state.trouble.is_none()
}

#[test]
fn an_endpoint_is_told_and_changes() {
    let server = server();
    assert!(server.endpoints.all().is_empty());
    let client = client(at(&server), A);
    changes_to(&server, A);
    until("acknowledged", || is_acknowledged(&client));
    assert_eq!(client.state().endpoint, Some(address(A)));
    assert!(told_at(&server).is_some());

    tell(&client, B);
    changes_to(&server, B);
    until("acknowledged", || is_acknowledged(&client));
    // The first was challenged; the second was of the session already.
    assert_eq!((count(&server, Reason::Unproven), count(&server, Reason::Accepted)), (1, 2));
    until("refreshed", || count(&server, Reason::Refreshed) >= 3);
    assert!(!is_ready(server.endpoints.fd(), Duration::ZERO), "what is known changes nothing");
    assert!(client.messages().contains(&("challenged", 1)));
}

#[test]
fn two_families_and_two_bridges() {
    let listen = [(HERE, 0).into(), ([127, 0, 0, 1], 0).into()];
    let v4 = Expected { bridge: "box".into(), key: key(8), version: Version::V4 };
    let v6 = Expected { bridge: "home".into(), key: key(7), version: Version::V6 };
    let server = hearing(&listen, vec![v4, v6], None);
    let [over6, over4] = server.addresses() else { panic!("{:?}", server.addresses()) };
    let mut home = ByHand::new("home", 7, *over6, AHEAD);
    let mut box4 = ByHand::new("box", 8, *over4, AHEAD);
    let told = [Reason::Challenged, Reason::Acknowledged];
    assert_eq!(home.tell(address(A)), told);
    assert_eq!(box4.tell(address("192.0.2.7")), told);
    let expected = [("box".to_owned(), address("192.0.2.7")), ("home".to_owned(), address(A))];
    assert_eq!(server.endpoints.all(), expected.into());
    // The other's key is none.
    let socket = socket(HERE);
    let forged = ByHand::new("box", 7, *over6, AHEAD).would_send(address("192.0.2.8"));
    socket.send_to(&forged, *over6).unwrap();
    until("refused", || server.reports()[0].messages.contains(&(Reason::Forged.name(), 1)));
    assert_eq!(server.endpoints.all()["box"], address("192.0.2.7"));
}

/// Everything that was ever sent, sent again from elsewhere.
#[test]
fn replays_change_nothing() {
    let server = server();
    let mut middle = Middle::before(at(&server));
    let client = client(middle.address(), A);
    middle.pass();
    middle.pass();
    changes_to(&server, A);
    tell(&client, B);
    middle.pass_until(|| endpoint_of(&server) == Some(address(B)));
    drop(client);
    let accepted = || (count(&server, Reason::Accepted), count(&server, Reason::Refreshed));
    let ends = [Reason::Unproven, Reason::Behind, Reason::Repeated];
    let others = || ends.iter().map(|reason| count(&server, *reason)).sum::<u64>();
    let before = (accepted(), others());
    let replayer = socket(HERE);
    for datagram in &middle.recorded {
        replayer.send_to(datagram, at(&server)).unwrap();
    }
    until("all are judged", || others() == before.1 + middle.recorded.len() as u64);
    assert_eq!(accepted(), before.0);
    assert!(ends.iter().all(|reason| count(&server, *reason) > 0));
    assert_eq!(endpoint_of(&server), Some(address(B)));
}

/// Every message that is not the client's own, each counted by its name, none answered.
#[test]
fn what_is_refused_is_counted_and_not_answered() {
    let server = server();
    let mut honest = ByHand::new("home", 7, at(&server), AHEAD);
    honest.tell(address(A));
    let hostile = socket(HERE);
    let update = honest.would_send(address(B));
    let send = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = update.clone();
        change(&mut bytes);
        hostile.send_to(&bytes, at(&server)).unwrap();
    };
    send(&|bytes| bytes.clear());
    send(&|bytes| bytes.truncate(103));
    send(&|bytes| bytes.resize(1400, 0));
    until("length", || stranger(&server, Reason::Length) == 3);
    send(&|bytes| bytes[3] = 9);
    until("version", || stranger(&server, Reason::Version) == 1);
    send(&|bytes| bytes[4] = 9);
    until("malformed", || stranger(&server, Reason::Malformed) == 1);
    send(&|bytes| bytes[8] ^= 1);
    until("unknown bridge", || stranger(&server, Reason::UnknownBridge) == 1);
    send(&|bytes| bytes[4] = 3);
    until("direction", || count(&server, Reason::Direction) == 1);
    send(&|bytes| bytes[31] ^= 1);
    send(&|bytes| bytes[72..].fill(0));
    let unkeyed = ByHand::new("home", 9, at(&server), AHEAD).would_send(address(B));
    send(&|bytes| bytes.clone_from(&unkeyed));
    until("forged", || count(&server, Reason::Forged) == 3);
    let link_local = ByHand::new("home", 7, at(&server), AHEAD).would_send(address("fe80::1"));
    send(&|bytes| bytes.clone_from(&link_local));
    until("unsuitable", || count(&server, Reason::UnsuitableEndpoint) == 1);

    assert_eq!(endpoint_of(&server), Some(address(A)));
    hostile.set_nonblocking(true).unwrap();
    assert!(hostile.recv(&mut [0; 200]).is_err(), "nobody without the key is answered");
    // The update itself is good.
    hostile.set_nonblocking(false).unwrap();
    hostile.send_to(&update, at(&server)).unwrap();
    hostile.recv(&mut [0; 200]).unwrap();
    assert_eq!(endpoint_of(&server), Some(address(B)));
}

/// A flood beside honest updates, which all get through; what is beyond the limit is not even verified.
#[test]
fn a_flood() {
    let server = server();
    let forged = ByHand::new("home", 9, at(&server), AHEAD).would_send(address(C));
    let hostile = socket(HERE);
    let client = client(at(&server), A);
    changes_to(&server, A);
    for round in 0..10 {
        for _ in 0..100 {
            hostile.send_to(&forged, at(&server)).unwrap();
        }
        let endpoint = [B, A][round % 2];
        tell(&client, endpoint);
        changes_to(&server, endpoint);
    }
    let judged = || count(&server, Reason::Forged) + count(&server, Reason::RateLimited);
    until("the flood is judged", || judged() == 1000);
    assert_eq!(count(&server, Reason::RateLimited), 0);
    drop(client);

    let deadline = Instant::now() + LIMIT;
    while count(&server, Reason::RateLimited) == 0 {
        assert!(Instant::now() < deadline, "nothing is limited");
        for _ in 0..1000 {
            hostile.send_to(&forged, at(&server)).unwrap();
        }
    }
    assert_eq!(endpoint_of(&server), Some(address(A)));
}

/// The challenge is lost, and then the acknowledgement: the client asks again.
#[test]
fn answers_are_lost() {
    let server = server();
    let mut middle = Middle::before(at(&server));
    let client = with_patience(Duration::from_millis(20), middle.address(), A);
    middle.lose(CHALLENGE);
    middle.lose(ACK);
    changes_to(&server, A);
    assert!(client.state().acknowledged_at.is_none());
    middle.pass_until(|| is_acknowledged(&client));
    assert!(count(&server, Reason::Repeated) >= 1);
    assert_eq!(count(&server, Reason::Accepted), 1);
}

#[test]
fn a_server_begins_anew() {
    let check = |remembered: Option<&str>| {
        let first = server_at(nobodys(1), None);
        let listen = at(&first);
        let mut middle = Middle::before(listen);
        let client = client(middle.address(), A);
        middle.pass();
        middle.pass();
        changes_to(&first, A);
        until("acknowledged", || is_acknowledged(&client));
        drop(first);

        let second = server_at(listen, remembered);
        assert_eq!(endpoint_of(&second), remembered.map(address));
        // What the first has accepted is no proof for the second.
        let replayer = socket(loopback(listen));
        for datagram in &middle.recorded {
            replayer.send_to(datagram, listen).unwrap();
        }
        until("challenged", || count(&second, Reason::Unproven) == middle.recorded.len() as u64);
        assert_eq!(endpoint_of(&second), remembered.map(address));
        // The client's refresh is challenged too, and its answer accepted.
        let (reason, told) = match remembered {
            Some(_) => (Reason::Refreshed, false),
            None => (Reason::Accepted, true),
        };
        middle.pass_until(|| count(&second, reason) >= 1);
        assert_eq!(is_ready(second.endpoints.fd(), Duration::ZERO), told);
        assert_eq!(endpoint_of(&second), Some(address(A)));
    };
    check(Some(A));
    check(None);
}

/// Clocks of a client from before its reinstallation and after it, in either order.
#[test]
fn a_client_begins_anew() {
    let check = |before: Duration, after: Duration| {
        let server = server();
        let mut first = ByHand::new("home", 7, at(&server), before);
        assert_eq!(first.tell(address(A)), [Reason::Challenged, Reason::Acknowledged]);
        let old = first.would_send(address(C));
        changes_to(&server, A);
        let mut second = ByHand::new("home", 7, at(&server), after);
        assert_eq!(second.tell(address(B)), [Reason::Challenged, Reason::Acknowledged]);
        assert_eq!(second.tell(address(A)), [Reason::Acknowledged]);
        assert_eq!(second.tell(address(B)), [Reason::Acknowledged]);
        changes_to(&server, B);
        // What the first would have said, and with a greater counter.
        socket(HERE).send_to(&old, at(&server)).unwrap();
        until("challenged", || count(&server, Reason::Unproven) == 3);
        assert_eq!(endpoint_of(&server), Some(address(B)));
    };
    check(AHEAD, BEHIND);
    check(BEHIND, AHEAD);
    check(AHEAD, AHEAD);
}

#[test]
fn nobody_listens_yet() {
    let listen = at(&server_at(nobodys(2), None));
    let client = with_patience(Duration::from_millis(20), listen, A);
    until("refused", || client.state().trouble.is_some());
    assert!(!is_ready(client.ended(), Duration::ZERO));
    let trouble = client.state().trouble.unwrap();
    assert_eq!(trouble, format!("no update reaches {listen}: Connection refused (os error 111)"));
    let server = server_at(listen, None);
    changes_to(&server, A);
    assert!(is_ready(client.fd(), LIMIT));
    until("acknowledged", || is_acknowledged(&client));
}

/// A server with another key, which answers nothing.
#[test]
fn nobody_answers() {
    let other = Expected { bridge: "home".into(), key: key(9), version: Version::V6 };
    let server = hearing(&[(HERE, 0).into()], vec![other], None);
    let client = with_patience(Duration::from_millis(20), at(&server), A);
    until("in trouble", || client.state().trouble.is_some());
    let trouble = client.state().trouble.unwrap();
    assert!(trouble.starts_with(&format!("{} does not answer. ", at(&server))), "{trouble}");
    assert!(count(&server, Reason::Forged) >= 3);
    assert_eq!(told_at(&server), None);
    assert!(server.endpoints.all().is_empty());
}

#[test]
fn what_a_client_can_not_tell() {
    let server = server();
    let client = client(at(&server), "ff02::1");
    until("refused", || client.state().trouble.is_some());
    assert_eq!(client.state().trouble.unwrap(), "ff02::1 can't be the endpoint of a carrier");
    // An address that the host has not.
    client.tell(Some(address("2001:db8::1").into()));
    until("not sent", || client.state().endpoint == Some(address("2001:db8::1")));
    until("not sent", || client.state().trouble.is_some());
    let trouble = client.state().trouble.unwrap();
    assert!(trouble.starts_with("no updates can be sent from 2001:db8::1: "), "{trouble}");
    tell(&client, A);
    changes_to(&server, A);
    until("acknowledged", || is_acknowledged(&client));
    client.tell(None);
    until("nothing", || client.state().endpoint.is_none());
    assert_eq!(client.state().trouble, None);
}

/// Whoever tells an endpoint that another bridge has, from elsewhere, is told why it is not taken.
#[test]
fn an_endpoint_that_is_anothers() {
    let server = hearing(
        &[(HERE, 0).into()],
        vec![
            Expected { bridge: "home".into(), key: key(7), version: Version::V6 },
            Expected { bridge: "other".into(), key: key(8), version: Version::V6 },
        ],
        None,
    );
    ByHand::new("other", 8, at(&server), AHEAD).tell(address(A));
    let client = client(at(&server), A);
    until("refused", || client.state().trouble.is_some());
    let state = client.state();
    let trouble =
        format!("{} does not take {} for this bridge: another one ends there.", at(&server), address(A));
    assert!(state.trouble.as_ref().is_some_and(|told| told.starts_with(&trouble)), "{state:?}");
    assert_eq!(state.acknowledged_at, None);
    assert!(client.messages().iter().any(|(name, _)| *name == Reason::Refused.name()));
    assert!(count(&server, Reason::Taken) >= 1);
    assert_eq!(endpoint_of(&server), None);
    // It is told again, and taken once it is free.
    ByHand::new("other", 8, at(&server), AHEAD).tell(address(C));
    until("acknowledged", || is_acknowledged(&client));
    assert_eq!(endpoint_of(&server), Some(address(A)));
}

/// The latest word counts, whichever way it came.
#[test]
fn two_ways_to_tell() {
    let server = server();
    let secret = "0123456789abcdef";
    let expected = http::Expected {
        bridge: "box".into(),
        hostname: "box".into(),
        user: "box".into(),
        key: http::Secret::new(secret.into()),
        version: Version::V4,
    };
    let listen = ["127.0.0.1:0".parse().unwrap()];
    let by_http =
        http::Server::begin(&listen, http::Transport::Plain, vec![expected], server.endpoints.clone())
            .unwrap();
    let known = || server.endpoints.all().get("box").copied();
    let ask = |address: &str| {
        let mut stream = TcpStream::connect(by_http.addresses()[0]).unwrap();
        let query = format!("hostname=box&myip={address}&username=box&password={secret}");
        write!(stream, "GET /nic/update?{query} HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.lines().last().unwrap().to_owned()
    };
    ByHand::new("box", 8, at(&server), AHEAD).tell(address("192.0.2.1"));
    assert_eq!(known(), Some(address("192.0.2.1")));
    assert_eq!(ask("192.0.2.1"), "nochg 192.0.2.1");
    assert_eq!(ask("192.0.2.2"), "good 192.0.2.2");
    assert_eq!(known(), Some(address("192.0.2.2")));
    // The same as signed messages have always told, and the latest word all the same.
    ByHand::new("box", 8, at(&server), AHEAD).tell(address("192.0.2.1"));
    assert_eq!(known(), Some(address("192.0.2.1")));
    assert_eq!(ask("192.0.2.2"), "good 192.0.2.2");
    until("refreshed", || server.reports()[1].messages.contains(&(Reason::Refreshed.name(), 1)));
}
