//! IPv6 extension headers: RFC 8200 §4, RFC 4302 (AH), RFC 7045.

use crate::{Malformed, ipv6};

/// What is behind the extension headers of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Upper<'a> {
    /// The protocol of `payload`.
    pub protocol: u8,
    /// The upper layer's bytes; in a later fragment, bytes from the middle of it.
    pub payload: &'a [u8],
    /// Length of the extension headers, in bytes.
    pub ext_len: usize,
    /// The fragment header, where there is one.
    pub fragment: Option<Fragment>,
}

/// The fragment header: RFC 8200 §4.5.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fragment {
    /// In units of 8 bytes.
    pub offset: u16,
    /// M flag.
    pub more: bool,
    /// Identification.
    pub id: u32,
}

/// Walks the chain of extension headers; it ends at the first fragment header with an offset.
///
/// # Errors
/// The bytes end within an extension header.
pub fn upper<'a>(packet: &ipv6::Packet<'a>) -> Result<Upper<'a>, Malformed> {
    let mut upper =
        Upper { protocol: packet.header.next_header, payload: packet.payload, ext_len: 0, fragment: None };
    while !upper.is_later_fragment() {
        let Some(unit) = unit(upper.protocol) else {
            break;
        };
        let head = upper.payload.first_chunk().ok_or(Malformed::Truncated)?;
        if upper.protocol == FRAGMENT {
            upper.fragment = Some(Fragment::read(head));
        }
        let length = unit.length(head[1]);
        upper.protocol = head[0];
        upper.payload = upper.payload.get(length..).ok_or(Malformed::Truncated)?;
        upper.ext_len += length;
    }
    Ok(upper)
}

/// What a translator finds behind the headers that it skips.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Skipped<'a> {
    /// The protocol of `payload`: whatever follows the skipped headers, or the fragment header.
    pub protocol: u8,
    /// Where `protocol` was read, in bytes from the start of the IPv6 header.
    pub protocol_at: usize,
    /// Everything behind the skipped headers.
    pub payload: &'a [u8],
    /// The fragment header, where there is one: it is the last that is skipped.
    pub fragment: Option<Fragment>,
    /// Where a routing header counts segments left, in bytes from the start of the IPv6 header.
    pub segments_left_at: Option<usize>,
}

/// Skips hop-by-hop options, routing headers and destination options up to and including a fragment
/// header: those without a meaning in IPv4 (RFC 7915 §5.1).
///
/// # Errors
/// The bytes end within a header that is skipped.
#[inline]
pub fn skip<'a>(packet: &ipv6::Packet<'a>) -> Result<Skipped<'a>, Malformed> {
    let mut skipped = Skipped {
        protocol: packet.header.next_header,
        protocol_at: ipv6::at::NEXT_HEADER,
        payload: packet.payload,
        fragment: None,
        segments_left_at: None,
    };
    let mut at = ipv6::HEADER;
    while skipped.fragment.is_none()
        && matches!(skipped.protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION)
    {
        let head: &[u8; 8] = skipped.payload.first_chunk().ok_or(Malformed::Truncated)?;
        let unit = unit(skipped.protocol).ok_or(Malformed::HeaderLength)?;
        match skipped.protocol {
            FRAGMENT => skipped.fragment = Some(Fragment::read(head)),
            ROUTING if head[SEGMENTS_LEFT] != 0 => {
                skipped.segments_left_at = skipped.segments_left_at.or(Some(at + SEGMENTS_LEFT));
            }
            _ => {}
        }
        let length = unit.length(head[1]);
        skipped.payload = skipped.payload.get(length..).ok_or(Malformed::Truncated)?;
        (skipped.protocol, skipped.protocol_at) = (head[0], at);
        at += length;
    }
    Ok(skipped)
}

/// Whether a protocol number is that of an extension header that may follow another (the IANA registry
/// of IPv6 Extension Header Types), ESP aside: what is behind ESP can't be read.
#[must_use]
pub fn is_extension(protocol: u8) -> bool {
    unit(protocol).is_some()
}

impl Upper<'_> {
    /// Whether `payload` begins in the middle of the upper layer.
    #[must_use]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }
}

impl Fragment {
    /// Length of the header, in bytes.
    pub const HEADER: usize = 8;

    /// The header's bytes.
    #[inline]
    #[must_use]
    pub fn emit(&self, next_header: u8) -> [u8; Self::HEADER] {
        let [o0, o1] = (self.offset << 3 | u16::from(self.more)).to_be_bytes();
        let [i0, i1, i2, i3] = self.id.to_be_bytes();
        [next_header, 0, o0, o1, i0, i1, i2, i3]
    }

    fn read(b: &[u8; 8]) -> Self {
        let offset = u16::from_be_bytes([b[2], b[3]]);
        Self { offset: offset >> 3, more: offset & 1 != 0, id: u32::from_be_bytes([b[4], b[5], b[6], b[7]]) }
    }
}

/// How an extension header counts its length.
enum Unit {
    Eight,
    Four,
    Fixed,
}

impl Unit {
    /// In bytes, from the second byte of the header.
    fn length(&self, count: u8) -> usize {
        match self {
            Self::Eight => (usize::from(count) + 1) * 8,
            Self::Four => (usize::from(count) + 2) * 4,
            Self::Fixed => 8,
        }
    }
}

fn unit(protocol: u8) -> Option<Unit> {
    match protocol {
        HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY | HIP | SHIM6 => Some(Unit::Eight),
        AUTHENTICATION => Some(Unit::Four),
        FRAGMENT => Some(Unit::Fixed),
        _ => None,
    }
}

/// IANA protocol number of hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// IANA protocol number of the routing header.
pub const ROUTING: u8 = 43;
/// IANA protocol number of the fragment header.
pub const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
/// IANA protocol number of destination options.
pub const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;
/// Within a routing header (RFC 8200 §4.4), in bytes.
const SEGMENTS_LEFT: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;
    use std::format;

    /// Protocol, length of the chain, fragment offset, bytes left.
    type Outcome = Result<(u8, usize, Option<u16>, usize), Malformed>;

    fn check(next_header: u8, chain: &str, expected: Outcome) {
        let chain = hex::bytes(chain);
        let head = format!("60000000 {:04x} {next_header:02x} 40", chain.len());
        let mut bytes = hex::bytes(&head);
        bytes.resize(ipv6::HEADER, 1);
        bytes.extend(chain);
        let outcome = upper(&ipv6::Packet::parse_cut(&bytes).unwrap()).map(|upper| {
            let offset = upper.fragment.map(|fragment| fragment.offset);
            (upper.protocol, upper.ext_len, offset, upper.payload.len())
        });
        assert_eq!(outcome, expected);
    }

    #[test]
    fn chains() {
        check(6, "", Ok((6, 0, None, 0)));
        check(59, "aabb", Ok((59, 0, None, 2)));
        check(50, "aabb", Ok((50, 0, None, 2)));
        check(0, "3a00 000000000000 80", Ok((58, 8, None, 1)));
        check(60, "2b00 000000000000 1101 0000000000000000000000000000 aa", Ok((17, 24, None, 1)));
        check(51, "0604 00000000000000000000 000000000000000000000000 aa", Ok((6, 24, None, 1)));
        check(44, "1100 0001 00000007 aabb", Ok((17, 8, Some(0), 2)));
        check(44, "1100 0008 00000007 aabb", Ok((17, 8, Some(1), 2)));
        check(44, "2c00 0008 00000007 aabb", Ok((44, 8, Some(1), 2)));
        check(44, "3c00 0000 00000007 1100 000000000000", Ok((17, 16, Some(0), 0)));
    }

    #[test]
    fn cut_chains() {
        check(0, "", Err(Malformed::Truncated));
        check(0, "3a00 0000000000", Err(Malformed::Truncated));
        check(0, "3a01 000000000000", Err(Malformed::Truncated));
        check(44, "1100 0000", Err(Malformed::Truncated));
    }

    /// Protocol and where it was read, segments left, bytes left.
    type Skip = Result<(u8, usize, Option<usize>, usize), Malformed>;

    fn check_skip(next_header: u8, chain: &str, expected: Skip) {
        let chain = hex::bytes(chain);
        let mut bytes = hex::bytes(&format!("60000000 {:04x} {next_header:02x} 40", chain.len()));
        bytes.resize(ipv6::HEADER, 1);
        bytes.extend(chain);
        let outcome = skip(&ipv6::Packet::parse_cut(&bytes).unwrap())
            .map(|s| (s.protocol, s.protocol_at, s.segments_left_at, s.payload.len()));
        assert_eq!(outcome, expected);
    }

    #[test]
    fn what_a_translator_skips() {
        check_skip(6, "aa", Ok((6, 6, None, 1)));
        check_skip(0, "3a00 000000000000 80", Ok((58, 40, None, 1)));
        check_skip(60, "2b00 000000000000 1100 0000 00000000 aa", Ok((17, 48, None, 1)));
        check_skip(60, "2b00 000000000000 1100 0001 00000000 aa", Ok((17, 48, Some(51), 1)));
        check_skip(43, "2b00 0002 00000000 1100 0001 00000000 aa", Ok((17, 48, Some(43), 1)));
        check_skip(51, "0604 0000 00000000", Ok((51, 6, None, 8)));
        check_skip(135, "0600 0000 00000000", Ok((135, 6, None, 8)));
        check_skip(44, "0000 0001 00000001 3a00 000000000000", Ok((0, 40, None, 8)));
        check_skip(0, "3a01 000000000000", Err(Malformed::Truncated));
        check_skip(44, "1100 0000", Err(Malformed::Truncated));
    }

    #[test]
    fn a_fragment_header_is_written_as_it_is_read() {
        for text in ["2c00 0001 12345678", "1100 fff8 00000001", "0600 0000 ffffffff"] {
            let bytes = hex::bytes(text);
            let fragment = Fragment::read(bytes.first_chunk().unwrap());
            assert_eq!(fragment.emit(bytes[0]), *bytes);
        }
    }
}
