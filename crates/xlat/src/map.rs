//! Addresses: RFC 7915 §6, RFC 7757, RFC 6877 §6.3, RFC 6791.

use core::net::{Ipv4Addr, Ipv6Addr};

use straddle_wire::ipv4::DUMMY;

use crate::rfc6052::{NotEmbedded, Prefix};
use crate::{Config, Mode, Reason, Translator};

/// Whom a packet's address belongs to: in a CLAT, the host itself or a host behind `pool6`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Whose {
    /// The source of what goes 4→6, the destination of what goes 6→4.
    Ours,
    /// The other way round.
    Theirs,
}

/// What an address is mapped by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum By {
    /// Explicit mappings, and then the prefixes.
    Either,
    /// Explicit mappings.
    Eam,
    /// The prefixes.
    Pool,
}

/// What an address was mapped by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Via {
    /// An explicit mapping.
    Eam,
    /// A prefix.
    Pool,
}

impl Translator {
    /// What the mode says an address is mapped by.
    #[inline]
    pub(crate) fn by(&self, whose: Whose) -> By {
        match (self.config.mode, whose) {
            (Mode::Siit, _) => By::Either,
            (Mode::Clat, Whose::Ours) => By::Eam,
            (Mode::Clat, Whose::Theirs) => By::Pool,
        }
    }

    /// The IPv6 address of an IPv4 address; [`Reason::NotOurs`] where nothing maps it.
    #[inline]
    pub(crate) fn to6(&self, address: Ipv4Addr, by: By) -> Result<Ipv6Addr, Reason> {
        if by != By::Pool
            && let Some(found) = self.config.eam.to6(address)
        {
            return Ok(found);
        }
        match self.config.pool6.first() {
            Some(prefix) if by != By::Eam => {
                self.allowed(*prefix, address)?;
                Ok(prefix.embed(address))
            }
            Some(_) | None => Err(Reason::NotOurs),
        }
    }

    /// The IPv4 address of an IPv6 address, and by what; [`Reason::NotOurs`] where nothing maps it.
    #[inline]
    pub(crate) fn to4(&self, address: Ipv6Addr, by: By) -> Result<(Ipv4Addr, Via), Reason> {
        if by != By::Pool
            && let Some(found) = self.config.eam.to4(address)
        {
            return Ok((found, Via::Eam));
        }
        if by != By::Eam {
            for prefix in &self.prefixes {
                match prefix.extract(address) {
                    Ok(found) if prefix.embed(found) != address => return Err(Reason::Suffix),
                    Ok(found) => {
                        self.allowed(*prefix, found)?;
                        return Ok((found, Via::Pool));
                    }
                    Err(NotEmbedded::Outside) => {}
                    Err(NotEmbedded::UOctet) => return Err(Reason::UOctet),
                }
            }
        }
        Err(Reason::NotOurs)
    }

    /// Whether an explicit mapping has the address.
    #[inline]
    pub(crate) fn has_eam(&self, address: Ipv4Addr) -> bool {
        self.config.eam.to6(address).is_some()
    }

    #[inline]
    fn allowed(&self, prefix: Prefix, address: Ipv4Addr) -> Result<(), Reason> {
        if self.config.private_through_well_known || prefix != Prefix::WELL_KNOWN || !is_private(address) {
            return Ok(());
        }
        Err(Reason::PrivateThroughWellKnown)
    }
}

impl Config {
    /// Whom ICMPv4 errors come from.
    pub(crate) fn source4(&self) -> Ipv4Addr {
        self.own4.unwrap_or(DUMMY)
    }

    /// Whom ICMPv6 errors come from: for a CLAT, the host itself.
    pub(crate) fn source6(&self) -> Result<Ipv6Addr, Reason> {
        if self.mode == Mode::Clat
            && let Some(own) = self.eam.mappings().first()
        {
            return Ok(own.v6.addr());
        }
        // 192.0.0.8 is not global.
        let allowed = |prefix: &&Prefix| self.private_through_well_known || **prefix != Prefix::WELL_KNOWN;
        let dummy = || self.pool6.iter().find(allowed).map(|prefix| prefix.embed(DUMMY));
        self.own6.or_else(dummy).ok_or(Reason::NoOwnAddress)
    }

    /// Whom a translated ICMPv6 error comes from whose own source has no IPv4 address (RFC 6791 §3): the same
    /// for the same source, so that a trace shows each router as one. `None`: 192.0.0.8 and an extension.
    pub(crate) fn stand_in4(&self, source: Ipv6Addr) -> Option<Ipv4Addr> {
        let net = self.rfc6791v4?;
        let bits = source.to_bits();
        let mut hash = (bits ^ bits >> 64) as u64;
        hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let host = hash as u32 & u32::from(net.hostmask());
        Some(Ipv4Addr::from_bits(u32::from(net.network()) | host))
    }

    /// Whom a translated ICMPv4 error comes from whose own source has no IPv6 address.
    pub(crate) fn stand_in6(&self, source: Ipv4Addr) -> Result<Ipv6Addr, Reason> {
        let Some(net) = self.rfc6791v6 else {
            return self.source6();
        };
        let host = u128::from(source.to_bits()) & u128::from(net.hostmask());
        Ok(Ipv6Addr::from_bits(u128::from(net.network()) | host))
    }
}

/// Refuses what can't be the address of one host on the internet (RFC 1812 §5.3.7, RFC 3927 §7).
#[inline]
pub(crate) fn legal4(address: Ipv4Addr) -> Result<(), Reason> {
    match address.octets() {
        [1..=126 | 128..=168 | 170..=223, ..] => Ok(()),
        [0, ..] => Err(Reason::UnspecifiedAddress),
        [127, ..] => Err(Reason::LoopbackAddress),
        [169, 254, ..] => Err(Reason::LinkLocalAddress),
        [169, ..] => Ok(()),
        [224..=239, ..] => Err(Reason::MulticastAddress),
        [255, 255, 255, 255] => Err(Reason::BroadcastAddress),
        [240..=255, ..] => Err(Reason::ReservedAddress),
    }
}

/// As [`legal4`] (RFC 4291 §2.5).
#[inline]
pub(crate) fn legal6(address: Ipv6Addr) -> Result<(), Reason> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Err(Reason::UnspecifiedAddress),
        [0, 0, 0, 0, 0, 0, 0, 1] => Err(Reason::LoopbackAddress),
        [0, 0, 0, 0, 0, 0xffff, _, _] => Err(Reason::MappedAddress),
        [0xfe80..=0xfebf, ..] => Err(Reason::LinkLocalAddress),
        [0xff00..=0xffff, ..] => Err(Reason::MulticastAddress),
        _ => Ok(()),
    }
}

/// Refuses the source of an ICMPv4 error. RFC 7915 §4.1 has illegal ones translated, since they tell where
/// the trouble is; not so those that can be no host's at all, and link-local ones (RFC 3927 §7).
#[inline]
pub(crate) fn legal_error_source4(address: Ipv4Addr) -> Result<(), Reason> {
    match legal4(address) {
        Err(Reason::UnspecifiedAddress | Reason::LoopbackAddress) | Ok(()) => Ok(()),
        Err(reason) => Err(reason),
    }
}

/// What is not globally reachable of RFC 6890 §2.2.2, documentation aside, which nobody routes.
fn is_private(address: Ipv4Addr) -> bool {
    matches!(
        address.octets(),
        [0 | 10 | 127, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [100, 64..=127, ..]
            | [192, 0, 0, _]
            | [198, 18..=19, ..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eam;
    use std::vec;
    use std::vec::Vec;

    fn check_legal4(address: &str, expected: Result<(), Reason>) {
        assert_eq!(legal4(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn ipv4_addresses() {
        for address in
            ["1.0.0.0", "126.255.255.255", "128.0.0.1", "169.253.0.1", "169.255.0.1", "223.255.255.255"]
        {
            check_legal4(address, Ok(()));
        }
        check_legal4("0.0.0.0", Err(Reason::UnspecifiedAddress));
        check_legal4("0.1.2.3", Err(Reason::UnspecifiedAddress));
        check_legal4("127.0.0.1", Err(Reason::LoopbackAddress));
        check_legal4("169.254.0.1", Err(Reason::LinkLocalAddress));
        check_legal4("224.0.0.1", Err(Reason::MulticastAddress));
        check_legal4("239.255.255.255", Err(Reason::MulticastAddress));
        check_legal4("240.0.0.1", Err(Reason::ReservedAddress));
        check_legal4("255.255.255.254", Err(Reason::ReservedAddress));
        check_legal4("255.255.255.255", Err(Reason::BroadcastAddress));
    }

    fn check_legal6(address: &str, expected: Result<(), Reason>) {
        assert_eq!(legal6(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn ipv6_addresses() {
        for address in ["::2", "2001:db8::", "fe00::1", "fec0::1", "64:ff9b::", "::1:ffff:1:1"] {
            check_legal6(address, Ok(()));
        }
        check_legal6("::", Err(Reason::UnspecifiedAddress));
        check_legal6("::1", Err(Reason::LoopbackAddress));
        check_legal6("::ffff:192.0.2.1", Err(Reason::MappedAddress));
        check_legal6("fe80::1", Err(Reason::LinkLocalAddress));
        check_legal6("febf::1", Err(Reason::LinkLocalAddress));
        check_legal6("ff02::1", Err(Reason::MulticastAddress));
    }

    fn translator(mode: Mode, pool6: &[&str]) -> Translator {
        let mapping =
            eam::Mapping { v6: "2001:db8:c::7/128".parse().unwrap(), v4: "192.0.2.7/32".parse().unwrap() };
        let pool6: Vec<_> = pool6.iter().map(|net| Prefix::new(net.parse().unwrap()).unwrap()).collect();
        let eam = eam::Table::new(&[mapping]).unwrap();
        let private_through_well_known = pool6.len() != 1;
        Translator::new(Config { mode, pool6, eam, private_through_well_known, ..Config::default() })
    }

    fn check6(mode: Mode, whose: Whose, address: &str, expected: Result<&str, Reason>) {
        let translator = translator(mode, &["64:ff9b::/96"]);
        let outcome = translator.to6(address.parse().unwrap(), translator.by(whose));
        assert_eq!(outcome, expected.map(|address| address.parse().unwrap()), "{address}");
    }

    #[test]
    fn to_ipv6() {
        for whose in [Whose::Ours, Whose::Theirs] {
            check6(Mode::Siit, whose, "192.0.2.7", Ok("2001:db8:c::7"));
            check6(Mode::Siit, whose, "192.0.2.8", Ok("64:ff9b::192.0.2.8"));
        }
        check6(Mode::Clat, Whose::Ours, "192.0.2.7", Ok("2001:db8:c::7"));
        check6(Mode::Clat, Whose::Ours, "192.0.2.8", Err(Reason::NotOurs));
        check6(Mode::Clat, Whose::Theirs, "192.0.2.7", Ok("64:ff9b::192.0.2.7"));
        check6(Mode::Siit, Whose::Ours, "10.0.0.1", Err(Reason::PrivateThroughWellKnown));
        check6(Mode::Siit, Whose::Ours, "100.127.0.1", Err(Reason::PrivateThroughWellKnown));
        check6(Mode::Siit, Whose::Ours, "100.128.0.1", Ok("64:ff9b::100.128.0.1"));
    }

    fn check4(mode: Mode, whose: Whose, address: &str, expected: Result<(&str, Via), Reason>) {
        let translator = translator(mode, &["2001:db8:100::/40", "2001:db8:122:344::/96"]);
        let outcome = translator.to4(address.parse().unwrap(), translator.by(whose));
        assert_eq!(outcome, expected.map(|(address, via)| (address.parse().unwrap(), via)), "{address}");
    }

    #[test]
    fn to_ipv4() {
        check4(Mode::Siit, Whose::Ours, "2001:db8:c::7", Ok(("192.0.2.7", Via::Eam)));
        check4(Mode::Siit, Whose::Ours, "2001:db8:122:344::192.0.2.33", Ok(("192.0.2.33", Via::Pool)));
        check4(Mode::Siit, Whose::Ours, "2001:db8:1c0:2:21::", Ok(("192.0.2.33", Via::Pool)));
        check4(Mode::Siit, Whose::Ours, "2001:db8:1c0:2:21::1", Err(Reason::Suffix));
        check4(Mode::Siit, Whose::Ours, "2001:db8:1c0:2:121::", Err(Reason::UOctet));
        check4(Mode::Siit, Whose::Ours, "2001:db8:c::8", Err(Reason::NotOurs));
        check4(Mode::Clat, Whose::Ours, "2001:db8:c::7", Ok(("192.0.2.7", Via::Eam)));
        check4(Mode::Clat, Whose::Theirs, "2001:db8:c::7", Err(Reason::NotOurs));
        check4(Mode::Clat, Whose::Ours, "2001:db8:1c0:2:21::", Err(Reason::NotOurs));
    }

    #[test]
    fn stand_ins_are_within_their_nets() {
        let config = Config {
            rfc6791v4: Some("198.51.100.128/25".parse().unwrap()),
            rfc6791v6: Some("2001:db8:e::/121".parse().unwrap()),
            pool6: vec![],
            ..Config::default()
        };
        let found: std::collections::BTreeSet<_> =
            (0..500).filter_map(|node| config.stand_in4(Ipv6Addr::from_bits(node))).collect();
        assert!(found.len() > 60);
        assert!(found.iter().all(|address| address.octets()[3] >= 128 && address.octets()[2] == 100));
        assert_eq!(config.stand_in6([10, 1, 2, 0xff].into()), Ok("2001:db8:e::7f".parse().unwrap()));
        let none = Config::default();
        assert_eq!(none.stand_in4(Ipv6Addr::LOCALHOST), None);
        assert_eq!(none.stand_in6(DUMMY), Err(Reason::NoOwnAddress));
        assert_eq!(none.source4(), DUMMY);
    }
}
