//! The PREF64 option of router advertisements (RFC 8781 §4).

use std::net::Ipv6Addr;
use std::time::Duration;

use straddle_xlat::rfc6052::Prefix;

use super::is_usable;

/// Type of a router advertisement (RFC 4861 §4.2).
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type of the option.
const PREF64: u8 = 38;
/// Its length, in units of eight bytes.
const UNITS: u8 = 2;
/// Bytes of a router advertisement before its options (RFC 4861 §4.2).
const FIXED: usize = 16;
/// Prefix lengths in bits, by the option's code for them.
const LENGTHS: [u8; 6] = [96, 64, 56, 48, 40, 32];
/// The bits of the code; those above are the lifetime in units of 8 seconds, so that what is left without
/// the code is the lifetime in seconds.
const CODE: u16 = 7;

/// A prefix, as a router offers it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pref64 {
    /// The prefix.
    pub prefix: Prefix,
    /// How long it may be used; zero takes it back.
    pub lifetime: Duration,
}

/// Why an option offers nothing. It is ignored, as RFC 8781 §4 wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// It is another option, or not 16 bytes long.
    NotPref64,
    /// The code stands for no prefix length.
    Code(u8),
    /// What it has is no translation prefix (RFC 6052 §2.2).
    Prefix,
}

/// The message is no valid router advertisement (RFC 4861 §6.1.2): nothing in it counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Invalid;

/// Reads an option, from its type on.
///
/// # Errors
/// Why it is to be ignored.
pub fn parse(option: &[u8]) -> Result<Pref64, Refused> {
    let Some((&[PREF64, UNITS, high, low], prefix)) = option.split_first_chunk() else {
        return Err(Refused::NotPref64);
    };
    let prefix: [u8; 12] = prefix.try_into().map_err(|_| Refused::NotPref64)?;
    let word = u16::from_be_bytes([high, low]);
    let code = (word & CODE) as u8;
    let length = LENGTHS.get(usize::from(code)).ok_or(Refused::Code(code))?;
    let mut address = [0; 16];
    for (to, from) in address.iter_mut().zip(prefix) {
        *to = from;
    }
    let prefix = Prefix::around(Ipv6Addr::from(address), *length).map_err(|_| Refused::Prefix)?;
    if !is_usable(prefix) {
        return Err(Refused::Prefix);
    }
    Ok(Pref64 { prefix, lifetime: Duration::from_secs((word & !CODE).into()) })
}

/// What a router advertisement offers, in order; `message` begins with the ICMPv6 header. That it was sent
/// with a hop limit of 255 from a link-local address, and has a valid checksum, is for others to see.
///
/// # Errors
/// The advertisement is invalid.
pub fn of_advertisement(message: &[u8]) -> Result<Vec<Pref64>, Invalid> {
    let Some(([ROUTER_ADVERTISEMENT, 0, ..], mut rest)) = message.split_first_chunk::<FIXED>() else {
        return Err(Invalid);
    };
    let mut offers = Vec::new();
    while let [_, units, ..] = rest {
        let length = usize::from(*units) * 8;
        if length == 0 {
            return Err(Invalid);
        }
        let (option, behind) = rest.split_at_checked(length).ok_or(Invalid)?;
        offers.extend(parse(option));
        rest = behind;
    }
    if rest.is_empty() { Ok(offers) } else { Err(Invalid) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::discover::hex;

    fn offer(text: &str, seconds: u64) -> Pref64 {
        Pref64 { prefix: Prefix::new(text.parse().unwrap()).unwrap(), lifetime: Duration::from_secs(seconds) }
    }

    /// The options were made by scapy.
    #[test]
    fn options() {
        let check = |text: &str, expected: Result<(&str, u64), Refused>| {
            let expected = expected.map(|(prefix, seconds)| offer(prefix, seconds));
            assert_eq!(parse(&hex::bytes(text)), expected, "{text}");
        };
        // A lifetime of 225 units and more, and each of the codes.
        check("26 02 0708 0064ff9b 00000000 00000000", Ok(("64:ff9b::/96", 1800)));
        check("26 02 0711 20010db8 01220344 00000000", Ok(("2001:db8:122:344::/64", 1808)));
        check("26 02 071a 20010db8 01220300 00000000", Ok(("2001:db8:122:300::/56", 1816)));
        check("26 02 0723 20010db8 01220000 00000000", Ok(("2001:db8:122::/48", 1824)));
        check("26 02 072c 20010db8 01000000 00000000", Ok(("2001:db8:100::/40", 1832)));
        check("26 02 0735 20010db8 00000000 00000000", Ok(("2001:db8::/32", 1840)));
        check("26 02 fff8 0064ff9b 00000000 00000000", Ok(("64:ff9b::/96", 65_528)));
        check("26 02 0000 0064ff9b 00000000 00000000", Ok(("64:ff9b::/96", 0)));
        check("26 02 0008 0064ff9b 00000000 00000000", Ok(("64:ff9b::/96", 8)));
        check("26 02 000e 20010db8 00000000 00000000", Err(Refused::Code(6)));
        check("26 02 000f 20010db8 00000000 00000000", Err(Refused::Code(7)));
        // Bits behind the prefix do not count.
        check("26 02 0709 20010db8 01220344 ffffffff", Ok(("2001:db8:122:344::/64", 1800)));
        check("26 02 070d 20010db8 01220344 ffffffff", Ok(("2001:db8::/32", 1800)));
        // Bits 64 to 71 of a /96, and prefixes of other kinds of address.
        check("26 02 0708 20010db8 00000000 01000000", Err(Refused::Prefix));
        check("26 02 0708 20010db8 00000000 00010000", Ok(("2001:db8:0:0:1::/96", 1800)));
        check("26 02 0708 00000000 00000000 00000000", Err(Refused::Prefix));
        check("26 02 0708 00000000 00000000 0000ffff", Err(Refused::Prefix));
        check("26 02 0708 fe800000 00000000 00000000", Err(Refused::Prefix));
        check("26 02 0708 ff0e0000 00000000 00000000", Err(Refused::Prefix));
        check("26 01 0708 0064ff9b 00000000 00000000", Err(Refused::NotPref64));
        check("26 03 0708 0064ff9b 00000000 00000000", Err(Refused::NotPref64));
        check("26 02 0708 0064ff9b 00000000 000000", Err(Refused::NotPref64));
        check("26 02 0708 0064ff9b 00000000 00000000 00", Err(Refused::NotPref64));
        check("19 02 0708 0064ff9b 00000000 00000000", Err(Refused::NotPref64));
        check("26 02", Err(Refused::NotPref64));
        check("", Err(Refused::NotPref64));
    }

    /// The advertisement without its options.
    const HEAD: &str = "86 00 2d20 00 08 0708 00000000 00000000";
    const SOURCE: &str = "01 01 020000000001";
    const WELL_KNOWN: &str = "26 02 0708 0064ff9b 00000000 00000000";

    #[test]
    fn advertisements() {
        let check = |parts: &[&str], expected: Result<&[(&str, u64)], Invalid>| {
            let offers: Result<Vec<_>, _> =
                expected.map(|offers| offers.iter().map(|(prefix, time)| offer(prefix, *time)).collect());
            assert_eq!(of_advertisement(&hex::bytes(&parts.join("\n"))), offers, "{parts:?}");
        };
        // Made by scapy.
        check(
            &[
                HEAD,
                SOURCE,
                "05 01 0000 000005dc                            # MTU",
                "03 04 40 c0 ffffffff ffffffff 00000000         # prefix information",
                "      20010db8 00010000 00000000 00000000",
                "26 02 0708 0064ff9b 00000000 00000000          # PREF64",
                "19 03 0000 ffffffff 20010db8 00000000 00000000 00000053",
                "26 02 0001 20010db8 00640000 00000000          # and one that is taken back",
            ],
            Ok(&[("64:ff9b::/96", 1800), ("2001:db8:64::/64", 0)]),
        );
        check(&[HEAD, SOURCE], Ok(&[]));
        check(&[HEAD], Ok(&[]));
        check(&[HEAD, WELL_KNOWN, WELL_KNOWN], Ok(&[("64:ff9b::/96", 1800), ("64:ff9b::/96", 1800)]));
        // One that is to be ignored hides none behind it.
        check(&[HEAD, "26 02 000e 20010db8 00000000 00000000", WELL_KNOWN], Ok(&[("64:ff9b::/96", 1800)]));
        check(&[HEAD, "26 01 0708 0064ff9b", WELL_KNOWN], Ok(&[("64:ff9b::/96", 1800)]));
        check(
            &[HEAD, "26 03 0708 0064ff9b 00000000 00000000 0000000000000000", WELL_KNOWN],
            Ok(&[("64:ff9b::/96", 1800)]),
        );
        check(&[HEAD, "ff 01 000000000000", WELL_KNOWN], Ok(&[("64:ff9b::/96", 1800)]));
        // What is not well-formed is discarded with all there is in it.
        check(&[HEAD, WELL_KNOWN, "01 00 000000000000"], Err(Invalid));
        check(&[HEAD, WELL_KNOWN, "01 02 000000000000"], Err(Invalid));
        check(&[HEAD, WELL_KNOWN, "01"], Err(Invalid));
        check(&[HEAD, WELL_KNOWN, "00"], Err(Invalid));
        check(&["86 01 2d20 00 08 0708 00000000 00000000", WELL_KNOWN], Err(Invalid));
        check(&["88 00 2d20 00 08 0708 00000000 00000000", WELL_KNOWN], Err(Invalid));
        check(&["86 00 2d20 00 08 0708 00000000 000000"], Err(Invalid));
        check(&[""], Err(Invalid));
    }

    proptest! {
        /// Field by field, as the figure of RFC 8781 §4 has them.
        #[test]
        fn as_the_figure(units in 0_u16..8192, code in 0_u8..8, bytes: [u8; 12]) {
            let mut option = vec![38, 2, (units >> 5) as u8, (units << 3) as u8 | code];
            option.extend(bytes);
            let expected = match code {
                0 => Some(96),
                1 => Some(64),
                2 => Some(56),
                3 => Some(48),
                4 => Some(40),
                5 => Some(32),
                _ => None,
            };
            match (parse(&option), expected) {
                (Ok(told), Some(length)) => {
                    prop_assert_eq!(told.lifetime.as_secs(), u64::from(units) * 8);
                    prop_assert_eq!(told.prefix.net().prefix_len(), length);
                    let kept = usize::from(length / 8);
                    prop_assert_eq!(&told.prefix.net().addr().octets()[..kept], &bytes[..kept]);
                }
                (Err(Refused::Prefix), Some(96)) => prop_assert!(bytes[8] != 0 || bytes[0] >= 0xfe || bytes[0] == 0),
                (Err(Refused::Prefix), Some(_)) => prop_assert!(bytes[0] >= 0xfe || bytes[..4] == [0; 4]),
                (found, expected) => prop_assert_eq!(found, Err(Refused::Code(code)), "{:?}", expected),
            }
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = parse(&bytes);
            let options = [&hex::bytes(HEAD)[..], &bytes].concat();
            if let Ok(offers) = of_advertisement(&options) {
                prop_assert!(offers.len() <= bytes.len() / 16);
            }
        }

        /// Options of any kind and length before it, well-formed: it is found.
        #[test]
        fn behind_others(others in proptest::collection::vec((any::<u8>(), 1_u8..5, any::<u8>()), 0..8)) {
            let mut message = hex::bytes(HEAD);
            for (kind, units, fill) in others {
                let kind = if kind == PREF64 { 0 } else { kind };
                message.extend([kind, units]);
                message.extend(vec![fill; usize::from(units) * 8 - 2]);
            }
            message.extend(hex::bytes(WELL_KNOWN));
            prop_assert_eq!(of_advertisement(&message), Ok(vec![offer("64:ff9b::/96", 1800)]));
        }
    }
}
