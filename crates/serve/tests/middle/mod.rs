//! An adversary between client and server, who keeps every datagram, and a client that is moved by hand.
#![allow(dead_code, reason = "each test target uses its part")]

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use straddle_announce::{BridgeId, Client, Key, LENGTH, Now, Reason, Run, Timing};

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
pub(crate) const HERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

pub(crate) fn key(byte: u8) -> Key {
    Key::new(&[byte; 32]).unwrap()
}

/// The loopback address of the same family.
pub(crate) fn loopback(server: SocketAddr) -> IpAddr {
    match server {
        SocketAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        SocketAddr::V6(_) => HERE,
    }
}

/// A socket at a loopback address whose reads end after [`LIMIT`].
pub(crate) fn socket(address: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Passes datagrams on.
pub(crate) struct Middle {
    to_client: UdpSocket,
    to_server: UdpSocket,
    /// All of the client's that went through.
    pub(crate) recorded: Vec<Vec<u8>>,
}

impl Middle {
    pub(crate) fn before(server: SocketAddr) -> Middle {
        let to_server = socket(loopback(server));
        to_server.connect(server).unwrap();
        Middle { to_client: socket(HERE), to_server, recorded: Vec::new() }
    }

    /// Where the client sends to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.to_client.local_addr().unwrap()
    }

    /// Lets the client's next datagram through, and the answer to it back.
    pub(crate) fn pass(&mut self) {
        let client = self.take();
        let answer = self.answer();
        self.to_client.send_to(&answer, client).unwrap();
    }

    /// The same until it is so.
    #[track_caller]
    pub(crate) fn pass_until(&mut self, so: impl Fn() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !so() {
            assert!(Instant::now() < deadline, "{} datagrams made no difference", self.recorded.len());
            self.pass();
        }
    }

    /// The same until the server answers by a message of this kind, which is lost.
    pub(crate) fn lose(&mut self, kind: u8) {
        loop {
            let client = self.take();
            let answer = self.answer();
            if answer[4] == kind {
                return;
            }
            self.to_client.send_to(&answer, client).unwrap();
        }
    }

    fn take(&mut self) -> SocketAddr {
        let mut room = [0; 2 * LENGTH];
        let (length, client) = self.to_client.recv_from(&mut room).unwrap();
        self.recorded.push(room[..length].to_vec());
        client
    }

    fn answer(&self) -> Vec<u8> {
        self.to_server.send(self.recorded.last().unwrap()).unwrap();
        receive(&self.to_server)
    }
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut room = [0; 2 * LENGTH];
    let length = socket.recv(&mut room).unwrap();
    room[..length].to_vec()
}

/// A client whose clocks stand where the test wants them.
pub(crate) struct ByHand {
    client: Client,
    socket: UdpSocket,
    now: Now,
}

impl ByHand {
    pub(crate) fn new(bridge: &str, byte: u8, server: SocketAddr, unix: Duration) -> ByHand {
        let socket = socket(loopback(server));
        socket.connect(server).unwrap();
        let run = u128::from(socket.local_addr().unwrap().port());
        let client = Client::new(BridgeId::of(bridge), key(byte), Run(run.to_be_bytes()), Timing::default());
        ByHand { client, socket, now: Now { elapsed: Duration::ZERO, unix } }
    }

    /// Tells an endpoint; what the client makes of each answer until none is due at once.
    pub(crate) fn tell(&mut self, endpoint: IpAddr) -> Vec<Reason> {
        self.client.announce(Some(endpoint), self.now);
        let mut reasons = Vec::new();
        while let Some(datagram) = self.client.send(self.now) {
            self.socket.send(&datagram).unwrap();
            reasons.push(self.client.receive(&receive(&self.socket), self.now));
        }
        reasons
    }

    /// The first datagram that it would send, which is not sent.
    pub(crate) fn would_send(&mut self, endpoint: IpAddr) -> Vec<u8> {
        self.client.announce(Some(endpoint), self.now);
        self.client.send(self.now).unwrap().to_vec()
    }
}

/// Looks until it is so.
#[track_caller]
pub(crate) fn until(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}
