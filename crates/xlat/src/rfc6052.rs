//! IPv4 addresses inside IPv6 addresses: RFC 6052, and the prefix out of them: RFC 7050.

use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// A translation prefix of one of the six legal lengths: 32, 40, 48, 56, 64 or 96 bits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Prefix(Ipv6Net);

/// The legal lengths in bits (RFC 6052 §2.2), ascending.
pub const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

/// What `ipv4only.arpa` has: 192.0.0.170 and 192.0.0.171 (RFC 7050 §8.2).
pub const WELL_KNOWN_ADDRESSES: [Ipv4Addr; 2] =
    [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];

/// Why a network is no translation prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotAPrefix {
    /// Its length is none of the six (RFC 6052 §2.2).
    Length,
    /// Bits 64 to 71 are not zero (RFC 6052 §2.2); only a /96 has any.
    UOctet,
    /// Bits behind the prefix are not zero.
    HostBits,
}

/// Why an address holds no IPv4 address for a prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotEmbedded {
    /// The address is not within the prefix.
    Outside,
    /// Bits 64 to 71 are not zero (RFC 6052 §2.2).
    UOctet,
}

/// Why answers for `ipv4only.arpa` tell no prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotDiscovered {
    /// None of the two well-known addresses stands at any of the six places.
    Nowhere,
    /// One stands at several places, and no other answer tells which is meant.
    Several,
}

/// Bits 64 to 71, counted from the left.
const U_OCTET: u128 = 0xff << 56;
/// The bits before them.
const UPPER: u128 = !LOWER;
/// They and the bits behind them.
const LOWER: u128 = u64::MAX as u128;

impl Prefix {
    /// 64:ff9b::/96 (RFC 6052 §2.1).
    pub const WELL_KNOWN: Self = Self(Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96));

    /// Takes a network of a legal length.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(net: Ipv6Net) -> Result<Self, NotAPrefix> {
        let bits = net.addr().to_bits();
        if !LENGTHS.contains(&net.prefix_len()) {
            Err(NotAPrefix::Length)
        } else if bits & !mask(net.prefix_len()) != 0 {
            Err(NotAPrefix::HostBits)
        } else if bits & U_OCTET != 0 {
            Err(NotAPrefix::UOctet)
        } else {
            Ok(Self(net))
        }
    }

    /// The prefix of this length that an address is within.
    ///
    /// # Errors
    /// Why there is none.
    pub fn around(address: Ipv6Addr, length: u8) -> Result<Self, NotAPrefix> {
        Self::new(Ipv6Net::new(address, length).map_err(|_| NotAPrefix::Length)?.trunc())
    }

    /// The network.
    #[must_use]
    pub const fn net(self) -> Ipv6Net {
        self.0
    }

    /// Whether an address is within it.
    #[must_use]
    pub const fn contains(self, address: Ipv6Addr) -> bool {
        (address.to_bits() ^ self.0.addr().to_bits()) & mask(self.0.prefix_len()) == 0
    }

    /// The IPv6 address of an IPv4 address (RFC 6052 §2.3).
    #[must_use]
    pub const fn embed(self, address: Ipv4Addr) -> Ipv6Addr {
        let base = self.0.addr().to_bits();
        let address = address.to_bits() as u128;
        Ipv6Addr::from_bits(match self.0.prefix_len() {
            96 => base | address,
            length => {
                let right_behind = address << (96 - length);
                base | right_behind & UPPER | (right_behind & LOWER) >> 8
            }
        })
    }

    /// The IPv4 address of an IPv6 address (RFC 6052 §2.3).
    ///
    /// What stands in the bits behind the IPv4 address is ignored, as RFC 6052 §2.2 advises: they are
    /// kept for later.
    ///
    /// # Errors
    /// Why there is none in it.
    pub const fn extract(self, address: Ipv6Addr) -> Result<Ipv4Addr, NotEmbedded> {
        let bits = address.to_bits();
        if !self.contains(address) {
            return Err(NotEmbedded::Outside);
        }
        if bits & U_OCTET != 0 {
            return Err(NotEmbedded::UOctet);
        }
        Ok(Ipv4Addr::from_bits(match self.0.prefix_len() {
            96 => bits as u32,
            length => ((bits & UPPER | (bits << 8) & LOWER) >> (96 - length)) as u32,
        }))
    }

    /// The prefixes of all six lengths at which an address holds this IPv4 address.
    pub fn holding(address: Ipv6Addr, held: Ipv4Addr) -> impl Iterator<Item = Self> {
        LENGTHS.into_iter().filter_map(move |length| {
            let prefix = Self::around(address, length).ok()?;
            (prefix.extract(address) == Ok(held)).then_some(prefix)
        })
    }

    /// The prefix that was put before a well-known address in the AAAA answer `answer` for `ipv4only.arpa`
    /// (RFC 7050 §3). `answers` are all of them: where the address stands at several places of one, the
    /// place counts at which another answer has the other well-known address.
    ///
    /// # Errors
    /// Why the answer tells none.
    pub fn discovered(answer: Ipv6Addr, answers: &[Ipv6Addr]) -> Result<Self, NotDiscovered> {
        let [one, other] = WELL_KNOWN_ADDRESSES;
        let found = || {
            let first = Self::holding(answer, one).map(move |prefix| (prefix, other));
            first.chain(Self::holding(answer, other).map(move |prefix| (prefix, one)))
        };
        let confirmed = || {
            let among = move |at: &Ipv6Addr, (prefix, counterpart): (Self, Ipv4Addr)| {
                prefix.extract(*at) == Ok(counterpart)
            };
            found().filter(move |&place| answers.iter().any(|at| among(at, place)))
        };
        match (found().count(), sole(found()), sole(confirmed())) {
            (0, _, _) => Err(NotDiscovered::Nowhere),
            (_, Some((prefix, _)), _) | (_, None, Some((prefix, _))) => Ok(prefix),
            (_, None, None) => Err(NotDiscovered::Several),
        }
    }
}

impl core::fmt::Display for Prefix {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The only one, if it is.
fn sole<T>(mut several: impl Iterator<Item = T>) -> Option<T> {
    let first = several.next()?;
    several.next().is_none().then_some(first)
}

/// The bits of a legal length.
const fn mask(length: u8) -> u128 {
    u128::MAX << (128 - length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString as _;
    use std::vec::Vec;

    use super::*;

    fn net(text: &str) -> Ipv6Net {
        text.parse().unwrap()
    }

    fn prefix(text: &str) -> Prefix {
        Prefix::new(net(text)).unwrap()
    }

    #[test]
    fn six_lengths() {
        let check = |text: &str, expected: Result<(), NotAPrefix>| {
            assert_eq!(Prefix::new(net(text)).map(|_| ()), expected, "{text}");
        };
        for length in 0..=128 {
            let legal = matches!(length, 32 | 40 | 48 | 56 | 64 | 96);
            let expected = if legal { Ok(()) } else { Err(NotAPrefix::Length) };
            check(&std::format!("::/{length}"), expected);
        }
        check("2001:db8::/32", Ok(()));
        check("2001:db8:1::/32", Err(NotAPrefix::HostBits));
        check("2001:db8:122:344::/56", Err(NotAPrefix::HostBits));
        check("2001:db8:122:344::1/64", Err(NotAPrefix::HostBits));
        check("2001:db8:0:0:100::/64", Err(NotAPrefix::HostBits));
        check("2001:db8:0:0:ff::/96", Ok(()));
        check("2001:db8:0:0:100::/96", Err(NotAPrefix::UOctet));
        check("2001:db8:0:0:8000::/96", Err(NotAPrefix::UOctet));
        check("64:ff9b::1.2.3.4/96", Err(NotAPrefix::HostBits));
        assert_eq!(Prefix::WELL_KNOWN, prefix("64:ff9b::/96"));
        assert_eq!(Prefix::WELL_KNOWN.to_string(), "64:ff9b::/96");
    }

    /// RFC 6052 §2.4, and addresses whose four bytes tell themselves apart.
    #[test]
    fn there_and_back() {
        let check = |text: &str, v4: &str, v6: &str| {
            let (v4, v6) = (v4.parse().unwrap(), v6.parse().unwrap());
            assert_eq!(prefix(text).embed(v4), v6, "{text}");
            assert_eq!(prefix(text).extract(v6), Ok(v4), "{text}");
        };
        check("2001:db8::/32", "192.0.2.33", "2001:db8:c000:221::");
        check("2001:db8:100::/40", "192.0.2.33", "2001:db8:1c0:2:21::");
        check("2001:db8:122::/48", "192.0.2.33", "2001:db8:122:c000:2:2100::");
        check("2001:db8:122:300::/56", "192.0.2.33", "2001:db8:122:3c0:0:221::");
        check("2001:db8:122:344::/64", "192.0.2.33", "2001:db8:122:344:c0:2:2100::");
        check("2001:db8:122:344::/96", "192.0.2.33", "2001:db8:122:344::192.0.2.33");
        check("64:ff9b::/96", "192.0.2.33", "64:ff9b::192.0.2.33");
        check("2001:db8::/32", "1.2.3.4", "2001:db8:102:304::");
        check("2001:db8::/40", "1.2.3.4", "2001:db8:1:203:4::");
        check("2001:db8::/48", "1.2.3.4", "2001:db8:0:102:3:400::");
        check("2001:db8::/56", "1.2.3.4", "2001:db8:0:1:2:304::");
        check("2001:db8::/64", "1.2.3.4", "2001:db8::1:203:400:0");
        check("2001:db8::/96", "1.2.3.4", "2001:db8::1.2.3.4");
        check("::/32", "255.255.255.255", "::ffff:ffff:0:0:0:0");
        check("::/64", "255.255.255.255", "::ff:ffff:ff00:0");
        check("64:ff9b:1:fffe::/96", "0.0.0.0", "64:ff9b:1:fffe::");
        check("2a00:1098:2b::1:0:0/96", "8.8.4.4", "2a00:1098:2b::1:808:404");
    }

    #[test]
    fn nothing_embedded() {
        let check = |text: &str, v6: &str, expected: Result<[u8; 4], NotEmbedded>| {
            let expected = expected.map(Ipv4Addr::from);
            assert_eq!(prefix(text).extract(v6.parse().unwrap()), expected, "{text} {v6}");
        };
        check("2001:db8::/32", "2001:db9:c000:221::", Err(NotEmbedded::Outside));
        check("2001:db8:100::/40", "2001:db8:2c0:2:21::", Err(NotEmbedded::Outside));
        check("2001:db8:122:344::/64", "2001:db8:122:345:c0:2:2100::", Err(NotEmbedded::Outside));
        check("64:ff9b::/96", "64:ff9b::1:c000:221", Err(NotEmbedded::Outside));
        check("64:ff9b::/96", "64:ff9b:0:0:100:0:c000:221", Err(NotEmbedded::Outside));
        check("2001:db8::/32", "2001:db8:c000:221:100::", Err(NotEmbedded::UOctet));
        check("2001:db8:100::/40", "2001:db8:1c0:2:8021::", Err(NotEmbedded::UOctet));
        check("2001:db8:122::/48", "2001:db8:122:c000:102:2100::", Err(NotEmbedded::UOctet));
        check("2001:db8:122:300::/56", "2001:db8:122:3c0:ff00:221::", Err(NotEmbedded::UOctet));
        check("2001:db8:122:344::/64", "2001:db8:122:344:1c0:2:2100::", Err(NotEmbedded::UOctet));
        // What follows the IPv4 address is ignored, whatever it is.
        check("2001:db8::/32", "2001:db8:c000:221::1", Ok([192, 0, 2, 33]));
        check("2001:db8::/32", "2001:db8:c000:221:ff:ffff:ffff:ffff", Ok([192, 0, 2, 33]));
        check("2001:db8:100::/40", "2001:db8:1c0:2:21:8000::", Ok([192, 0, 2, 33]));
        check("2001:db8:122::/48", "2001:db8:122:c000:2:21ff::", Ok([192, 0, 2, 33]));
        check("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221:8000:0", Ok([192, 0, 2, 33]));
        check("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2180:0", Ok([192, 0, 2, 33]));
    }

    #[test]
    fn the_prefix_out_of_answers() {
        let check = |answers: &[&str], expected: Result<&str, NotDiscovered>| {
            let answers: Vec<Ipv6Addr> = answers.iter().map(|answer| answer.parse().unwrap()).collect();
            assert_eq!(Prefix::discovered(answers[0], &answers), expected.map(prefix), "{answers:?}");
        };
        for length in LENGTHS {
            let expected = std::format!("2001:db8::/{length}");
            for address in WELL_KNOWN_ADDRESSES {
                check(&[&prefix(&expected).embed(address).to_string()], Ok(&expected));
            }
        }
        check(&["64:ff9b::192.0.0.170"], Ok("64:ff9b::/96"));
        check(&["64:ff9b::192.0.0.172"], Err(NotDiscovered::Nowhere));
        check(&["2001:db8::1"], Err(NotDiscovered::Nowhere));
        check(&["::1", "64:ff9b::192.0.0.170"], Err(NotDiscovered::Nowhere));
        // A u octet that is not zero is none of RFC 6052's.
        check(&["2001:db8:0:0:100:0:c000:aa"], Err(NotDiscovered::Nowhere));
        // The well-known address is part of the prefix, too.
        check(&["2001:db8:c000:aa::c000:aa"], Err(NotDiscovered::Several));
        check(&["2001:db8:c000:aa::c000:ab"], Err(NotDiscovered::Several));
        check(&["2001:db8:c000:aa::c000:aa", "2001:db8:c000:aa::c000:aa"], Err(NotDiscovered::Several));
        check(&["2001:db8:c000:aa::c000:aa", "64:ff9b::c000:ab"], Err(NotDiscovered::Several));
        check(&["2001:db8:c000:aa::c000:aa", "2001:db8:c000:aa::c000:ab"], Ok("2001:db8:c000:aa::/96"));
        check(&["2001:db8:c000:aa::c000:ab", "2001:db8:c000:aa::c000:aa"], Ok("2001:db8:c000:aa::/96"));
        check(&["2001:db8:c000:aa::c000:aa", "2001:db8:c000:ab::"], Ok("2001:db8::/32"));
    }

    proptest! {
        /// Byte by byte, as the figure of RFC 6052 §2.2 has it.
        #[test]
        fn as_the_figure(which in 0_usize..6, base: [u8; 16], v4: [u8; 4]) {
            let length = LENGTHS[which];
            let mut expected = base;
            expected[usize::from(length / 8)..].fill(0);
            expected[8] = 0;
            let prefix = Prefix::new(Ipv6Net::new(expected.into(), length).unwrap()).unwrap();
            let places = (usize::from(length / 8)..16).filter(|&place| place != 8 || length == 96);
            for (place, byte) in places.zip(v4) {
                expected[place] = byte;
            }
            prop_assert_eq!(prefix.embed(v4.into()), Ipv6Addr::from(expected));
            prop_assert_eq!(prefix.extract(expected.into()), Ok(v4.into()));
            prop_assert!(prefix.contains(expected.into()));
        }

        #[test]
        fn within_as_ipnet_says(which in 0_usize..6, base: u128, flip in 0_u32..128) {
            let net = Ipv6Net::new(Ipv6Addr::from(base & !U_OCTET), LENGTHS[which]).unwrap().trunc();
            let address = Ipv6Addr::from(base ^ (1 << flip));
            prop_assert_eq!(Prefix::new(net).unwrap().contains(address), net.contains(&address));
        }
    }
}
