//! Where this process listens: nothing is led there, since it would come to a relay again.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{PoisonError, RwLock};

use rustix::io::Errno;
use rustix::net::{SocketType, connect, getsockname};

use super::budget::Budget;
use super::listener::{Key, open_for};
use super::settings::Protocol;

/// The places that all relays of this process listen at.
#[derive(Debug, Default)]
pub(super) struct Here(RwLock<HashSet<Key>>);

impl Here {
    pub(super) fn is(&self, places: HashSet<Key>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = places;
    }

    /// Whether what goes to this address comes to one of them.
    pub(super) fn takes(&self, protocol: Protocol, address: SocketAddr, budget: Budget) -> bool {
        let every: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let at = |ip| (protocol, SocketAddr::new(ip, address.port()));
        let (exactly, every) = {
            let places = self.0.read().unwrap_or_else(PoisonError::into_inner);
            (places.contains(&at(address.ip())), places.contains(&at(every)))
        };
        exactly || every && is_own(address, budget).unwrap_or(false)
    }
}

/// Whether an address is this host's: what is sent there comes from there. A connected socket of UDP tells, and sends
/// nothing.
fn is_own(address: SocketAddr, budget: Budget) -> Result<bool, Errno> {
    if address.ip().is_loopback() {
        return Ok(true);
    }
    let socket = open_for(address.ip(), SocketType::DGRAM, budget)?;
    connect(&socket, &address)?;
    Ok(SocketAddr::try_from(getsockname(&socket)?)?.ip() == address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back() {
        let here = Here::default();
        let places = ["0.0.0.0:80", "[::1]:443"].map(|place| (Protocol::Tcp, place.parse().unwrap()));
        here.is(places.into());
        let check = |protocol, address: &str, expected| {
            let found = here.takes(protocol, address.parse().unwrap(), Budget::new(u64::MAX));
            assert_eq!(found, expected, "{address}");
        };
        check(Protocol::Tcp, "127.0.0.1:80", true);
        check(Protocol::Tcp, "[::1]:443", true);
        check(Protocol::Tcp, "[::1]:80", false);
        check(Protocol::Tcp, "127.0.0.1:443", false);
        check(Protocol::Udp, "127.0.0.1:80", false);
        // Nobody's address.
        check(Protocol::Tcp, "192.0.2.1:80", false);
    }
}
