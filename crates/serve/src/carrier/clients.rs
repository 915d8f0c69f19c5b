//! Whose a packet is, where several peers share a device, or a socket.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use straddle_encap::Reason;
use straddle_wire::ip::Packet;

use super::Shared;

/// A device with all carriers that share it.
pub(super) struct Device {
    carriers: Vec<Arc<Shared>>,
    owners: Owners,
}

impl Device {
    pub(super) fn new(carriers: Vec<Arc<Shared>>) -> Device {
        let owned = carriers.iter().enumerate().flat_map(|(index, carrier)| {
            carrier.owned.iter().map(move |(network, length)| (*network, *length, index))
        });
        let owners = Owners::new(owned);
        Device { carriers, owners }
    }

    /// The carrier at a place.
    pub(super) fn at(&self, place: usize) -> Option<&Shared> {
        self.carriers.get(place).map(|carrier| &**carrier)
    }

    /// What is nobody's counts at the first.
    pub(super) fn dropped(&self, reason: Reason) {
        if let Some(first) = self.carriers.first() {
            first.counters.dropped(reason);
        }
    }

    /// The place of the carrier to whom an inner packet shall go.
    pub(super) fn place(&self, inner: &[u8]) -> Result<usize, Reason> {
        if let [only] = self.carriers.as_slice()
            && only.owned.is_empty()
        {
            return Ok(0);
        }
        let Ok(Packet::V6(packet)) = Packet::parse(inner) else { return Err(Reason::InnerVersion) };
        if of_the_link(packet.header.destination) {
            return Err(Reason::LinkScope);
        }
        self.owners.of(packet.header.destination).ok_or(Reason::NoClient)
    }
}

/// The carriers of one socket; those of one peer differ by their GRE keys.
pub(super) struct Peers {
    carriers: Vec<Arc<Shared>>,
    places: HashMap<IpAddr, Vec<usize>>,
}

impl Peers {
    pub(super) fn new(carriers: Vec<Arc<Shared>>) -> Peers {
        let mut places: HashMap<IpAddr, Vec<usize>> = HashMap::new();
        for (place, carrier) in carriers.iter().enumerate() {
            places.entry(carrier.remote).or_default().push(place);
        }
        Peers { carriers, places }
    }

    pub(super) fn all(&self) -> &[Arc<Shared>] {
        &self.carriers
    }

    /// The carrier at a place.
    pub(super) fn at(&self, place: usize) -> Option<&Shared> {
        self.carriers.get(place).map(|carrier| &**carrier)
    }

    /// Those of one peer, each with its place.
    pub(super) fn of(&self, peer: IpAddr) -> impl Iterator<Item = (usize, &Shared)> {
        let places = self.places.get(&peer).into_iter().flatten();
        places.filter_map(|place| Some((*place, self.at(*place)?)))
    }
}

/// A client sends from its own addresses and networks alone (BCP 38). One that has a device of its own may
/// send whatever it likes.
pub(super) fn may_send(carrier: &Shared, inner: &[u8]) -> Result<(), Reason> {
    if carrier.owned.is_empty() {
        return Ok(());
    }
    let Ok(Packet::V6(packet)) = Packet::parse(inner) else { return Err(Reason::InnerVersion) };
    let header = packet.header;
    if of_the_link(header.destination) || of_the_link(header.source) {
        return Err(Reason::LinkScope);
    }
    let own = |(network, length): &(Ipv6Addr, u8)| masked(header.source, *length) == u128::from(*network);
    if carrier.owned.iter().any(own) { Ok(()) } else { Err(Reason::ForeignSource) }
}

/// Whether it means nothing beyond one link.
fn of_the_link(address: Ipv6Addr) -> bool {
    address.is_multicast() || address.is_unicast_link_local() || address.is_unspecified()
}

/// Networks with what they lead to; the longest wins.
#[derive(Default)]
struct Owners {
    /// The lengths that there are, longest first.
    lengths: Vec<u8>,
    owners: HashMap<(u8, u128), usize>,
}

impl Owners {
    fn new(all: impl Iterator<Item = (Ipv6Addr, u8, usize)>) -> Owners {
        let owners: HashMap<(u8, u128), usize> =
            all.map(|(network, length, owner)| ((length, masked(network, length)), owner)).collect();
        let lengths: HashSet<u8> = owners.keys().map(|(length, _)| *length).collect();
        let mut lengths: Vec<u8> = lengths.into_iter().collect();
        lengths.sort_unstable_by(|one, other| other.cmp(one));
        Owners { lengths, owners }
    }

    fn of(&self, address: Ipv6Addr) -> Option<usize> {
        self.lengths.iter().find_map(|length| self.owners.get(&(*length, masked(address, *length))).copied())
    }
}

fn masked(address: Ipv6Addr, length: u8) -> u128 {
    let rest = 128u32.saturating_sub(length.into());
    u128::from(address).checked_shr(rest).and_then(|bits| bits.checked_shl(rest)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_network_wins() {
        let six = |word: &str| word.parse::<Ipv6Addr>().unwrap();
        let owners = Owners::new(
            [
                (six("2001:db8:1::3"), 128, 0),
                (six("2001:db8:100::"), 48, 0),
                (six("2001:db8:1::5"), 128, 1),
                (six("2001:db8:100:7::"), 64, 1),
            ]
            .into_iter(),
        );
        let check =
            |address: &str, owner: Option<usize>| assert_eq!(owners.of(six(address)), owner, "{address}");
        check("2001:db8:1::3", Some(0));
        check("2001:db8:1::4", None);
        check("2001:db8:1::5", Some(1));
        check("2001:db8:100:6:ffff::1", Some(0));
        check("2001:db8:100:7:ffff::1", Some(1));
        check("2001:db8:101::", None);
        let all = Owners::new([(six("::"), 0, 9)].into_iter());
        assert_eq!(all.of(six("2001:db8::")), Some(9));
    }
}
