//! Reaching the target: its addresses one after another, each a little after the former (RFC 8305).

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;

use ipnet::Ipv6Net;
use rustix::io::Errno;
use rustix::net::{SocketType, bind, connect, sockopt};

use super::Reason;
use super::budget::Budget;
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
    budget: Budget,
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
    pub(super) fn new(mut addresses: Vec<SocketAddr>, from: Option<Ipv6Addr>, budget: Budget) -> Dial {
        addresses.reverse();
        Dial {
            rest: addresses,
            pending: Vec::new(),
            number: 0,
            failure: Reason::NameUnknown,
            from,
            budget,
            next: Due::MAX,
        }
    }

    /// Tries addresses until one does not fail at once.
    pub(super) fn advance(&mut self, id: Id, poller: &Poller, now: Due) -> Dialled {
        while let Some(address) = self.rest.pop() {
            let number = self.number;
            self.number = self.number.wrapping_add(1);
            match self.attempt(address) {
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

    /// Begins to connect; true when that was all.
    fn attempt(&self, address: SocketAddr) -> Result<(OwnedFd, bool), Errno> {
        let socket = open_for(address.ip(), SocketType::STREAM, self.budget)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        // An urgent byte stays where it is among the others (RFC 6093 §4).
        sockopt::set_socket_oobinline(&socket, true)?;
        if let Some(from) = self.from {
            come_from(&socket, from)?;
        }
        match connect(&socket, &address) {
            Ok(()) => Ok((socket, true)),
            Err(Errno::INPROGRESS) => Ok((socket, false)),
            Err(errno) => Err(errno),
        }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::listen;

    use super::*;

    /// An address that does not answer delays the next one by 250 ms, and may still answer itself.
    #[test]
    fn the_next_address_has_its_turn() {
        let deaf = TcpListener::bind("[::1]:0").unwrap();
        listen(&deaf, 0).unwrap();
        // The queue is full with one, and whoever comes then gets no answer.
        let _first = std::net::TcpStream::connect(deaf.local_addr().unwrap()).unwrap();
        let other = TcpListener::bind("[::1]:0").unwrap();
        let addresses = [&deaf, &deaf, &other].map(|listener| listener.local_addr().unwrap());
        let mut poller = Poller::new(Poller::descriptor().unwrap());
        let id = Id { index: 0, generation: 1 };
        let mut dial = Dial::new(addresses.to_vec(), None, Budget::new(u64::MAX));
        for (now, next) in [(1000, 1250), (1250, 1500), (1500, Due::MAX)] {
            assert!(matches!(dial.advance(id, &poller, now), Dialled::Waits));
            assert_eq!(dial.next, next);
        }
        let mut events = Vec::new();
        poller.wait(Some(10_000), &mut events).unwrap();
        let [(Token::Target(_, 2), _)] = events.as_slice() else { panic!("{events:?}") };
        assert!(matches!(dial.told(2, id, &poller, 1500), Dialled::Reached(2, _, true)));
        assert_eq!(dial.pending.len(), 2);
    }
}
