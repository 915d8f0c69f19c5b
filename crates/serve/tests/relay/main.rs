//! Relays on loopback: every end that a connection or session can come to, and what is told of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use straddle_serve::relay::{Counted, Listen, Protocol, Reason, Relay, Rules, Serving, Target};

mod tcp;
mod udp;

const LIMIT: Duration = Duration::from_secs(10);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A relay and its counters.
struct World {
    serving: Serving,
    relay: Relay,
}

impl World {
    fn new(protocol: Protocol, target: Target, rules: Rules) -> World {
        let port = free(protocol);
        let listen = Listen { word: "here".into(), protocol, address: LOOPBACK, first: port, last: port };
        let relay = Relay { bridge: "test".into(), listens: vec![listen], target, rules };
        World::within(relay, u64::MAX)
    }

    /// With files of numbers below `files` only.
    fn within(relay: Relay, files: u64) -> World {
        let mut serving = Serving::begin(2, files).unwrap();
        serving.change(vec![relay.clone()]).unwrap();
        World { serving, relay }
    }

    fn tcp(target: SocketAddr, rules: Rules) -> World {
        World::new(Protocol::Tcp, Target::Address(target), rules)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(LOOPBACK, self.relay.listens[0].first)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn counted(&self) -> Counted {
        self.serving.report()[0].listeners[0].clone()
    }

    /// Waits until something has ended for this reason, and nothing for another.
    #[track_caller]
    fn ended(&self, reason: Reason, count: u64) {
        let expected = [(reason.name(), count)];
        let deadline = Instant::now() + LIMIT;
        while self.counted().ends != expected {
            assert!(Instant::now() < deadline, "{:?}, not {expected:?}", self.counted());
            thread::yield_now();
        }
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(reason);
    }
}

/// Every reason that something has ended for.
static SEEN: Mutex<Vec<Reason>> = Mutex::new(Vec::new());

/// A port that nobody listens at.
fn free(protocol: Protocol) -> u16 {
    let address = SocketAddr::new(LOOPBACK, 0);
    match protocol {
        Protocol::Tcp => TcpListener::bind(address).unwrap().local_addr().unwrap().port(),
        Protocol::Udp => UdpSocket::bind(address).unwrap().local_addr().unwrap().port(),
    }
}

fn server() -> (TcpListener, SocketAddr) {
    let server = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

fn accepted(server: &TcpListener) -> TcpStream {
    let stream = server.accept().unwrap().0;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Closes with a reset.
fn abort(stream: TcpStream) {
    set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
}

#[track_caller]
fn is_reset(mut stream: &TcpStream) {
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// One test at a time: one of them takes all descriptors of the process.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::yield_now();
    }
    true
}

/// Every reason is provoked by a test, which is named here: one that nobody can provoke is no reason.
#[test]
fn no_end_without_a_test() {
    let seen = |reason| SEEN.lock().unwrap_or_else(PoisonError::into_inner).contains(&reason);
    for reason in Reason::ALL.iter().copied() {
        let provoke = match reason {
            Reason::Finished => tcp::both_directions_close_by_themselves,
            Reason::ClientReset | Reason::TargetReset => tcp::a_reset_is_carried_on,
            Reason::NotAllowed | Reason::TooMany | Reason::TooManyFromSource => {
                tcp::who_may_not_connect_is_told_at_once
            }
            Reason::NoDescriptor => tcp::descriptors_run_out_and_come_back,
            Reason::BadHeader | Reason::HeaderTimeout | Reason::NotEmbeddable => tcp::proxy_headers,
            Reason::NameUnknown | Reason::NamePrivate | Reason::Loop => tcp::names,
            Reason::TargetRefused | Reason::TargetUnreachable => tcp::a_target_that_is_down_is_told_at_once,
            Reason::TargetTimeout => tcp::a_target_that_does_not_answer_has_its_time,
            Reason::Idle | Reason::HalfClosed => tcp::silence_has_an_end,
            Reason::Drained => tcp::draining,
        };
        if !seen(reason) {
            provoke();
        }
        assert!(seen(reason), "{reason:?} is not provoked by the test that is named for it");
    }
}
