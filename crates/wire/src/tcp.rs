//! TCP: RFC 9293.

use crate::{Malformed, field};

/// Length of the header without options, in bytes.
pub const HEADER: usize = 20;
/// Length of the longest options, in bytes.
pub const MAX_OPTIONS: usize = 40;

/// The sender has no more data.
pub const FIN: u16 = 0x001;
/// Data is to be handed to the application.
pub const PSH: u16 = 0x008;
/// The acknowledgment number counts.
pub const ACK: u16 = 0x010;
/// Congestion window reduced (RFC 3168).
pub const CWR: u16 = 0x080;

/// Where the fields are, in bytes from the start of the header.
pub mod at {
    /// Sequence number.
    pub const SEQUENCE: usize = 4;
    /// Data offset and flags, two bytes.
    pub const FLAGS: usize = 12;
    /// Checksum.
    pub const CHECKSUM: usize = 16;
}

/// The fields of a header; its options are beside it, in [`Segment`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number of the first payload byte.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// 12 bits: reserved ones, AE, CWR, ECE, URG, ACK, PSH, RST, SYN, FIN.
    pub flags: u16,
    /// Window, not scaled.
    pub window: u16,
    /// Checksum, as received or to be sent.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
}

/// A segment whose header and options are there.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The fields.
    pub header: Header,
    /// Options with their padding: a multiple of 4 bytes, at most 40.
    pub options: &'a [u8],
    /// Everything behind the header.
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads a segment out of an IP packet's payload.
    ///
    /// # Errors
    /// The header is cut short, or its data offset is below 5.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fixed = bytes.first_chunk().ok_or(Malformed::Truncated)?;
        let header_len = usize::from(fixed[at::FLAGS] >> 4) * 4;
        if header_len < HEADER {
            return Err(Malformed::HeaderLength);
        }
        let (head, payload) = bytes.split_at_checked(header_len).ok_or(Malformed::Truncated)?;
        Ok(Self { header: Header::read(fixed), options: head.get(HEADER..).unwrap_or_default(), payload })
    }

    /// Length of header and options, in bytes.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        HEADER + self.options.len()
    }
}

impl Header {
    /// Writes header and options (padded with zero to a multiple of 4 bytes), the checksum as it
    /// stands. Returns the length written, or `None` where `out` is too short or the options are
    /// too long.
    #[inline]
    pub fn emit(&self, options: &[u8], out: &mut [u8]) -> Option<usize> {
        let header_len = HEADER + options.len().next_multiple_of(4);
        if options.len() > MAX_OPTIONS {
            return None;
        }
        let (fixed, rest) = out.get_mut(..header_len)?.split_first_chunk_mut::<HEADER>()?;
        *fixed = self.bytes(header_len);
        rest.fill(0);
        rest.get_mut(..options.len())?.copy_from_slice(options);
        Some(header_len)
    }

    fn read(b: &[u8; HEADER]) -> Self {
        Self {
            source_port: u16::from_be_bytes([b[0], b[1]]),
            destination_port: u16::from_be_bytes([b[2], b[3]]),
            sequence: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
            acknowledgment: u32::from_be_bytes([b[8], b[9], b[10], b[11]]),
            flags: u16::from_be_bytes([b[12], b[13]]) & FLAGS,
            window: u16::from_be_bytes([b[14], b[15]]),
            checksum: u16::from_be_bytes([b[16], b[17]]),
            urgent: u16::from_be_bytes([b[18], b[19]]),
        }
    }

    fn bytes(&self, header_len: usize) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        field::set16(&mut bytes, 0, self.source_port);
        field::set16(&mut bytes, 2, self.destination_port);
        field::set32(&mut bytes, at::SEQUENCE, self.sequence);
        field::set32(&mut bytes, 8, self.acknowledgment);
        field::set16(&mut bytes, at::FLAGS, offset_and_flags(header_len, self.flags));
        field::set16(&mut bytes, 14, self.window);
        field::set16(&mut bytes, at::CHECKSUM, self.checksum);
        field::set16(&mut bytes, 18, self.urgent);
        bytes
    }
}

/// The two bytes at [`at::FLAGS`]; `header_len` in bytes.
#[inline]
#[must_use]
pub fn offset_and_flags(header_len: usize, flags: u16) -> u16 {
    ((header_len / 4) as u16) << 12 | flags & FLAGS
}

const FLAGS: u16 = 0x0fff;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    const PLAIN: &str = "
        01bb c001  00000001 00000002  50 10 0200  abcd 0000  # ACK
        aa bb";
    const OPTIONS: &str = "
        01bb c001  ffffffff 00000002  81 d8 0200  abcd 0007  # AE CWR ECE ACK PSH
        0101 080a 00000001 00000002                          # timestamps
        aa";

    fn check(text: &str, expected: Result<(u16, usize, usize), Malformed>) {
        let bytes = hex::bytes(text);
        let outcome =
            Segment::parse(&bytes).map(|tcp| (tcp.header.flags, tcp.options.len(), tcp.payload.len()));
        assert_eq!(outcome, expected, "{text}");
    }

    #[test]
    fn segments() {
        check(PLAIN, Ok((ACK, 0, 2)));
        check(OPTIONS, Ok((0x1d8, 12, 1)));
        check("", Err(Malformed::Truncated));
        check("01bb c001 00000001 00000002 50 10 0200 abcd 00", Err(Malformed::Truncated));
        check(&PLAIN.replace("50 10", "40 10"), Err(Malformed::HeaderLength));
        check(&PLAIN.replace("50 10", "00 10"), Err(Malformed::HeaderLength));
        check(&PLAIN.replace("50 10", "60 10"), Err(Malformed::Truncated));
    }

    fn check_emit(text: &str) {
        let bytes = hex::bytes(text);
        let segment = Segment::parse(&bytes).unwrap();
        let mut out = [0; 60];
        let length = segment.header.emit(segment.options, &mut out).unwrap();
        assert_eq!(length, segment.header_len());
        assert_eq!(out[..length], bytes[..length]);
        assert_eq!(segment.header.emit(segment.options, &mut out[1..length]), None);
        assert_eq!(segment.header.emit(&[1; 41], &mut [0; 80]), None);
    }

    #[test]
    fn emits_what_it_parses() {
        check_emit(PLAIN);
        check_emit(OPTIONS);
    }
}
