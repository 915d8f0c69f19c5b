//! ICMP types, codes, pointers and MTUs, both ways: RFC 7915 §4.2, §5.2.

use straddle_wire::{icmpv4, icmpv6, ipv6};

use crate::{Config, Reason};

/// What becomes of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Message {
    /// An echo request or reply of this type.
    Echo(u8),
    /// An error, whose payload is a packet.
    Error {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// What else its second word says, the length attribute of RFC 4884 aside.
        word: Word,
    },
}

/// A meaning of the second word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Word {
    /// None.
    Unused,
    /// To a byte of the packet in error.
    Pointer(u8),
    /// The path's MTU, which depends on more.
    Mtu,
}

const fn error(kind: u8, code: u8, word: Word) -> Result<Message, Reason> {
    Ok(Message::Error { kind, code, word })
}

/// RFC 7915 §4.2. `pointer` is the first byte of the second word.
#[inline]
pub(crate) fn to6(kind: u8, code: u8, pointer: u8) -> Result<Message, Reason> {
    match kind {
        icmpv4::ECHO_REQUEST => Ok(Message::Echo(icmpv6::ECHO_REQUEST)),
        icmpv4::ECHO_REPLY => Ok(Message::Echo(icmpv6::ECHO_REPLY)),
        icmpv4::UNREACHABLE => unreachable_to6(code),
        icmpv4::TIME_EXCEEDED => error(icmpv6::TIME_EXCEEDED, code, Word::Unused),
        icmpv4::PARAMETER_PROBLEM => match code {
            0 | 2 => error(icmpv6::PARAMETER_PROBLEM, 0, Word::Pointer(pointer_to6(pointer)?)),
            _ => Err(Reason::IcmpCode),
        },
        icmpv4::REDIRECT | 9 | 10 => Err(Reason::IcmpSingleHop),
        icmpv4::SOURCE_QUENCH | 13..=18 => Err(Reason::IcmpObsolete),
        _ => Err(Reason::IcmpType),
    }
}

fn unreachable_to6(code: u8) -> Result<Message, Reason> {
    let code = match code {
        0 | 1 | 5..=8 | 11 | 12 => icmpv6::NO_ROUTE,
        9 | 10 | 13 | 15 => icmpv6::PROHIBITED,
        icmpv4::PORT => icmpv6::PORT,
        icmpv4::PROTOCOL => {
            return error(icmpv6::PARAMETER_PROBLEM, icmpv6::NEXT_HEADER, Word::Pointer(NEXT_HEADER_AT));
        }
        icmpv4::FRAGMENTATION_NEEDED => return error(icmpv6::TOO_BIG, 0, Word::Mtu),
        _ => return Err(Reason::IcmpCode),
    };
    error(icmpv6::UNREACHABLE, code, Word::Unused)
}

/// RFC 7915 §4.2, figure 3.
fn pointer_to6(pointer: u8) -> Result<u8, Reason> {
    match pointer {
        0 | 1 => Ok(pointer),
        2 | 3 => Ok(4),
        8 => Ok(7),
        9 => Ok(NEXT_HEADER_AT),
        12..=15 => Ok(8),
        16..=19 => Ok(24),
        _ => Err(Reason::IcmpPointer),
    }
}

/// RFC 7915 §5.2. `pointer` is the second word.
#[inline]
pub(crate) fn to4(kind: u8, code: u8, pointer: u32) -> Result<Message, Reason> {
    match kind {
        icmpv6::ECHO_REQUEST => Ok(Message::Echo(icmpv4::ECHO_REQUEST)),
        icmpv6::ECHO_REPLY => Ok(Message::Echo(icmpv4::ECHO_REPLY)),
        icmpv6::UNREACHABLE => {
            let code = match code {
                icmpv6::NO_ROUTE | 2 | icmpv6::ADDRESS => icmpv4::HOST,
                icmpv6::PROHIBITED => icmpv4::HOST_PROHIBITED,
                icmpv6::PORT => icmpv4::PORT,
                _ => return Err(Reason::IcmpCode),
            };
            error(icmpv4::UNREACHABLE, code, Word::Unused)
        }
        icmpv6::TOO_BIG => error(icmpv4::UNREACHABLE, icmpv4::FRAGMENTATION_NEEDED, Word::Mtu),
        icmpv6::TIME_EXCEEDED => error(icmpv4::TIME_EXCEEDED, code, Word::Unused),
        icmpv6::PARAMETER_PROBLEM => match code {
            0 => error(icmpv4::PARAMETER_PROBLEM, 0, Word::Pointer(pointer_to4(pointer)?)),
            icmpv6::NEXT_HEADER => error(icmpv4::UNREACHABLE, icmpv4::PROTOCOL, Word::Unused),
            _ => Err(Reason::IcmpCode),
        },
        130..=137 | 143 => Err(Reason::IcmpSingleHop),
        _ => Err(Reason::IcmpType),
    }
}

/// RFC 7915 §5.2, figure 6.
fn pointer_to4(pointer: u32) -> Result<u8, Reason> {
    match pointer {
        0 => Ok(0),
        1 => Ok(1),
        4 | 5 => Ok(2),
        6 => Ok(9),
        7 => Ok(8),
        8..=23 => Ok(12),
        24..=39 => Ok(16),
        _ => Err(Reason::IcmpPointer),
    }
}

/// What a Packet Too Big says for a Fragmentation Needed that said `mtu` about a packet of `total_len`
/// bytes (RFC 7915 §4.2); zero is what routers say that don't know RFC 1191. In bytes.
pub(crate) fn mtu6(config: &Config, mtu: u16, total_len: u16) -> u32 {
    let likely = || config.mtu_plateaus.iter().copied().filter(|plateau| *plateau < total_len).max();
    let mtu = if mtu == 0 { likely().unwrap_or(0) } else { mtu };
    let mtu = u32::from(mtu).min(config.mtu4.into()) + GROWTH;
    mtu.min(config.mtu6.into()).max(ipv6::MIN_MTU)
}

/// What a Fragmentation Needed says for a Packet Too Big that said `mtu` (RFC 7915 §5.2), in bytes. No
/// IPv6 link has less than 1280 (RFC 8200 §5), whatever is said. A packet with a fragment header loses 28
/// bytes.
pub(crate) fn mtu4(config: &Config, mtu: u32, has_fragment_header: bool) -> u16 {
    let loss = if has_fragment_header { GROWTH + FRAGMENT_HEADER } else { GROWTH };
    let mtu = mtu.max(ipv6::MIN_MTU).min(u32::from(config.mtu6).max(ipv6::MIN_MTU)) - loss;
    mtu.min(config.mtu4.into()).min(u16::MAX.into()) as u16
}

/// By how much an IPv6 header is longer than an IPv4 header, in bytes.
pub(crate) const GROWTH: u32 = 20;
/// In bytes.
pub(crate) const FRAGMENT_HEADER: u32 = 8;
/// Where the IPv6 header says the next one, in bytes.
const NEXT_HEADER_AT: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn check_pointers6(pointers: core::ops::RangeInclusive<u8>, expected: Option<u8>) {
        for pointer in pointers {
            let outcome = to6(icmpv4::PARAMETER_PROBLEM, 0, pointer);
            let expected = expected.ok_or(Reason::IcmpPointer).map(|pointer| Message::Error {
                kind: icmpv6::PARAMETER_PROBLEM,
                code: 0,
                word: Word::Pointer(pointer),
            });
            assert_eq!(outcome, expected, "{pointer}");
            assert_eq!(to6(icmpv4::PARAMETER_PROBLEM, 2, pointer), expected, "{pointer}");
        }
    }

    #[test]
    fn pointers_to_ipv4_fields() {
        check_pointers6(0..=0, Some(0));
        check_pointers6(1..=1, Some(1));
        check_pointers6(2..=3, Some(4));
        check_pointers6(4..=7, None);
        check_pointers6(8..=8, Some(7));
        check_pointers6(9..=9, Some(6));
        check_pointers6(10..=11, None);
        check_pointers6(12..=15, Some(8));
        check_pointers6(16..=19, Some(24));
        check_pointers6(20..=255, None);
    }

    fn check_pointers4(pointers: core::ops::RangeInclusive<u32>, expected: Option<u8>) {
        for pointer in pointers {
            let outcome = to4(icmpv6::PARAMETER_PROBLEM, 0, pointer);
            let expected = expected.ok_or(Reason::IcmpPointer).map(|pointer| Message::Error {
                kind: icmpv4::PARAMETER_PROBLEM,
                code: 0,
                word: Word::Pointer(pointer),
            });
            assert_eq!(outcome, expected, "{pointer}");
        }
    }

    #[test]
    fn pointers_to_ipv6_fields() {
        check_pointers4(0..=0, Some(0));
        check_pointers4(1..=1, Some(1));
        check_pointers4(2..=3, None);
        check_pointers4(4..=5, Some(2));
        check_pointers4(6..=6, Some(9));
        check_pointers4(7..=7, Some(8));
        check_pointers4(8..=23, Some(12));
        check_pointers4(24..=39, Some(16));
        check_pointers4(40..=300, None);
        check_pointers4(u32::MAX - 255..=u32::MAX, None);
    }

    /// Type, code and pointer of an error, or the type of an echo.
    fn check6(kind: u8, code: u8, expected: Result<(u8, u8), Reason>) {
        let outcome = to6(kind, code, 0).map(|message| match message {
            Message::Echo(kind) => (kind, code),
            Message::Error { kind, code, .. } => (kind, code),
        });
        assert_eq!(outcome, expected, "{kind}/{code}");
    }

    #[test]
    fn icmpv4_types_and_codes() {
        check6(0, 0, Ok((129, 0)));
        check6(8, 0, Ok((128, 0)));
        for code in [0, 1, 5, 6, 7, 8, 11, 12] {
            check6(3, code, Ok((1, 0)));
        }
        for code in [9, 10, 13, 15] {
            check6(3, code, Ok((1, 1)));
        }
        check6(3, 2, Ok((4, 1)));
        check6(3, 3, Ok((1, 4)));
        check6(3, 4, Ok((2, 0)));
        check6(3, 14, Err(Reason::IcmpCode));
        check6(3, 16, Err(Reason::IcmpCode));
        check6(11, 0, Ok((3, 0)));
        check6(11, 1, Ok((3, 1)));
        check6(12, 0, Ok((4, 0)));
        check6(12, 1, Err(Reason::IcmpCode));
        check6(12, 2, Ok((4, 0)));
        check6(12, 3, Err(Reason::IcmpCode));
        for kind in [5, 9, 10] {
            check6(kind, 0, Err(Reason::IcmpSingleHop));
        }
        for kind in [4, 13, 14, 15, 16, 17, 18] {
            check6(kind, 0, Err(Reason::IcmpObsolete));
        }
        for kind in [1, 2, 6, 7, 19, 42, 128, 255] {
            check6(kind, 0, Err(Reason::IcmpType));
        }
    }

    fn check4(kind: u8, code: u8, expected: Result<(u8, u8), Reason>) {
        let outcome = to4(kind, code, 0).map(|message| match message {
            Message::Echo(kind) => (kind, code),
            Message::Error { kind, code, .. } => (kind, code),
        });
        assert_eq!(outcome, expected, "{kind}/{code}");
    }

    #[test]
    fn icmpv6_types_and_codes() {
        check4(128, 0, Ok((8, 0)));
        check4(129, 0, Ok((0, 0)));
        check4(1, 0, Ok((3, 1)));
        check4(1, 1, Ok((3, 10)));
        check4(1, 2, Ok((3, 1)));
        check4(1, 3, Ok((3, 1)));
        check4(1, 4, Ok((3, 3)));
        check4(1, 5, Err(Reason::IcmpCode));
        check4(1, 6, Err(Reason::IcmpCode));
        check4(2, 0, Ok((3, 4)));
        check4(2, 9, Ok((3, 4)));
        check4(3, 0, Ok((11, 0)));
        check4(3, 1, Ok((11, 1)));
        check4(4, 0, Ok((12, 0)));
        check4(4, 1, Ok((3, 2)));
        check4(4, 2, Err(Reason::IcmpCode));
        check4(4, 3, Err(Reason::IcmpCode));
        for kind in [130, 131, 132, 133, 134, 135, 136, 137, 143] {
            check4(kind, 0, Err(Reason::IcmpSingleHop));
        }
        for kind in [0, 5, 100, 127, 138, 255] {
            check4(kind, 0, Err(Reason::IcmpType));
        }
    }

    fn check_mtu6(config: &Config, mtu: u16, total_len: u16, expected: u32) {
        assert_eq!(mtu6(config, mtu, total_len), expected, "{mtu} about {total_len}");
    }

    #[test]
    fn mtus_of_fragmentation_needed() {
        let config = Config { mtu4: 65_535, mtu6: 9000, ..Config::default() };
        check_mtu6(&config, 1400, 1500, 1420);
        check_mtu6(&config, 1259, 1500, 1280);
        check_mtu6(&config, 1260, 1500, 1280);
        check_mtu6(&config, 1261, 1500, 1281);
        check_mtu6(&config, 68, 1500, 1280);
        check_mtu6(&config, 8990, 9000, 9000);
        check_mtu6(&config, 0, 1500, 1512);
        check_mtu6(&config, 0, 1492, 1280);
        check_mtu6(&config, 0, 9000, 8186);
        check_mtu6(&config, 0, 60, 1280);
        check_mtu6(&Config { mtu4: 1400, ..config.clone() }, 1480, 1500, 1420);
        let config = Config { mtu_plateaus: vec![0, 1300, 65_535, 1400], ..config };
        check_mtu6(&config, 0, 1500, 1420);
        check_mtu6(&Config { mtu_plateaus: vec![], ..config }, 0, 1500, 1280);
    }

    fn check_mtu4(config: &Config, mtu: u32, fragment: bool, expected: u16) {
        assert_eq!(mtu4(config, mtu, fragment), expected, "{mtu}");
    }

    #[test]
    fn mtus_of_packet_too_big() {
        let config = Config { mtu4: 65_535, mtu6: 9000, ..Config::default() };
        check_mtu4(&config, 1400, false, 1380);
        check_mtu4(&config, 1400, true, 1372);
        check_mtu4(&config, 1280, false, 1260);
        check_mtu4(&config, 1279, false, 1260);
        check_mtu4(&config, 0, false, 1260);
        check_mtu4(&config, u32::MAX, false, 8980);
        check_mtu4(&Config { mtu4: 1300, ..config.clone() }, 1400, false, 1300);
        check_mtu4(&Config { mtu6: 65_535, ..config }, u32::MAX, false, 65_515);
    }
}
