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

impl Upper<'_> {
    /// Whether `payload` begins in the middle of the upper layer.
    #[must_use]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }
}

impl Fragment {
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

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

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
}
