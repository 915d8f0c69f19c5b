//! What a carrier's programs are told, in the form of `struct carrier` of `bpf/carrier.h`.

use std::net::{IpAddr, Ipv6Addr};

use straddle_encap::Kind;

/// The ends of a carrier, and its format.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Its format on the wire.
    pub kind: Kind,
    /// Our outer address.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// The largest inner packet in bytes.
    pub mtu: u32,
}

impl Ends {
    /// `struct carrier`, member by member.
    #[must_use]
    pub fn constants(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = [self.local, self.remote].into_iter().flat_map(on_the_wire).collect();
        let key = match self.kind {
            Kind::Ip6gre { key } => key,
            Kind::Ip4ip6 | Kind::Sit => None,
        };
        let key_on_the_wire = u32::from_ne_bytes(key.unwrap_or_default().to_be_bytes());
        for word in [self.kind.protocol().into(), key.is_some().into(), key_on_the_wire, self.mtu] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes
    }

    /// A carrier between addresses of documentation (RFC 3849).
    #[must_use]
    pub fn example() -> Ends {
        let host = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into();
        Ends { kind: Kind::Ip4ip6, local: host(1), remote: host(2), mtu: 1400 }
    }
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
        assert_eq!(keyed.len(), 2 * 16 + 4 * 4);
        assert_eq!(keyed.get(40..44), Some(&[1, 2, 3, 4][..]));
        let local = [192, 0, 2, 1].into();
        let sit = Ends { kind: Kind::Sit, local, ..Ends::example() }.constants();
        assert_eq!(sit.get(..8), Some(&[192, 0, 2, 1, 0, 0, 0, 0][..]));
    }
}
