//! Router advertisements of one link, as they arrive.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, ipproto, netdevice, sendto, socket_with,
    sockopt,
};

use super::pref64::{self, Pref64, ROUTER_ADVERTISEMENT};
use super::socket::{Received, bind_to_device, receive, set};
use super::solicitation::Solicitation;
use crate::Error;

/// What comes from the link itself has this hop limit (RFC 4861 §6.1.2).
const FROM_THE_LINK: u8 = 255;
/// ff02::2, every router of a link (RFC 4291 §2.7.1).
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// A router solicitation without options (RFC 4861 §4.1). The kernel fills in the checksum.
const SOLICITATION: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];
/// Room for one advertisement, in bytes: as large as jumbo frames take.
const ROOM: usize = 9216;
/// The option of raw ICMPv6 sockets with a bit for each type that they don't take (linux/icmpv6.h).
const ICMPV6_FILTER: i32 = 1;

/// A socket that hears the router advertisements of a link, and asks for them.
pub struct Listener {
    socket: OwnedFd,
    index: u32,
    solicitation: Solicitation,
    room: Vec<u8>,
}

/// A valid router advertisement (RFC 4861 §6.1.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Advertisement {
    /// The router's link-local address.
    pub router: Ipv6Addr,
    /// The prefixes that it offers or takes back, in order; most have none.
    pub offers: Vec<Pref64>,
}

impl Listener {
    /// Opens it on a device. A solicitation is due at once.
    ///
    /// # Errors
    /// There is no such device, or the right to raw sockets is missing.
    pub fn open(dev: &str, now: Instant) -> Result<Listener, Error> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let icmpv6: Protocol = ipproto::ICMPV6;
        let socket = socket_with(AddressFamily::INET6, SocketType::RAW, flags, Some(icmpv6))
            .map_err(Error::call("ICMPv6 socket"))?;
        set(socket.as_fd(), libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &only(ROUTER_ADVERTISEMENT))
            .map_err(Error::call("filter of the ICMPv6 socket"))?;
        set(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &1_i32.to_ne_bytes())
            .map_err(Error::call("socket option"))?;
        sockopt::set_ipv6_multicast_hops(&socket, FROM_THE_LINK.into())
            .map_err(Error::call("socket option"))?;
        let index = netdevice::name_to_index(&socket, dev).map_err(Error::call("finding the uplink"))?;
        bind_to_device(socket.as_fd(), dev).map_err(Error::call("binding to the uplink"))?;
        Ok(Listener { socket, index, solicitation: Solicitation::new(now), room: vec![0; ROOM] })
    }

    /// Can be read when an advertisement may have arrived.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the device of this name is still the one that it was opened on; one made anew is another.
    #[must_use]
    pub fn is_on(&self, dev: &str) -> bool {
        netdevice::name_to_index(&self.socket, dev) == Ok(self.index)
    }

    /// When [`Listener::solicit`] has something to do next, if it has.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.solicitation.due()
    }

    /// Lets routers be asked anew, as after a change of the network or before a prefix ends.
    pub fn again(&mut self, now: Instant) {
        self.solicitation.again(now);
    }

    /// Asks the routers if it is time. That it could not be sent is no error: a device that is not up yet, or has
    /// no link-local address yet, will have one when the next is due.
    pub fn solicit(&mut self, now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            let routers = SocketAddrV6::new(ALL_ROUTERS, 0, 0, self.index);
            let _ = sendto(&self.socket, &SOLICITATION, SendFlags::DONTWAIT, &routers);
            let [random, ..] = RandomState::new().hash_one(()).to_ne_bytes();
            self.solicitation.sent(now, random);
        }
    }

    /// Every valid advertisement that has arrived, without waiting.
    ///
    /// # Errors
    /// The socket is of no more use, as when its device is gone.
    pub fn read(&mut self) -> Result<Vec<Advertisement>, Error> {
        let mut heard = Vec::new();
        loop {
            match receive(self.socket.as_fd(), &mut self.room) {
                Ok(got) if self.is_of_the_link(&got) => {
                    let message = self.room.get(..got.length).unwrap_or(&[]);
                    let offers = pref64::of_advertisement(message);
                    heard.extend(offers.map(|offers| Advertisement { router: got.from, offers }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::call("reading router advertisements")(error)),
            }
        }
        if !heard.is_empty() {
            self.solicitation.answered();
        }
        Ok(heard)
    }

    /// Whether a router of this link sent it. The device counts too: before the socket was bound to it, others
    /// may have been heard.
    fn is_of_the_link(&self, got: &Received) -> bool {
        got.from.is_unicast_link_local()
            && got.scope == self.index
            && got.hop_limit == Some(FROM_THE_LINK.into())
    }
}

/// A filter that takes messages of one type.
fn only(kind: u8) -> [u8; 32] {
    let mut words = [u32::MAX; 8];
    if let Some(word) = words.get_mut(usize::from(kind / 32)) {
        *word &= !(1 << (kind % 32));
    }
    let mut bytes = [0; 32];
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_type_is_taken() {
        let check = |kind: u8, place: usize, byte: u8| {
            let filter = only(kind)
                .chunks_exact(4)
                .flat_map(|word| u32::from_ne_bytes(word.try_into().unwrap()).to_le_bytes())
                .collect::<Vec<_>>();
            let expected: Vec<u8> = (0..32).map(|at| if at == place { byte } else { 0xff }).collect();
            assert_eq!(filter, expected, "{kind}");
        };
        check(134, 16, 0b1011_1111);
        check(0, 0, 0b1111_1110);
        check(255, 31, 0b0111_1111);
    }
}
