//! What a carrier's programs are told, in the form of `bpf/carrier.h` and `bpf/clients.h`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use straddle_encap::Kind;

use super::bytes::{Bytes, LENGTHS6, key6};

/// Bytes of `struct length`.
const LEVEL: usize = 40;
/// Bytes of `struct owner` behind its key.
pub const OWNER: usize = 40;

/// The ends of a carrier, and its format.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Its format on the wire.
    pub kind: Kind,
    /// Our outer address.
    pub local: IpAddr,
    /// Whom it leads to.
    pub peers: Peers,
}

/// Whom a carrier's device leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peers {
    /// One, whose alone it is.
    One {
        /// Its outer address.
        remote: IpAddr,
        /// The largest inner packet in bytes.
        mtu: u32,
    },
    /// Clients that share it; what they carry is IPv6 in IPv4.
    Clients(Vec<Client>),
}

/// One of those that share a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// Its outer address, which no other client has.
    pub remote: Ipv4Addr,
    /// The largest inner packet in bytes.
    pub mtu: u32,
    /// What leads to it, and what it may send from. The first tells it from others, whatever else changes.
    pub owned: Vec<Ipv6Net>,
}

impl Ends {
    /// `struct carrier`, member by member.
    #[must_use]
    pub fn constants(&self) -> Vec<u8> {
        let (remote, mtu) = match &self.peers {
            Peers::One { remote, mtu } => (*remote, *mtu),
            Peers::Clients(_) => (Ipv4Addr::UNSPECIFIED.into(), 0),
        };
        let mut bytes = Bytes([self.local, remote].into_iter().flat_map(on_the_wire).collect());
        let key = match self.kind {
            Kind::Ip6gre { key } => key,
            Kind::Ip4ip6 | Kind::Sit => None,
        };
        let key_on_the_wire = u32::from_ne_bytes(key.unwrap_or_default().to_be_bytes());
        for word in [self.kind.protocol().into(), key.is_some().into(), key_on_the_wire, mtu] {
            bytes.word(word);
        }
        let levels = self.levels();
        bytes.word(levels.len() as u32);
        bytes.word(0);
        for (length, within) in &levels {
            bytes.address(within.netmask().to_bits());
            bytes.address(within.network().to_bits());
            bytes.long((*length).into());
        }
        bytes.0.resize(bytes.0.len() + LEVEL * (LENGTHS6 - levels.len()), 0);
        bytes.0
    }

    /// The lengths of clients' networks that occur, the longest first, and where all of each length lie.
    fn levels(&self) -> Vec<(u8, Ipv6Net)> {
        let mut levels: BTreeMap<u8, Ipv6Net> = BTreeMap::new();
        for net in self.clients().iter().flat_map(|client| &client.owned) {
            levels.entry(net.prefix_len()).and_modify(|within| *within = common(within, net)).or_insert(*net);
        }
        levels.into_iter().rev().collect()
    }

    /// Those that share the device, each at its place.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        match &self.peers {
            Peers::One { .. } => &[],
            Peers::Clients(clients) => clients,
        }
    }

    /// `struct owner` of each network of a client's: its key, and the rest.
    pub fn owners(&self) -> impl Iterator<Item = ([u8; 24], [u8; OWNER])> {
        (0..).zip(self.clients()).flat_map(|(place, client)| {
            let mut owner = Bytes(client.remote.octets().to_vec());
            [place, client.mtu, 0].into_iter().for_each(|word| owner.word(word));
            // Nothing was carried yet.
            owner.0.resize(OWNER, 0);
            let owner = owner.array();
            client.owned.iter().map(move |net| (key6(net), owner))
        })
    }

    /// The outer address of each client as it stands on the wire.
    pub fn peers(&self) -> impl Iterator<Item = u32> {
        self.clients().iter().map(|client| u32::from_ne_bytes(client.remote.octets()))
    }

    /// A carrier between addresses of documentation (RFC 3849).
    #[must_use]
    pub fn example() -> Ends {
        let host = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into();
        Ends { kind: Kind::Ip4ip6, local: host(1), peers: Peers::One { remote: host(2), mtu: 1400 } }
    }

    /// One that a client shares (RFC 5737).
    #[must_use]
    pub fn shared_example() -> Ends {
        let owned = vec![Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).into()];
        let client = Client { remote: Ipv4Addr::new(192, 0, 2, 2), mtu: 1400, owned };
        let local = Ipv4Addr::new(192, 0, 2, 1).into();
        Ends { kind: Kind::Sit, local, peers: Peers::Clients(vec![client]) }
    }
}

impl Client {
    /// `struct key6` of the network that tells it from others.
    #[must_use]
    pub fn name(net: &Ipv6Net) -> [u8; 24] {
        key6(net)
    }
}

/// The smallest network that both are in.
fn common(one: &Ipv6Net, other: &Ipv6Net) -> Ipv6Net {
    let differ = (one.network().to_bits() ^ other.network().to_bits()).leading_zeros() as u8;
    let length = differ.min(one.prefix_len()).min(other.prefix_len());
    Ipv6Net::new(one.network(), length).map_or(*one, |net| net.trunc())
}

/// Room for an address of either version.
fn on_the_wire(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(address.octets()).for_each(|(to, from)| *to = from);
            bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_as_long_as_the_programs_have_them() {
        let keyed = Ends { kind: Kind::Ip6gre { key: Some(0x0102_0304) }, ..Ends::example() }.constants();
        assert_eq!(keyed.len(), 2 * 16 + 6 * 4 + LEVEL * LENGTHS6);
        assert_eq!(keyed.get(40..44), Some(&[1, 2, 3, 4][..]));
        assert_eq!(keyed.get(48..52), Some(&[0; 4][..]));
        let local = [192, 0, 2, 1].into();
        let sit = Ends { kind: Kind::Sit, local, ..Ends::example() }.constants();
        assert_eq!(sit.get(..8), Some(&[192, 0, 2, 1, 0, 0, 0, 0][..]));
    }

    #[test]
    fn clients_stand_in_tables() {
        let client = |last: u8, owned: &[&str]| Client {
            remote: Ipv4Addr::new(192, 0, 2, last),
            mtu: 1400 + u32::from(last),
            owned: owned.iter().map(|net| net.parse().unwrap()).collect(),
        };
        let clients =
            vec![client(7, &["2001:db8::7/128", "2001:db8:7::/48"]), client(9, &["2001:db8::9/128"])];
        let ends = Ends { peers: Peers::Clients(clients), ..Ends::shared_example() };
        let within = ["2001:db8::/124", "2001:db8:7::/48"].map(|net| net.parse::<Ipv6Net>().unwrap());
        assert_eq!(ends.levels(), [(128, within[0]), (48, within[1])]);
        assert_eq!(ends.constants().get(48..52), Some(&2_u32.to_ne_bytes()[..]));
        let word = |number: u32| number.to_ne_bytes();
        let owner = |last, place, mtu| [[192, 0, 2, last], word(place), word(mtu), [0; 4]].concat();
        let owners: Vec<_> = ends.owners().map(|(key, owner)| (key[16], owner[..16].to_vec())).collect();
        let expected = [(128, owner(7, 0, 1407)), (48, owner(7, 0, 1407)), (128, owner(9, 1, 1409))];
        assert_eq!(owners, expected);
        assert!(ends.peers().eq([7, 9].map(|last| u32::from_ne_bytes([192, 0, 2, last]))));
    }
}
