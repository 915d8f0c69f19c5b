//! The loops that tell and learn endpoints, on a host whose addresses come and go. A test target of its own: it
//! starts programs, each of which has every socket of this process until it is executed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

mod middle;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use straddle_lab::guard::Guard;
use straddle_lab::host::Host;
use straddle_serve::told::Endpoints;
use straddle_serve::update::{Client, Expected, Server, Timing};
use straddle_wire::ip::Version;

use middle::{HERE, LIMIT, key, until};

const A: &str = "2001:db8:a::231:201:224:144";
const B: &str = "2001:db8:b::231:201:224:144";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A host of its own; none without root.
fn home(test: &str) -> Option<(Guard, Host)> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "{test} needs root, and CI must not skip it");
        // Not `eprintln`, which the test harness swallows.
        std::io::stderr().write_all(format!("SKIPPED (needs root): {test}\n").as_bytes()).unwrap();
        return None;
    }
    let mut guard = Guard::start().unwrap();
    let host = guard.host("home").unwrap();
    host.ip("link set lo up").unwrap();
    Some((guard, host))
}

/// A prefix that changes: updates come from the endpoint itself as soon as the host has it.
#[test]
fn addresses_come_and_go() {
    let Some((_guard, host)) = home("addresses_come_and_go") else { return };
    host.ip(&format!("addr add {A}/128 dev lo")).unwrap();
    let begin = || {
        let server = UdpSocket::bind("[::]:0").unwrap();
        server.set_read_timeout(Some(LIMIT)).unwrap();
        let at = SocketAddr::new(HERE, server.local_addr().unwrap().port());
        let timing = Timing {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(20),
            ..Timing::default()
        };
        (server, Client::begin("home", key(7), at, timing).unwrap())
    };
    let (server, client) = host.inside(begin).unwrap();
    let comes_from = |endpoint: &str| {
        let deadline = Instant::now() + LIMIT;
        while server.recv_from(&mut [0; 200]).unwrap().1.ip() != address(endpoint) {
            assert!(Instant::now() < deadline, "nothing comes from {endpoint}");
        }
    };
    client.tell(Some(address(A).into()));
    comes_from(A);
    client.tell(Some(address(B).into()));
    until("not there", || {
        client.state().trouble.is_some_and(|trouble| trouble.contains(&address(B).to_string()))
    });
    host.ip(&format!("addr del {A}/128 dev lo\naddr add {B}/128 dev lo")).unwrap();
    comes_from(B);
}

/// A server begins before its address is there, as `run` may at boot.
#[test]
fn a_server_listens_before_its_address_is_there() {
    let Some((_guard, host)) = home("a_server_listens_before_its_address_is_there") else { return };
    let listen = SocketAddr::new(address(B), 4646);
    let endpoints = Arc::new(Endpoints::new([]).unwrap());
    let expected = Expected { bridge: "home".into(), key: key(7), version: Version::V6 };
    let _server =
        host.inside(|| Server::begin(&[listen], vec![expected], endpoints.clone()).unwrap()).unwrap();
    host.ip(&format!("addr add {A}/128 dev lo\naddr add {B}/128 dev lo")).unwrap();
    let begin = || Client::begin("home", key(7), listen, Timing::default()).unwrap();
    let client = host.inside(begin).unwrap();
    client.tell(Some(address(A).into()));
    let learnt = || endpoints.all().get("home") == Some(&address(A));
    until("learnt", || learnt() && client.state().acknowledged_at.is_some());
}
