//! Reaching the target: its addresses one after another, each a little after the former (RFC 8305).

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;

use ipnet::Ipv6Net;
use rustix::io::Errno;
use rustix::net::{SocketType, bind, connect, sockopt};

use super::Reason;
use super::listener::open_for;
use super::poller::{Interest, Poller, Token};
use super::slab::{Due, Id};

/// The next address is tried when the former has not answered for so long, in milliseconds (RFC 8305 §5).
const DELAY: Due = 250;

/// Attempts to reach one target.
#[derive(Debug)]
pub(super) struct Dial {
    /// Those that were not tried yet, the last one first.
    rest: Vec<SocketAddr>,
    pending: Vec<(u8, OwnedFd)>,
    number: u8,
    /// How the last one failed that did.
    failure: Reason,
    /// The IPv6 address to come from.
    from: Option<Ipv6Addr>,
    /// When the next address is tried.
    pub(super) next: Due,
}

/// How dialling stands.
#[derive(Debug)]
pub(super) enum Dialled {
    /// It goes on.
    Waits,
    /// Connected, by the attempt of this number; whether the poller knows the socket.
    Reached(u8, OwnedFd, bool),
    /// No address is left.
    Failed(Reason),
}

impl Dial {
    pub(super) fn new(mut addresses: Vec<SocketAddr>, from: Option<Ipv6Addr>) -> Dial {
        addresses.reverse();
        Dial {
            rest: addresses,
            pending: Vec::new(),
            number: 0,
            failure: Reason::NameUnknown,
            from,
            next: Due::MAX,
        }
    }

    /// Tries addresses until one does not fail at once.
    pub(super) fn advance(&mut self, id: Id, poller: &Poller, now: Due) -> Dialled {
        while let Some(address) = self.rest.pop() {
            let number = self.number;
            self.number = self.number.wrapping_add(1);
            match attempt(address, self.from) {
                Ok((socket, true)) => return Dialled::Reached(number, socket, false),
                Ok((socket, false)) => {
                    match poller.add(&socket, Token::Target(id, number), Interest::Everything) {
                        Ok(()) => {
                            self.pending.push((number, socket));
                            self.next = if self.rest.is_empty() { Due::MAX } else { now + DELAY };
                            return Dialled::Waits;
                        }
                        Err(errno) => self.failure = failure(errno),
                    }
                }
                Err(errno) => self.failure = failure(errno),
            }
        }
        self.next = Due::MAX;
        if self.pending.is_empty() { Dialled::Failed(self.failure) } else { Dialled::Waits }
    }

    /// Something has happened to an attempt.
    pub(super) fn told(&mut self, number: u8, id: Id, poller: &Poller, now: Due) -> Dialled {
        let Some(place) = self.pending.iter().position(|(known, _)| *known == number) else {
            return Dialled::Waits;
        };
        let (_, socket) = self.pending.swap_remove(place);
        match sockopt::socket_error(&socket) {
            Ok(Ok(())) => Dialled::Reached(number, socket, true),
            Ok(Err(errno)) | Err(errno) => {
                self.failure = failure(errno);
                self.advance(id, poller, now)
            }
        }
    }
}

/// Begins to connect; true when that was all.
fn attempt(address: SocketAddr, from: Option<Ipv6Addr>) -> Result<(OwnedFd, bool), Errno> {
    let socket = open_for(address.ip(), SocketType::STREAM)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(from) = from {
        come_from(&socket, from)?;
    }
    match connect(&socket, &address) {
        Ok(()) => Ok((socket, true)),
        Err(Errno::INPROGRESS) => Ok((socket, false)),
        Err(errno) => Err(errno),
    }
}

/// Binds to an address that no device has: a local route leads its packets here.
pub(super) fn come_from(socket: &OwnedFd, from: Ipv6Addr) -> Result<(), Errno> {
    sockopt::set_ipv6_freebind(socket, true)?;
    // Ports are chosen by connect(2), for the whole 4-tuple.
    no_port_yet(socket)?;
    bind(socket, &SocketAddrV6::new(from, 0, 0, 0))
}

fn no_port_yet(socket: &OwnedFd) -> Result<(), Errno> {
    super::option::set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// A client's address within the prefix that the target knows them by.
pub(super) fn embedded(prefix: Ipv6Net, client: IpAddr) -> Option<Ipv6Addr> {
    let IpAddr::V4(client) = client.to_canonical() else { return None };
    Some(Ipv6Addr::from_bits(prefix.network().to_bits() | u128::from(client.to_bits())))
}

/// Why an attempt failed.
pub(super) fn failure(errno: Errno) -> Reason {
    match errno {
        Errno::CONNREFUSED | Errno::CONNRESET => Reason::TargetRefused,
        Errno::TIMEDOUT => Reason::TargetTimeout,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC => Reason::NoDescriptor,
        // What else there is (ENETUNREACH, EHOSTUNREACH, EACCES, EADDRNOTAVAIL) says that there is no way.
        _ => Reason::TargetUnreachable,
    }
}
