//! ICMP for IPv4: RFC 792.

use core::net::Ipv4Addr;

use crate::checksum::Sum;
use crate::ip::{HOP_LIMIT, ICMPV4};
use crate::{Malformed, ipv4};

/// Length of the header, in bytes.
pub const HEADER: usize = 8;

/// Where the fields are, in bytes from the start of the header.
pub mod at {
    /// Type and code, two bytes.
    pub const KIND: usize = 0;
    /// Checksum.
    pub const CHECKSUM: usize = 2;
}

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Code of [`UNREACHABLE`]: network unreachable.
pub const NETWORK: u8 = 0;
/// Code of [`UNREACHABLE`]: host unreachable.
pub const HOST: u8 = 1;
/// Code of [`UNREACHABLE`]: protocol unreachable.
pub const PROTOCOL: u8 = 2;
/// Code of [`UNREACHABLE`]: port unreachable.
pub const PORT: u8 = 3;
/// Code of [`UNREACHABLE`]: fragmentation needed and DF set (RFC 1191).
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// Code of [`UNREACHABLE`]: source route failed.
pub const SOURCE_ROUTE_FAILED: u8 = 5;
/// Code of [`UNREACHABLE`]: communication with the host administratively prohibited (RFC 1812 §5.2.7.1).
pub const HOST_PROHIBITED: u8 = 10;
/// Code of [`UNREACHABLE`]: communication administratively prohibited (RFC 1812 §5.2.7.1).
pub const PROHIBITED: u8 = 13;
/// Source quench (deprecated by RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// The fields of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum as received; [`Header::emit`] writes its own.
    pub checksum: u16,
    /// The four bytes whose meaning depends on the type.
    pub rest: u32,
}

/// A message whose header is there.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The fields.
    pub header: Header,
    /// Everything behind the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message out of an IPv4 packet's payload.
    ///
    /// # Errors
    /// The header is cut short.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (b, payload) = bytes.split_first_chunk::<HEADER>().ok_or(Malformed::Truncated)?;
        let header = Header {
            kind: b[0],
            code: b[1],
            checksum: u16::from_be_bytes([b[2], b[3]]),
            rest: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
        };
        Ok(Self { header, payload })
    }
}

impl Header {
    /// The header's bytes, with the checksum over it and `payload`.
    #[must_use]
    pub fn emit(&self, payload: &[u8]) -> [u8; HEADER] {
        let sum = Sum::of(payload).word(u16::from_be_bytes([self.kind, self.code])).long(self.rest);
        let [c0, c1] = sum.checksum().to_be_bytes();
        let [r0, r1, r2, r3] = self.rest.to_be_bytes();
        [self.kind, self.code, c0, c1, r0, r1, r2, r3]
    }
}

/// Length of the longest error with its IP header, in bytes (RFC 1812 §4.3.2.3).
pub const MAX_ERROR: usize = 576;

/// The IP header of an error of our own, for this many bytes of message (RFC 1812 §4.3.2.5).
#[must_use]
pub fn error_ip(source: Ipv4Addr, destination: Ipv4Addr, message: usize) -> ipv4::Header {
    ipv4::Header {
        tos: INTERNETWORK_CONTROL,
        total_len: (ipv4::HEADER + message) as u16,
        id: 0,
        dont_fragment: true,
        more_fragments: false,
        offset: 0,
        ttl: HOP_LIMIT,
        protocol: ICMPV4,
        checksum: 0,
        source,
        destination,
    }
}

/// Precedence of routing and its errors.
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// Whether a type is an error, about which no error may be sent (RFC 1122 §3.2.2).
#[must_use]
pub fn is_error(kind: u8) -> bool {
    matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    fn check(text: &str) {
        let bytes = hex::bytes(text);
        assert!(Sum::of(&bytes).is_valid(), "{text}");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.header.emit(message.payload), bytes[..HEADER]);
    }

    #[test]
    fn emits_what_it_parses() {
        check("08 00 e5ca 1234 0001");
        check("03 04 8c69 0000 05dc 45 00 25 b6");
        check("03 04 8c69 0000 05dc 45 00 25 b6 00");
        assert!(Message::parse(&[0; 7]).is_err());
    }

    #[test]
    fn errors() {
        let errors: std::vec::Vec<u8> = (0..=255).filter(|kind| is_error(*kind)).collect();
        assert_eq!(errors, [3, 4, 5, 11, 12]);
    }
}
