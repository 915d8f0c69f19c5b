//! An IPv6 address whose translation leaves checksums as they are (RFC 6052 §4.1).
//!
//! A checksum is a sum of 16-bit words. Where the words of both IPv6 addresses of a packet add up to what
//! the words of its two IPv4 addresses do, the checksum of TCP or UDP is right on both sides. The far
//! address brings its own IPv4 address along in whole words behind a prefix of 32 or 96 bits; the near one
//! then has to make up for that prefix and for its own network, with one word.

use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use straddle_wire::checksum::Sum;

use crate::rfc6052;

/// The longest prefix in bits that leaves room for the word that compensates.
pub const LONGEST: u8 = 112;

/// An address within `net` for the IPv4 address `address4`, the same for the same arguments.
///
/// Bits behind the network, from the 65th on, are of `seed`: hosts of one network differ in it. The last 16 are
/// the word that compensates; where `net` is longer than [`LONGEST`] there is no such word, and all are of
/// `seed`. `prefix64` is where the other ends are; without it, or with one of a length that splits words,
/// the address is neutral for `address4` alone.
#[must_use]
pub fn choose(net: Ipv6Net, seed: u64, address4: Ipv4Addr, prefix64: Option<rfc6052::Prefix>) -> Ipv6Addr {
    let network = net.network().to_bits();
    let free = net.hostmask().to_bits() & u128::from(u64::MAX);
    let drawn = network | u128::from(seed) & free;
    if net.prefix_len() > LONGEST {
        return Ipv6Addr::from_bits(drawn);
    }
    let drawn = drawn & !0xffff;
    let word = Sum::of(&address4.octets()).minus(sum6(drawn.into(), prefix64));
    // Two words compensate where one is zero. All zeros behind a network are its routers (RFC 4291 §2.6.1).
    let word = if word.value() == 0 && drawn == network { u16::MAX } else { word.value() };
    Ipv6Addr::from_bits(drawn | u128::from(word))
}

/// Whether translating between the two, with the other end in `prefix64`, leaves checksums as they are.
#[must_use]
pub fn is_neutral(address6: Ipv6Addr, address4: Ipv4Addr, prefix64: rfc6052::Prefix) -> bool {
    let four = Sum::of(&address4.octets());
    let six = sum6(address6, Some(prefix64));
    // Zero is written in two ways.
    keeps_words(prefix64) && four.value() % u16::MAX == six.value() % u16::MAX
}

/// What both addresses add to a checksum beside the IPv4 address in the far one.
fn sum6(address6: Ipv6Addr, prefix64: Option<rfc6052::Prefix>) -> Sum {
    let near = Sum::of(&address6.octets());
    let far = prefix64.filter(|prefix| keeps_words(*prefix));
    far.map_or(near, |prefix| near.plus(Sum::of(&prefix.net().addr().octets())))
}

/// Behind the other lengths, the bytes of an IPv4 address change places within words.
fn keeps_words(prefix: rfc6052::Prefix) -> bool {
    matches!(prefix.net().prefix_len(), 32 | 96)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);

    fn prefix(text: &str) -> rfc6052::Prefix {
        rfc6052::Prefix::new(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn chosen() {
        let check = |net: &str, seed: u64, prefix64: Option<&str>, expected: &str| {
            let found = choose(net.parse().unwrap(), seed, DUMMY, prefix64.map(prefix));
            assert_eq!(found, expected.parse::<Ipv6Addr>().unwrap(), "{net} {seed:x} {prefix64:?}");
        };
        // c000 + 0002 = 2001 + 0db8 + 9249
        check("2001:db8::/64", 0, None, "2001:db8::9249");
        // and 64 + ff9b = ffff, which is none
        check("2001:db8::/64", 0, Some("64:ff9b::/96"), "2001:db8::9249");
        check("2001:db8::/64", 0x1234_5678_9abc_def0, None, "2001:db8:0:0:1234:5678:9abc:8ee0");
        check("2001:db8::/64", 0, Some("2001:db8:1::/96"), "2001:db8::648f");
        check("2001:db8::/64", 0, Some("2001:db8::/32"), "2001:db8::6490");
        // Lengths that split words.
        check("2001:db8::/64", 0, Some("2001:db8:1::/48"), "2001:db8::9249");
        check("2001:db8::/64", 0, Some("2001:db8:1::/64"), "2001:db8::9249");
        // Bits of the seed before the 65th, and of the network, don't come in.
        check("2001:db8::/48", u64::MAX, None, "2001:db8::ffff:ffff:ffff:9249");
        check("2001:db8::/112", u64::MAX, None, "2001:db8::9249");
        check("2001:db8::/111", u64::MAX, None, "2001:db8::1:9248");
        check("2001:db8::ffff/96", 0, None, "2001:db8::9249");
        // No room for a word.
        check("2001:db8::/113", 0xffff_1234, None, "2001:db8::1234");
        check("2001:db8::8000/113", 0x1234, None, "2001:db8::9234");
        check("2001:db8::1/128", u64::MAX, None, "2001:db8::1");
        // The network itself compensates: its own address is its routers'.
        check("2001:db8:9249::/64", 0, None, "2001:db8:9249::ffff");
        check("2001:db8:9249::/64", 0x1_0000, None, "2001:db8:9249::1:fffe");
    }

    #[test]
    fn neutral() {
        let check = |address6: &str, prefix64: &str, expected: bool| {
            let found = is_neutral(address6.parse().unwrap(), DUMMY, prefix(prefix64));
            assert_eq!(found, expected, "{address6} {prefix64}");
        };
        check("2001:db8::9249", "64:ff9b::/96", true);
        check("2001:db8::924a", "64:ff9b::/96", false);
        check("2001:db8::648f", "2001:db8:1::/96", true);
        check("2001:db8::9249", "2001:db8:1::/96", false);
        check("2001:db8:9249::", "64:ff9b::/96", true);
        check("2001:db8:9249::ffff", "64:ff9b::/96", true);
        check("2001:db8::9249", "::/64", false);
    }

    proptest! {
        /// The sums over both addresses are those of the IPv4 packet, whoever the other end is.
        #[test]
        fn sums_are_kept(base: u128, length in 0_u8..=112, seed: u64, near: u32, far: u32, wide: bool) {
            let net = Ipv6Net::new(base.into(), length).unwrap();
            let prefix64 = Ipv6Net::new((!base & !(0xff << 56)).into(), if wide { 32 } else { 96 }).unwrap();
            let prefix64 = rfc6052::Prefix::new(prefix64.trunc()).unwrap();
            let (near, far) = (Ipv4Addr::from(near), Ipv4Addr::from(far));
            let chosen = choose(net, seed, near, Some(prefix64));
            let six = Sum::of(&chosen.octets()).plus(Sum::of(&prefix64.embed(far).octets()));
            let four = Sum::of(&near.octets()).plus(Sum::of(&far.octets()));
            prop_assert_eq!(six.value() % u16::MAX, four.value() % u16::MAX);
            prop_assert!(net.contains(&chosen));
            prop_assert!(is_neutral(chosen, near, prefix64));
        }
    }
}
