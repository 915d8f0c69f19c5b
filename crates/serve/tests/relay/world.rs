//! A relay on loopback.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use straddle_serve::relay::{Counted, Listen, Protocol, Reason, Relay, Rules, Serving, Target};

pub(crate) const LIMIT: Duration = Duration::from_secs(10);
pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A relay and its counters.
pub(crate) struct World {
    pub(crate) serving: Serving,
    pub(crate) relay: Relay,
}

impl World {
    pub(crate) fn new(protocol: Protocol, target: Target, rules: Rules) -> World {
        let port = free(protocol);
        let listen = Listen { word: "here".into(), protocol, address: LOOPBACK, first: port, last: port };
        let relay = Relay { bridge: "test".into(), listens: vec![listen], target, rules };
        World::within(relay, u64::MAX)
    }

    /// With files of numbers below `files` only.
    pub(crate) fn within(relay: Relay, files: u64) -> World {
        let mut serving = Serving::begin(2, files).unwrap();
        serving.change(vec![relay.clone()]).unwrap();
        World { serving, relay }
    }

    pub(crate) fn tcp(target: SocketAddr, rules: Rules) -> World {
        World::new(Protocol::Tcp, Target::Address(target), rules)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(LOOPBACK, self.relay.listens[0].first)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    pub(crate) fn counted(&self) -> Counted {
        self.serving.report()[0].listeners[0].clone()
    }

    /// Waits until something has ended for this reason, and nothing for another.
    #[track_caller]
    pub(crate) fn ended(&self, reason: Reason, count: u64) {
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
pub(crate) static SEEN: Mutex<Vec<Reason>> = Mutex::new(Vec::new());

/// A port that nobody listens at.
pub(crate) fn free(protocol: Protocol) -> u16 {
    let address = SocketAddr::new(LOOPBACK, 0);
    match protocol {
        Protocol::Tcp => TcpListener::bind(address).unwrap().local_addr().unwrap().port(),
        Protocol::Udp => UdpSocket::bind(address).unwrap().local_addr().unwrap().port(),
    }
}

pub(crate) fn server() -> (TcpListener, SocketAddr) {
    let server = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

pub(crate) fn accepted(server: &TcpListener) -> TcpStream {
    let stream = server.accept().unwrap().0;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

#[track_caller]
pub(crate) fn is_reset(mut stream: &TcpStream) {
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// One test at a time: some take all descriptors of the process.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::yield_now();
    }
    true
}
