//! For which addresses solicitations are answered.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::Reason;

/// What is assigned to others behind this host, and what is the host's own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Table {
    /// Networks by the length of their prefix: there are few lengths, however many networks.
    assigned: BTreeMap<u8, HashSet<u128>>,
    own: HashSet<Ipv6Addr>,
}

impl Table {
    /// `assigned` may overlap; single addresses are those of 128 bits. `own` are the addresses of this host, within
    /// the assigned networks or not.
    #[must_use]
    pub fn new(
        assigned: impl IntoIterator<Item = Ipv6Net>,
        own: impl IntoIterator<Item = Ipv6Addr>,
    ) -> Table {
        let mut table = Table { assigned: BTreeMap::new(), own: own.into_iter().collect() };
        for net in assigned {
            table.assigned.entry(net.prefix_len()).or_default().insert(net.network().to_bits());
        }
        table
    }

    /// Whether solicitations of an address are answered.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn look_up(&self, target: Ipv6Addr) -> Result<(), Reason> {
        if self.own.contains(&target) {
            return Err(Reason::OwnAddress);
        }
        let within = |(length, networks): (&u8, &HashSet<u128>)| networks.contains(&masked(target, *length));
        if self.assigned.iter().any(within) { Ok(()) } else { Err(Reason::NotAssigned) }
    }

    /// The single addresses.
    pub(super) fn singles(&self) -> impl Iterator<Item = Ipv6Addr> {
        let all = self.assigned.get(&128).into_iter().flatten().copied().map(Ipv6Addr::from_bits);
        all.filter(|address| !self.own.contains(address))
    }
}

fn masked(address: Ipv6Addr, length: u8) -> u128 {
    let host_bits = 128 - u32::from(length.min(128));
    address.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups() {
        let nets = ["2001:db8:1::3/128", "2001:db8:1:100::/64", "2001:db8:2::/48", "2001:db8:2:7::/64"];
        let own = ["2001:db8:1::2", "2001:db8:2::1"];
        let table =
            Table::new(nets.map(|net| net.parse().unwrap()), own.map(|address| address.parse().unwrap()));
        let check = |target: &str, expected: Result<(), Reason>| {
            assert_eq!(table.look_up(target.parse().unwrap()), expected, "{target}");
        };
        check("2001:db8:1::3", Ok(()));
        check("2001:db8:1::4", Err(Reason::NotAssigned));
        check("2001:db8:1::2", Err(Reason::OwnAddress));
        check("2001:db8:1:100::", Ok(()));
        check("2001:db8:1:100:ffff:ffff:ffff:ffff", Ok(()));
        check("2001:db8:1:ff:ffff:ffff:ffff:ffff", Err(Reason::NotAssigned));
        check("2001:db8:1:101::", Err(Reason::NotAssigned));
        check("2001:db8:2:7::1", Ok(()));
        check("2001:db8:2:ffff::1", Ok(()));
        check("2001:db8:2::1", Err(Reason::OwnAddress));
        check("2001:db8:3::1", Err(Reason::NotAssigned));
        check("::", Err(Reason::NotAssigned));
        assert_eq!(table.singles().collect::<Vec<_>>(), ["2001:db8:1::3".parse::<Ipv6Addr>().unwrap()]);
    }

    #[test]
    fn nothing_and_everything() {
        let check = |net: &[&str], expected: Result<(), Reason>| {
            let table = Table::new(net.iter().map(|net| net.parse().unwrap()), []);
            assert_eq!(table.look_up("2001:db8::1".parse().unwrap()), expected);
        };
        check(&[], Err(Reason::NotAssigned));
        check(&["::/0"], Ok(()));
        // Bits behind the prefix do not count.
        check(&["2001:db8::ffff:ffff/96"], Ok(()));
    }
}
