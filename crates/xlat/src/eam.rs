//! Explicit address mappings: RFC 7757 §3.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

mod lengths;

use lengths::{Key, Lengths};

/// One mapping: two prefixes, the IPv6 suffix at least as long as the IPv4 one (RFC 7757 §3.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Mapping {
    /// IPv6 prefix.
    pub v6: Ipv6Net,
    /// IPv4 prefix.
    pub v4: Ipv4Net,
}

/// Why a list of mappings makes no table; `at` is an index into the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Illegal {
    /// The IPv6 suffix is shorter than the IPv4 suffix (RFC 7757 §3.2).
    SuffixTooShort {
        /// Which mapping.
        at: usize,
    },
    /// Bits behind a prefix are not zero.
    HostBits {
        /// Which mapping.
        at: usize,
    },
    /// The IPv4 prefix or the IPv6 prefix is that of an earlier mapping.
    Twice {
        /// Which mapping.
        at: usize,
        /// The earlier one.
        earlier: usize,
    },
}

impl Illegal {
    /// Which mapping can't be in the table.
    #[must_use]
    pub const fn at(self) -> usize {
        match self {
            Self::SuffixTooShort { at } | Self::HostBits { at } | Self::Twice { at, .. } => at,
        }
    }
}

/// Mappings ready for look-up, longest match first, in either direction.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Table {
    mappings: Vec<Mapping>,
    /// Where in `mappings` the one for an IPv4 address is.
    by4: Lengths<u32>,
    /// The same for an IPv6 address.
    by6: Lengths<u128>,
}

/// Every mapping that can't be in a table, in the order of the list.
#[must_use]
pub fn illegal(mappings: &[Mapping]) -> Vec<Illegal> {
    let alone = mappings.iter().enumerate().filter_map(|(at, mapping)| mapping.illegal_alone(at));
    let mut found: Vec<Illegal> = alone.collect();
    found.extend(twice(mappings.iter().map(|mapping| mapping.v4)));
    found.extend(twice(mappings.iter().map(|mapping| mapping.v6)));
    found.sort_by_key(|illegal| illegal.at());
    found.dedup_by_key(|illegal| illegal.at());
    found
}

/// Prefixes that stood in the list before.
fn twice<P: Ord>(prefixes: impl Iterator<Item = P>) -> impl Iterator<Item = Illegal> {
    let mut sorted: Vec<(P, usize)> = prefixes.enumerate().map(|(at, prefix)| (prefix, at)).collect();
    sorted.sort_unstable();
    let groups = sorted.chunk_by(|a, b| a.0 == b.0).map(|group| group.iter().map(|(_, at)| *at));
    let again = groups.flat_map(|mut group| {
        let earlier = group.next().unwrap_or_default();
        group.map(move |at| Illegal::Twice { at, earlier })
    });
    again.collect::<Vec<_>>().into_iter()
}

impl Table {
    /// Makes a table.
    ///
    /// # Errors
    /// The first mapping that can't be in it.
    pub fn new(mappings: &[Mapping]) -> Result<Self, Illegal> {
        if let Some(first) = illegal(mappings).first() {
            return Err(*first);
        }
        let by4 = Lengths::new(mappings.iter().map(Mapping::key4));
        let by6 = Lengths::new(mappings.iter().map(Mapping::key6));
        Ok(Self { by4, by6, mappings: mappings.to_vec() })
    }

    /// What it was made of.
    #[must_use]
    pub fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// The mapping with the longest IPv4 prefix that contains an address.
    #[must_use]
    pub fn of4(&self, address: Ipv4Addr) -> Option<&Mapping> {
        let key = |at| self.mappings.get(at).map(Mapping::key4);
        self.mappings.get(self.by4.find(address.to_bits(), key)?)
    }

    /// The mapping with the longest IPv6 prefix that contains an address.
    #[must_use]
    pub fn of6(&self, address: Ipv6Addr) -> Option<&Mapping> {
        let key = |at| self.mappings.get(at).map(Mapping::key6);
        self.mappings.get(self.by6.find(address.to_bits(), key)?)
    }

    /// The IPv6 address of an IPv4 address, by the mapping with the longest IPv4 prefix; the suffix is put
    /// behind the IPv6 prefix and padded with zeros (RFC 7757 §3.3.1).
    #[must_use]
    pub fn to6(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        self.of4(address).map(|mapping| mapping.to6(address))
    }

    /// The IPv4 address of an IPv6 address, by the mapping with the longest IPv6 prefix; what is left of
    /// the suffix is ignored (RFC 7757 §3.3.2).
    #[must_use]
    pub fn to4(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        self.of6(address).map(|mapping| mapping.to4(address))
    }
}

/// What a table was made of says all of it.
impl core::hash::Hash for Table {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.mappings.hash(state);
    }
}

impl Mapping {
    fn illegal_alone(&self, at: usize) -> Option<Illegal> {
        let Self { v6, v4 } = *self;
        if v6 != v6.trunc() || v4 != v4.trunc() {
            Some(Illegal::HostBits { at })
        } else if 128 - v6.prefix_len() < 32 - v4.prefix_len() {
            Some(Illegal::SuffixTooShort { at })
        } else {
            None
        }
    }

    fn key4(&self) -> (u32, u8) {
        (self.v4.addr().to_bits(), self.v4.prefix_len())
    }

    fn key6(&self) -> (u128, u8) {
        (self.v6.addr().to_bits(), self.v6.prefix_len())
    }

    /// How many bits the IPv6 suffix has more than the IPv4 suffix. Not below zero in a table.
    const fn padding(&self) -> u32 {
        (96 + self.v4.prefix_len() as u32).saturating_sub(self.v6.prefix_len() as u32)
    }

    /// An address within `v4`. All 128 bits are padding where a /32 is mapped to ::/0.
    fn to6(self, address: Ipv4Addr) -> Ipv6Addr {
        let suffix = u128::from(address.to_bits() & u32::suffix_mask(self.v4.prefix_len()));
        let suffix = suffix.checked_shl(self.padding()).unwrap_or(0);
        Ipv6Addr::from_bits(self.v6.addr().to_bits() | suffix)
    }

    /// An address within `v6`.
    fn to4(self, address: Ipv6Addr) -> Ipv4Addr {
        let suffix = address.to_bits() & u128::suffix_mask(self.v6.prefix_len());
        let suffix = suffix.checked_shr(self.padding()).unwrap_or(0);
        Ipv4Addr::from_bits(self.v4.addr().to_bits() | suffix as u32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    use super::*;

    fn mapping(v6: &str, v4: &str) -> Mapping {
        Mapping { v6: v6.parse().unwrap(), v4: v4.parse().unwrap() }
    }

    fn mappings(list: &[(&str, &str)]) -> Vec<Mapping> {
        list.iter().map(|(v6, v4)| mapping(v6, v4)).collect()
    }

    /// RFC 7757 §3.1, figure 1.
    const EXAMPLE: &[(&str, &str)] = &[
        ("2001:db8:aaaa::/128", "192.0.2.1/32"),
        ("2001:db8:bbbb::b/128", "192.0.2.2/32"),
        ("2001:db8:cccc::/124", "192.0.2.16/28"),
        ("2001:db8:dddd::/64", "192.0.2.128/26"),
        ("2001:db8:eeee:8::/62", "192.0.2.192/29"),
        ("64:ff9b::/127", "192.0.2.224/31"),
    ];

    /// Each within the one before, but crosswise in the other family.
    const NESTED: &[(&str, &str)] = &[
        ("64:ff9b::/96", "0.0.0.0/0"),
        ("2001:db8::/32", "198.51.0.0/16"),
        ("2001:db8:1::/48", "198.51.100.0/24"),
        ("2001:db8:1:1::/64", "198.51.100.128/25"),
        ("2001:db8:1:1::ffff/128", "198.51.100.255/32"),
        ("::/96", "203.0.113.7/32"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "255.255.255.255/32"),
    ];

    #[test]
    fn from_ipv4() {
        let check = |list: &[(&str, &str)], v4: &str, expected: Option<&str>| {
            let table = Table::new(&mappings(list)).unwrap();
            let expected = expected.map(|v6| v6.parse().unwrap());
            assert_eq!(table.to6(v4.parse().unwrap()), expected, "{v4}");
        };
        check(EXAMPLE, "192.0.2.0", None);
        check(EXAMPLE, "192.0.2.1", Some("2001:db8:aaaa::"));
        check(EXAMPLE, "192.0.2.2", Some("2001:db8:bbbb::b"));
        check(EXAMPLE, "192.0.2.3", None);
        check(EXAMPLE, "192.0.2.15", None);
        check(EXAMPLE, "192.0.2.16", Some("2001:db8:cccc::"));
        check(EXAMPLE, "192.0.2.24", Some("2001:db8:cccc::8"));
        check(EXAMPLE, "192.0.2.31", Some("2001:db8:cccc::f"));
        check(EXAMPLE, "192.0.2.32", None);
        check(EXAMPLE, "192.0.2.152", Some("2001:db8:dddd:0:6000::"));
        check(EXAMPLE, "192.0.2.191", Some("2001:db8:dddd:0:fc00::"));
        check(EXAMPLE, "192.0.2.197", Some("2001:db8:eeee:a:8000::"));
        check(EXAMPLE, "192.0.2.225", Some("64:ff9b::1"));
        check(EXAMPLE, "255.255.255.255", None);
        check(NESTED, "0.0.0.0", Some("64:ff9b::"));
        check(NESTED, "198.50.255.255", Some("64:ff9b::198.50.255.255"));
        check(NESTED, "198.51.0.0", Some("2001:db8::"));
        check(NESTED, "198.51.99.255", Some("2001:db8:63ff::"));
        check(NESTED, "198.51.100.0", Some("2001:db8:1::"));
        check(NESTED, "198.51.100.127", Some("2001:db8:1:7f00::"));
        check(NESTED, "198.51.100.128", Some("2001:db8:1:1::"));
        check(NESTED, "198.51.100.254", Some("2001:db8:1:1:fc00::"));
        check(NESTED, "198.51.100.255", Some("2001:db8:1:1::ffff"));
        check(NESTED, "198.51.101.0", Some("2001:db8:6500::"));
        check(NESTED, "198.52.0.0", Some("64:ff9b::198.52.0.0"));
        check(NESTED, "203.0.113.7", Some("::"));
        check(NESTED, "255.255.255.254", Some("64:ff9b::255.255.255.254"));
        check(NESTED, "255.255.255.255", Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        check(&[], "192.0.2.1", None);
        check(&[("::/0", "0.0.0.0/0")], "192.0.2.1", Some("c000:201::"));
        check(&[("::/0", "192.0.2.1/32")], "192.0.2.1", Some("::"));
        check(&[("::/0", "192.0.2.1/32")], "192.0.2.2", None);
        check(&[("::/0", "192.0.2.0/31")], "192.0.2.1", Some("8000::"));
    }

    #[test]
    fn from_ipv6() {
        let check = |list: &[(&str, &str)], v6: &str, expected: Option<&str>| {
            let table = Table::new(&mappings(list)).unwrap();
            let expected = expected.map(|v4| v4.parse().unwrap());
            assert_eq!(table.to4(v6.parse().unwrap()), expected, "{v6}");
        };
        check(EXAMPLE, "2001:db8:aaaa::", Some("192.0.2.1"));
        check(EXAMPLE, "2001:db8:aaaa::1", None);
        check(EXAMPLE, "2001:db8:bbbb::b", Some("192.0.2.2"));
        check(EXAMPLE, "2001:db8:cccc::8", Some("192.0.2.24"));
        check(EXAMPLE, "2001:db8:cccc::10", None);
        check(EXAMPLE, "2001:db8:dddd:0:6000::", Some("192.0.2.152"));
        // What is left of the suffix is ignored.
        check(EXAMPLE, "2001:db8:dddd:0:63ff:ffff:ffff:ffff", Some("192.0.2.152"));
        check(EXAMPLE, "2001:db8:dddd::ffff", Some("192.0.2.128"));
        check(EXAMPLE, "2001:db8:dddd:1::", None);
        check(EXAMPLE, "2001:db8:eeee:a:8000::", Some("192.0.2.197"));
        check(EXAMPLE, "2001:db8:eeee:c::", None);
        check(EXAMPLE, "64:ff9b::1", Some("192.0.2.225"));
        check(EXAMPLE, "64:ff9b::2", None);
        check(NESTED, "64:ff9b::8.8.8.8", Some("8.8.8.8"));
        check(NESTED, "64:ff9b::1:0:0", None);
        check(NESTED, "2001:db8::1", Some("198.51.0.0"));
        check(NESTED, "2001:db8:1::1", Some("198.51.100.0"));
        check(NESTED, "2001:db8:1:8000::", Some("198.51.100.128"));
        check(NESTED, "2001:db8:1:1::", Some("198.51.100.128"));
        check(NESTED, "2001:db8:1:1::fffe", Some("198.51.100.128"));
        check(NESTED, "2001:db8:1:1::ffff", Some("198.51.100.255"));
        check(NESTED, "2001:db8:1:1::1:0", Some("198.51.100.128"));
        check(NESTED, "2001:db8:1:2::", Some("198.51.100.0"));
        check(NESTED, "2001:db8:2::", Some("198.51.0.2"));
        check(NESTED, "2001:db9::", None);
        check(NESTED, "::", Some("203.0.113.7"));
        check(NESTED, "::1.2.3.4", Some("203.0.113.7"));
        check(NESTED, "::1:0:0:0", None);
        check(NESTED, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", None);
        check(NESTED, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("255.255.255.255"));
        check(&[], "2001:db8::", None);
        check(&[("::/0", "0.0.0.0/0")], "c000:201:ffff::", Some("192.0.2.1"));
        check(&[("::/0", "192.0.2.1/32")], "2001:db8::", Some("192.0.2.1"));
    }

    #[test]
    fn no_table() {
        let check = |list: &[(&str, &str)], expected: &[Illegal]| {
            assert_eq!(illegal(&mappings(list)), expected, "{list:?}");
            assert_eq!(Table::new(&mappings(list)).err().as_ref(), expected.first(), "{list:?}");
        };
        check(EXAMPLE, &[]);
        check(NESTED, &[]);
        check(&[("2001:db8::/121", "192.0.2.0/24")], &[Illegal::SuffixTooShort { at: 0 }]);
        check(&[("2001:db8::/120", "192.0.2.0/24")], &[]);
        check(&[("2001:db8::/97", "0.0.0.0/0")], &[Illegal::SuffixTooShort { at: 0 }]);
        check(&[("2001:db8::1/120", "192.0.2.0/24")], &[Illegal::HostBits { at: 0 }]);
        check(&[("2001:db8::/120", "192.0.2.1/24")], &[Illegal::HostBits { at: 0 }]);
        let same4 = [("2001:db8::1/128", "192.0.2.1/32"), ("2001:db8::2/128", "192.0.2.1/32")];
        check(&same4, &[Illegal::Twice { at: 1, earlier: 0 }]);
        let same6 = [("2001:db8::/128", "192.0.2.1/32"), ("2001:db8::/128", "192.0.2.2/32")];
        check(&same6, &[Illegal::Twice { at: 1, earlier: 0 }]);
        let many = [
            ("2001:db8::3/128", "192.0.2.3/32"),
            ("2001:db8::2/127", "192.0.2.2/31"),
            ("2001:db8::3/128", "192.0.2.9/32"),
            ("2001:db8::8/128", "192.0.2.8/31"),
            ("2001:db8::4/128", "192.0.2.3/32"),
            ("2001:db8::3/128", "192.0.2.3/32"),
        ];
        let found = [
            Illegal::Twice { at: 2, earlier: 0 },
            Illegal::SuffixTooShort { at: 3 },
            Illegal::Twice { at: 4, earlier: 0 },
            Illegal::Twice { at: 5, earlier: 0 },
        ];
        check(&many, &found);
    }

    /// The longest match, by looking at every mapping.
    fn naive6(list: &[Mapping], address: Ipv6Addr) -> Option<Ipv4Addr> {
        let matching = list.iter().filter(|mapping| mapping.v6.contains(&address));
        matching.max_by_key(|mapping| mapping.v6.prefix_len()).map(|Mapping { v6, v4 }| {
            let suffix: Vec<bool> = bits6(address).skip(v6.prefix_len().into()).collect();
            let all = bits6(v4.addr().to_ipv6_mapped()).skip(96).take(v4.prefix_len().into()).chain(suffix);
            Ipv4Addr::from_bits(all.take(32).fold(0, |number, bit| number << 1 | u32::from(bit)))
        })
    }

    fn naive4(list: &[Mapping], address: Ipv4Addr) -> Option<Ipv6Addr> {
        let matching = list.iter().filter(|mapping| mapping.v4.contains(&address));
        matching.max_by_key(|mapping| mapping.v4.prefix_len()).map(|Mapping { v6, v4 }| {
            let suffix = bits6(address.to_ipv6_mapped()).skip(96 + usize::from(v4.prefix_len()));
            let all = bits6(v6.addr()).take(v6.prefix_len().into()).chain(suffix);
            let all = all.chain(core::iter::repeat(false));
            Ipv6Addr::from_bits(all.take(128).fold(0, |number, bit| number << 1 | u128::from(bit)))
        })
    }

    fn bits6(address: Ipv6Addr) -> impl Iterator<Item = bool> {
        (0..128).rev().map(move |bit| address.to_bits() >> bit & 1 == 1)
    }

    /// Crowded, so that prefixes nest and touch, and at both ends of all addresses.
    fn crowded() -> impl Strategy<Value = Vec<Mapping>> {
        let one = (0_u8..=32, 0_u8..=255, 0_u8..=255, 0_u8..=96).prop_map(|(length4, a, b, wider)| {
            let length6 = (96 + length4).saturating_sub(if wider > 60 { 0 } else { wider });
            let edge = |byte: u8, width: u32| match byte % 4 {
                0 => u128::from(byte / 4),
                1 => !u128::from(byte / 4),
                2 => u128::from(byte / 4) << (width - 8),
                _ => u128::from(byte / 4) << (width / 2),
            };
            Mapping {
                v4: Ipv4Net::new(Ipv4Addr::from_bits(edge(a, 32) as u32), length4).unwrap().trunc(),
                v6: Ipv6Net::new(Ipv6Addr::from_bits(edge(b, 128)), length6).unwrap().trunc(),
            }
        });
        proptest::collection::vec(one, 0..100).prop_map(|mut list| {
            // Without those that say what an earlier one says already.
            while let Some(first) = illegal(&list).first() {
                list.remove(first.at());
            }
            list
        })
    }

    proptest! {
        #[test]
        fn as_the_naive_one(list in crowded(), other: u128) {
            let table = Table::new(&list).unwrap();
            let near = |net: u128, last: u128| {
                [net, net.wrapping_sub(1), last, last.wrapping_add(1), net | other & (net ^ last)]
            };
            let ends = [other, 0, u128::MAX];
            let v6 = list.iter().flat_map(|m| near(m.v6.network().to_bits(), m.v6.broadcast().to_bits()));
            for address in v6.chain(ends).map(Ipv6Addr::from_bits) {
                prop_assert_eq!(table.to4(address), naive6(&list, address), "{}", address);
            }
            let both = |m: &Mapping| (m.v4.network().to_bits().into(), m.v4.broadcast().to_bits().into());
            let v4 = list.iter().map(both).flat_map(|(net, last)| near(net, last));
            for address in v4.chain(ends).map(|bits| Ipv4Addr::from_bits(bits as u32)) {
                prop_assert_eq!(table.to6(address), naive4(&list, address), "{}", address);
            }
        }
    }

    fn many(count: u32) -> Vec<Mapping> {
        // Scattered by a multiplication with an odd number, which gives no address twice.
        let v4 = (0..count).map(|number| Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b1)));
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).to_bits();
        v4.zip(0_u128..)
            .map(|(v4, n)| Mapping {
                v6: Ipv6Net::new(Ipv6Addr::from_bits(v6 | (n * 7) << 8), 128).unwrap(),
                v4: Ipv4Net::new(v4, 32).unwrap(),
            })
            .collect()
    }

    #[test]
    fn a_hundred_thousand() {
        let list = many(100_000);
        let begin = Instant::now();
        let table = Table::new(&list).unwrap();
        // Tens of milliseconds; the bound is for machines that do other things beside it.
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        for Mapping { v6, v4 } in &list {
            assert_eq!(table.to6(v4.addr()), Some(v6.addr()));
            assert_eq!(table.to4(v6.addr()), Some(v4.addr()));
        }
    }

    /// What a look-up costs, with few and with many mappings: `cargo test --release -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn how_fast() {
        for count in [1, 2, 10, 1_000, 100_000] {
            let list = many(count);
            let table = Table::new(&list).unwrap();
            let rounds = 20_000_000_usize;
            let asked = |n: usize| &list[n.wrapping_mul(0x9e37_79b1) % list.len()];
            let begin = Instant::now();
            let found = (0..rounds).filter(|n| table.to6(asked(*n).v4.addr()).is_some()).count();
            let to6 = begin.elapsed();
            let begin = Instant::now();
            let found = found + (0..rounds).filter(|n| table.to4(asked(*n).v6.addr()).is_some()).count();
            let to4 = begin.elapsed();
            assert_eq!(found, rounds * 2);
            let each = |time: Duration| time.as_nanos() as f64 / rounds as f64;
            std::println!("{count} mappings: to6 {:.1} ns, to4 {:.1} ns", each(to6), each(to4));
        }
    }
}
