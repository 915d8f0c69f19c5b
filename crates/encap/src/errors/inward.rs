//! From an ICMP error about the outer packet to one about the inner packet: RFC 2473 §8.

use straddle_wire::ip::{Packet, Version};
use straddle_wire::{gre, icmpv4, icmpv6};

use super::{Message, Sources, answer};
use crate::{Kind, Reason};

/// An ICMP error about an outer packet, as the socket's error queue tells it
/// (`struct sock_extended_err` in `linux/errqueue.h`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OuterError {
    /// From an IPv6 path: `ip6gre`, `ip4ip6`.
    V6 {
        /// ICMPv6 type.
        kind: u8,
        /// ICMPv6 code.
        code: u8,
        /// The path's MTU in bytes, for Packet Too Big.
        info: u32,
    },
    /// From an IPv4 path: `sit`.
    V4 {
        /// ICMPv4 type.
        kind: u8,
        /// ICMPv4 code.
        code: u8,
        /// The path's MTU in bytes, for Fragmentation Needed.
        info: u32,
    },
}

/// Writes the IP packet that tells the sender of the inner packet about an error on the path;
/// returns its length, at most [`super::MAX_ERROR`].
///
/// `offending` is what the error quotes from behind the outer IP header: all of the GRE header and
/// the inner IP header must be there. Unreachable, hop limit exceeded and parameter problem become
/// host (ICMPv4 3/1) or address (ICMPv6 1/3) unreachable; too big stays that, less the overhead.
///
/// # Errors
/// [`Reason::ErrorUnusable`] where `offending` can't be read, is not of `kind`, or `out` is too
/// short; [`Reason::ErrorAboutError`] or [`Reason::ErrorNotWanted`] where no error may be sent.
pub fn inward(
    kind: Kind,
    error: OuterError,
    offending: &[u8],
    from: Sources,
    out: &mut [u8],
) -> Result<usize, Reason> {
    let bytes = inner(kind, offending).ok_or(Reason::ErrorUnusable)?;
    let packet = Packet::parse_cut(bytes).map_err(|_| Reason::ErrorUnusable)?;
    let message = match (kind, error) {
        (Kind::Ip6gre { .. } | Kind::Ip4ip6, OuterError::V6 { kind: t, code, info }) => {
            from_v6(t, code, info, kind.overhead())
        }
        (Kind::Sit, OuterError::V4 { kind: t, code, info }) => from_v4(t, code, info, kind.overhead()),
        (Kind::Ip6gre { .. } | Kind::Ip4ip6, OuterError::V4 { .. }) | (Kind::Sit, OuterError::V6 { .. }) => {
            return Err(Reason::ErrorUnusable);
        }
    };
    let message = message.ok_or(Reason::ErrorNotWanted)?;
    answer(&packet, bytes, message, from, out)
}

/// Whether the error says that the peer's host is there but has no such tunnel.
///
/// Linux answers protocol unreachable where no module is loaded, and port unreachable where one is
/// but none of its devices matches (`net/ipv6/tunnel6.c`, `ip6_gre.c`; `net/ipv4/tunnel4.c`).
#[must_use]
pub fn is_no_tunnel(error: OuterError) -> bool {
    match error {
        OuterError::V6 { kind, code, .. } => matches!(
            (kind, code),
            (icmpv6::PARAMETER_PROBLEM, icmpv6::NEXT_HEADER) | (icmpv6::UNREACHABLE, icmpv6::PORT)
        ),
        OuterError::V4 { kind, code, .. } => {
            kind == icmpv4::UNREACHABLE && matches!(code, icmpv4::PROTOCOL | icmpv4::PORT)
        }
    }
}

/// The inner packet's bytes, where they are of the version that they should be.
fn inner(kind: Kind, offending: &[u8]) -> Option<&[u8]> {
    let (bytes, expected) = match kind {
        Kind::Ip6gre { key } => {
            let packet = gre::Packet::parse(offending).ok()?;
            let version = match packet.header.protocol {
                gre::IPV4 => Version::V4,
                gre::IPV6 => Version::V6,
                _ => return None,
            };
            (packet.header.key == key).then_some((packet.payload, version))?
        }
        Kind::Ip4ip6 => (offending, Version::V4),
        Kind::Sit => (offending, Version::V6),
    };
    let version = straddle_wire::ip::version(bytes).ok()?;
    (version == expected).then_some(bytes)
}

fn from_v6(kind: u8, code: u8, info: u32, overhead: u16) -> Option<Message> {
    match (kind, code) {
        (icmpv6::TOO_BIG, _) => Some(too_big(info, overhead)),
        (icmpv6::UNREACHABLE | icmpv6::PARAMETER_PROBLEM, _)
        | (icmpv6::TIME_EXCEEDED, HOP_LIMIT_EXCEEDED) => Some(Message::Unreachable),
        _ => None,
    }
}

fn from_v4(kind: u8, code: u8, info: u32, overhead: u16) -> Option<Message> {
    match (kind, code) {
        (icmpv4::UNREACHABLE, icmpv4::FRAGMENTATION_NEEDED) => Some(too_big(info, overhead)),
        (icmpv4::UNREACHABLE | icmpv4::PARAMETER_PROBLEM, _)
        | (icmpv4::TIME_EXCEEDED, HOP_LIMIT_EXCEEDED) => Some(Message::Unreachable),
        _ => None,
    }
}

fn too_big(info: u32, overhead: u16) -> Message {
    Message::TooBig(info.saturating_sub(overhead.into()))
}

/// Code 0 of time exceeded, in both versions; code 1 tells of reassembly.
const HOP_LIMIT_EXCEEDED: u8 = 0;

#[cfg(test)]
mod tests {
    use super::super::tests::{FROM, read};
    use super::*;
    use crate::{hex, sample};
    use std::vec::Vec;

    const GRE: Kind = Kind::Ip6gre { key: Some(7) };

    fn v6(kind: u8, code: u8, info: u32) -> OuterError {
        OuterError::V6 { kind, code, info }
    }

    fn v4(kind: u8, code: u8, info: u32) -> OuterError {
        OuterError::V4 { kind, code, info }
    }

    fn outcome(kind: Kind, error: OuterError, prefix: &str, inner: &[u8]) -> Result<(u8, u8, u32), Reason> {
        let offending: Vec<u8> = [&hex::bytes(prefix), inner].concat();
        let mut out = [0; 1280];
        let length = inward(kind, error, &offending, FROM, &mut out)?;
        let (kind, code, rest, _) = read(&out[..length], inner);
        Ok((kind, code, rest))
    }

    fn check(error: OuterError, four: Result<(u8, u8, u32), Reason>, six: Result<(u8, u8, u32), Reason>) {
        let inner4 = sample::udp(false, &[7; 1480]);
        let inner6 = sample::udp(true, &[7; 1480]);
        match error {
            OuterError::V6 { .. } => {
                assert_eq!(outcome(GRE, error, "2000 0800 00000007", &inner4), four);
                assert_eq!(outcome(GRE, error, "2000 86dd 00000007", &inner6), six);
            }
            OuterError::V4 { .. } => {
                assert_eq!(outcome(Kind::Sit, error, "", &inner6), six);
            }
        }
    }

    /// RFC 2473 §8.
    #[test]
    fn mapping() {
        let (host, address) = (Ok((3, 1, 0)), Ok((1, 3, 0)));
        let silent = Err(Reason::ErrorNotWanted);
        for code in 0..=6 {
            check(v6(1, code, 0), host, address);
        }
        check(v6(2, 0, 1400), Ok((3, 4, 1352)), Ok((2, 0, 1352)));
        check(v6(2, 0, 1280), Ok((3, 4, 1232)), Ok((2, 0, 1280)));
        check(v6(2, 0, 0), Ok((3, 4, 68)), Ok((2, 0, 1280)));
        check(v6(2, 0, u32::MAX), silent, silent);
        check(v6(3, 0, 0), host, address);
        check(v6(3, 1, 0), silent, silent);
        check(v6(4, 0, 40), host, address);
        check(v6(4, 1, 6), host, address);
        check(v6(128, 0, 0), silent, silent);
        check(v6(137, 0, 0), silent, silent);
        for code in [0, 1, 2, 3, 5, 9, 10, 13] {
            check(v4(3, code, 0), host, address);
        }
        check(v4(3, 4, 1400), host, Ok((2, 0, 1380)));
        check(v4(3, 4, 0), host, Ok((2, 0, 1280)));
        check(v4(11, 0, 0), host, address);
        check(v4(11, 1, 0), host, silent);
        check(v4(12, 0, 0), host, address);
        check(v4(4, 0, 0), host, silent);
        check(v4(5, 0, 0), host, silent);
        check(v4(0, 0, 0), host, silent);
    }

    #[test]
    fn no_fragmentation_needed_without_df() {
        let mut inner = sample::udp(false, &[7; 1480]);
        inner[6] = 0;
        let too_big = outcome(Kind::Ip4ip6, v6(2, 0, 1400), "", &inner);
        assert_eq!(too_big, Err(Reason::ErrorNotWanted));
        assert_eq!(outcome(Kind::Ip4ip6, v6(1, 0, 0), "", &inner), Ok((3, 1, 0)));
    }

    #[test]
    fn unreachable_about_multicast_is_silent() {
        let inner = sample::ip6(17.into(), |ip| ip.destination[0] = 0xff, &[0; 1400]);
        let silent = Err(Reason::ErrorNotWanted);
        assert_eq!(outcome(Kind::Sit, v4(3, 1, 0), "", &inner), silent);
        assert_eq!(outcome(Kind::Sit, v4(3, 4, 1300), "", &inner), Ok((2, 0, 1280)));
    }

    #[test]
    fn a_cut_packet_will_do() {
        let inner = sample::udp(false, &[7; 1480]);
        for length in 20..64 {
            let cut = outcome(Kind::Ip4ip6, v6(2, 0, 1400), "", &inner[..length]);
            assert_eq!(cut, Ok((3, 4, 1360)), "{length}");
        }
        let icmp = sample::ip4(1.into(), |_| {}, &[8; 60]);
        let cut = outcome(Kind::Ip4ip6, v6(1, 0, 0), "", &icmp[..20]);
        assert_eq!(cut, Err(Reason::ErrorAboutError));
    }

    fn check_unusable(kind: Kind, error: OuterError, prefix: &str, inner: &[u8]) {
        assert_eq!(outcome(kind, error, prefix, inner), Err(Reason::ErrorUnusable), "{prefix}");
    }

    #[test]
    fn what_is_not_ours() {
        let (four, six) = (sample::udp(false, b"x"), sample::udp(true, b"x"));
        let error = v6(1, 0, 0);
        check_unusable(GRE, error, "2000 0800 00000008", &four);
        check_unusable(GRE, error, "0000 0800", &four);
        check_unusable(GRE, error, "2000 6558 00000007", &four);
        check_unusable(GRE, error, "2000 86dd 00000007", &four);
        check_unusable(GRE, error, "2000 0800 000000", &[]);
        check_unusable(GRE, error, "2000 0800 00000007", &four[..19]);
        check_unusable(GRE, v4(3, 1, 0), "2000 0800 00000007", &four);
        check_unusable(Kind::Ip4ip6, error, "", &six);
        check_unusable(Kind::Ip4ip6, error, "", &[]);
        check_unusable(Kind::Sit, v4(3, 1, 0), "", &six[..39]);
        check_unusable(Kind::Sit, error, "", &six);
    }

    #[test]
    fn no_tunnel_there() {
        assert!(is_no_tunnel(v6(4, 1, 6)) && is_no_tunnel(v6(1, 4, 0)));
        assert!(is_no_tunnel(v4(3, 2, 0)) && is_no_tunnel(v4(3, 3, 0)));
        assert!(!is_no_tunnel(v6(4, 0, 6)) && !is_no_tunnel(v6(1, 0, 0)));
        assert!(!is_no_tunnel(v4(3, 1, 0)) && !is_no_tunnel(v4(11, 2, 0)));
    }
}
