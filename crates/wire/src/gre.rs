//! GRE: RFC 2784, with key and sequence number of RFC 2890.

use crate::Malformed;
use crate::checksum::Sum;

/// Protocol type of IPv4.
pub const IPV4: u16 = 0x0800;
/// Protocol type of IPv6 (RFC 7676).
pub const IPV6: u16 = 0x86dd;
/// Length of the header with every optional field, in bytes.
pub const MAX_HEADER: usize = 16;

/// The fields of a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// C: the checksum over header and payload.
    pub checksum: Option<u16>,
    /// K.
    pub key: Option<u32>,
    /// S.
    pub sequence: Option<u32>,
    /// Ethertype of the payload.
    pub protocol: u16,
}

/// A packet whose header is there.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The fields.
    pub header: Header,
    /// Everything behind the header.
    pub payload: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet out of an IP packet's payload.
    ///
    /// # Errors
    /// The header is cut short, its version is not 0, or one of the bits is set of which
    /// RFC 2784 §2.3 says that the packet must be discarded (routing among them).
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (head, mut payload) = bytes.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
        let flags = u16::from_be_bytes([head[0], head[1]]);
        if flags & VERSION != 0 {
            return Err(Malformed::Version);
        }
        if flags & MUST_DISCARD != 0 {
            return Err(Malformed::Reserved);
        }
        let checksum = optional(flags & C, &mut payload)?;
        let header = Header {
            checksum: checksum.map(|field| (field >> 16) as u16),
            key: optional(flags & K, &mut payload)?,
            sequence: optional(flags & S, &mut payload)?,
            protocol: u16::from_be_bytes([head[2], head[3]]),
        };
        Ok(Self { header, payload, whole: bytes })
    }

    /// Length of the header, in bytes.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.header.len()
    }

    /// Whether the checksum is right, or there is none.
    #[inline]
    #[must_use]
    pub fn checksum_is_valid(&self) -> bool {
        self.header.checksum.is_none() || Sum::of(self.whole).is_valid()
    }
}

impl Header {
    /// Length of the header, in bytes: 4 to 16.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        let fields = usize::from(self.checksum.is_some())
            + usize::from(self.key.is_some())
            + usize::from(self.sequence.is_some());
        4 + 4 * fields
    }

    /// The header's bytes, the checksum as it stands.
    #[inline]
    #[must_use]
    pub fn emit(&self) -> Bytes {
        let mut bytes = Bytes::default();
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        let flags =
            flag(self.checksum.is_some(), C) | flag(self.key.is_some(), K) | flag(self.sequence.is_some(), S);
        bytes.push(u32::from(flags) << 16 | u32::from(self.protocol));
        let checksum = self.checksum.map(|checksum| u32::from(checksum) << 16);
        for field in [checksum, self.key, self.sequence].into_iter().flatten() {
            bytes.push(field);
        }
        bytes
    }

    /// The header with the checksum over it and `payload`.
    #[must_use]
    pub fn with_checksum(self, payload: &[u8]) -> Self {
        let blank = Self { checksum: Some(0), ..self };
        let sum = Sum::of(blank.emit().as_bytes()).plus(Sum::of(payload));
        Self { checksum: Some(sum.checksum()), ..self }
    }
}

/// The bytes of a header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bytes {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl Bytes {
    /// 0 to 16 bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, long: u32) {
        crate::field::set32(&mut self.bytes, self.len, long);
        self.len += 4;
    }
}

/// Takes four bytes off the front where the flag is set.
#[inline]
fn optional(flag: u16, bytes: &mut &[u8]) -> Result<Option<u32>, Malformed> {
    if flag == 0 {
        return Ok(None);
    }
    let (field, rest) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
    *bytes = rest;
    Ok(Some(u32::from_be_bytes(*field)))
}

const C: u16 = 0x8000;
const K: u16 = 0x2000;
const S: u16 = 0x1000;
/// Bits 1, 4 and 5 of RFC 2784 §2.3; RFC 2890 §2 gave 2 and 3 a meaning.
const MUST_DISCARD: u16 = 0x4c00;
const VERSION: u16 = 0x0007;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    const HEADER: Header = Header { checksum: None, key: None, sequence: None, protocol: IPV4 };

    /// The checksum in the text is the right one.
    fn check(text: &str, expected: Header) {
        let bytes = hex::bytes(text);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.header, expected, "{text}");
        assert!(packet.checksum_is_valid(), "{text}");
        assert_eq!(packet.payload, [0x45, 0xaa, 0xbb]);
        let emitted = match expected.checksum {
            Some(_) => expected.with_checksum(packet.payload).emit(),
            None => expected.emit(),
        };
        assert_eq!(emitted.as_bytes(), &bytes[..packet.header_len()], "{text}");
    }

    #[test]
    fn every_combination_of_flags() {
        let (key, sequence) = (Some(0x0102_0304), Some(7));
        let checksum = Some;
        check("0000 0800 45aabb", HEADER);
        check("0000 86dd 45aabb", Header { protocol: IPV6, ..HEADER });
        check("2000 0800 01020304 45aabb", Header { key, ..HEADER });
        check("1000 0800 00000007 45aabb", Header { sequence, ..HEADER });
        check("3000 0800 01020304 00000007 45aabb", Header { key, sequence, ..HEADER });
        check("8000 0800 7754 0000 45aabb", Header { checksum: checksum(0x7754), ..HEADER });
        check("a000 0800 534e 0000 01020304 45aabb", Header { checksum: checksum(0x534e), key, ..HEADER });
        check(
            "9000 0800 674d 0000 00000007 45aabb",
            Header { checksum: checksum(0x674d), sequence, ..HEADER },
        );
        check(
            "b000 0800 4347 0000 01020304 00000007 45aabb",
            Header { checksum: checksum(0x4347), key, sequence, ..HEADER },
        );
    }

    fn check_malformed(text: &str, expected: Malformed) {
        let outcome = Packet::parse(&hex::bytes(text)).map(|packet| packet.header);
        assert_eq!(outcome, Err(expected), "{text}");
    }

    #[test]
    fn malformed() {
        check_malformed("", Malformed::Truncated);
        check_malformed("0000 08", Malformed::Truncated);
        check_malformed("2000 0800 010203", Malformed::Truncated);
        check_malformed("b000 0800 0000 0000 01020304 000000", Malformed::Truncated);
        check_malformed("0001 0800", Malformed::Version);
        check_malformed("2001 880b 00000000", Malformed::Version);
        check_malformed("4000 0800 00000000", Malformed::Reserved);
        check_malformed("0800 0800", Malformed::Reserved);
        check_malformed("0400 0800", Malformed::Reserved);
    }

    #[test]
    fn bits_to_be_ignored_are_ignored() {
        for bit in 3..10 {
            let [high, low] = (1_u16 << bit).to_be_bytes();
            assert!(Packet::parse(&[high, low, 8, 0]).is_ok(), "{bit}");
        }
    }

    #[test]
    fn a_wrong_checksum_is_seen() {
        let bytes = hex::bytes("8000 0800 7755 0000 45aabb");
        assert!(!Packet::parse(&bytes).unwrap().checksum_is_valid());
    }
}
