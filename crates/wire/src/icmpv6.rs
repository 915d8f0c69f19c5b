//! ICMP for IPv6: RFC 4443. The header has the form of [`crate::icmpv4`]'s; its checksum covers a
//! pseudo-header too.

use core::net::Ipv6Addr;

use crate::ip::{HOP_LIMIT, ICMPV6};
use crate::{checksum, ipv6};

pub use crate::icmpv4::{HEADER, Header, Message, at};

/// Destination unreachable.
pub const UNREACHABLE: u8 = 1;
/// Code of [`UNREACHABLE`]: no route to the destination.
pub const NO_ROUTE: u8 = 0;
/// Code of [`UNREACHABLE`]: communication administratively prohibited.
pub const PROHIBITED: u8 = 1;
/// Code of [`UNREACHABLE`]: address unreachable.
pub const ADDRESS: u8 = 3;
/// Code of [`UNREACHABLE`]: port unreachable.
pub const PORT: u8 = 4;
/// Packet too big.
pub const TOO_BIG: u8 = 2;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Code of [`PARAMETER_PROBLEM`]: unrecognised next header.
pub const NEXT_HEADER: u8 = 1;
/// Echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Redirect (RFC 4861 §4.5).
pub const REDIRECT: u8 = 137;

/// The header's bytes, with the checksum over pseudo-header, header and `payload`.
#[must_use]
pub fn emit(header: &Header, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> [u8; HEADER] {
    let length = (HEADER + payload.len()) as u32;
    let mut bytes = header.emit(payload);
    let sum = checksum::pseudo6(source, destination, ICMPV6, length);
    let without = u16::from_be_bytes([bytes[2], bytes[3]]);
    let [c0, c1] = checksum::update(without, 0, sum.value()).to_be_bytes();
    bytes[2] = c0;
    bytes[3] = c1;
    bytes
}

/// Length of the longest error with its IP header, in bytes (RFC 4443 §2.4 (c)).
pub const MAX_ERROR: usize = 1280;

/// The IP header of an error of our own, for this many bytes of message.
#[must_use]
pub fn error_ip(source: Ipv6Addr, destination: Ipv6Addr, message: usize) -> ipv6::Header {
    ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: message as u16,
        next_header: ICMPV6,
        hop_limit: HOP_LIMIT,
        source,
        destination,
    }
}

/// Whether no error may be sent about a type: errors and redirects (RFC 4443 §2.4 e.1, e.2).
#[must_use]
pub fn is_error(kind: u8) -> bool {
    kind < 128 || kind == REDIRECT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Sum;

    fn check(kind: u8, rest: u32, payload: &[u8]) {
        let header = Header { kind, code: 0, checksum: 0, rest };
        let (source, destination) = (Ipv6Addr::LOCALHOST, Ipv6Addr::from_bits(7));
        let bytes = emit(&header, source, destination, payload);
        let length = (HEADER + payload.len()) as u32;
        let sum = checksum::pseudo6(source, destination, ICMPV6, length)
            .plus(Sum::of(&bytes))
            .plus(Sum::of(payload));
        assert!(sum.is_valid());
        assert_eq!(Message::parse(&bytes).unwrap().header.rest, rest);
    }

    #[test]
    fn checksums_cover_the_pseudo_header() {
        check(TOO_BIG, 1280, &[]);
        check(TOO_BIG, 0xffff_ffff, &[1, 2, 3]);
        check(UNREACHABLE, 0, &[0xff; 1232]);
    }

    #[test]
    fn errors() {
        assert!([1, 2, 3, 4, 127, 137].into_iter().all(is_error));
        assert!(![128, 129, 133, 134, 135, 136, 255].into_iter().any(is_error));
    }
}
