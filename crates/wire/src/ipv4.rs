//! IPv4: RFC 791.

use core::net::Ipv4Addr;

use crate::checksum::{self, Sum};
use crate::{Malformed, field};

/// Length of the header without options, in bytes.
pub const HEADER: usize = 20;
/// The dummy address: whom an error comes from that a node without an IPv4 address sends (RFC 7600 §4.8).
pub const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// Length of the longest options, in bytes.
pub const MAX_OPTIONS: usize = 40;

/// Where the fields are, in bytes from the start of the header.
pub mod at {
    /// Type of service: DSCP and ECN.
    pub const TOS: usize = 1;
    /// Total length.
    pub const TOTAL_LEN: usize = 2;
    /// Identification.
    pub const ID: usize = 4;
    /// Header checksum.
    pub const CHECKSUM: usize = 10;
}

/// The fields of a header; its options are beside it, in [`Packet`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Type of service: DSCP and ECN (RFC 2474, RFC 3168).
    pub tos: u8,
    /// Length of header, options and payload, in bytes.
    pub total_len: u16,
    /// Identification.
    pub id: u16,
    /// DF.
    pub dont_fragment: bool,
    /// MF.
    pub more_fragments: bool,
    /// Fragment offset, in units of 8 bytes.
    pub offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// The protocol of the payload.
    pub protocol: u8,
    /// Header checksum as received; [`Header::emit`] writes its own.
    pub checksum: u16,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

/// A packet whose header, options and payload are there.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The fields.
    pub header: Header,
    /// Options with their padding: a multiple of 4 bytes, at most 40.
    pub options: &'a [u8],
    /// What the total length says belongs to the packet; padding behind it is left out.
    pub payload: &'a [u8],
    head: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a whole packet.
    ///
    /// # Errors
    /// The header is cut short or wrong, or the total length exceeds the bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let packet = Self::parse_cut(bytes)?;
        if packet.header_len() + packet.payload.len() == usize::from(packet.header.total_len) {
            Ok(packet)
        } else {
            Err(Malformed::TotalLength)
        }
    }

    /// Reads a packet whose payload may be cut short, as an ICMP error quotes it.
    ///
    /// # Errors
    /// The header is cut short or wrong.
    #[inline]
    pub fn parse_cut(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fixed = bytes.first_chunk::<HEADER>().ok_or(Malformed::Truncated)?;
        let first = fixed[0];
        if first >> 4 != 4 {
            return Err(Malformed::Version);
        }
        let header_len = usize::from(first & 0xf) * 4;
        if header_len < HEADER {
            return Err(Malformed::HeaderLength);
        }
        let (head, rest) = bytes.split_at_checked(header_len).ok_or(Malformed::Truncated)?;
        let header = Header::read(fixed);
        let payload_len =
            usize::from(header.total_len).checked_sub(header_len).ok_or(Malformed::TotalLength)?;
        Ok(Self {
            header,
            options: head.get(HEADER..).unwrap_or_default(),
            payload: rest.get(..payload_len).unwrap_or(rest),
            head,
        })
    }

    /// Length of header and options, in bytes.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.head.len()
    }

    /// Whether this is a part of a fragmented packet.
    #[inline]
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.header.more_fragments || self.header.offset != 0
    }

    /// Whether the header checksum is right.
    #[inline]
    #[must_use]
    pub fn checksum_is_valid(&self) -> bool {
        Sum::of(self.head).is_valid()
    }
}

impl Header {
    /// Writes header, options (padded with zero to a multiple of 4 bytes) and the header checksum.
    /// Returns the length written, or `None` where `out` is too short or the options are too long.
    #[inline]
    pub fn emit(&self, options: &[u8], out: &mut [u8]) -> Option<usize> {
        let header_len = HEADER + options.len().next_multiple_of(4);
        if options.len() > MAX_OPTIONS {
            return None;
        }
        let head = out.get_mut(..header_len)?;
        let (fixed, rest) = head.split_first_chunk_mut::<HEADER>()?;
        *fixed = self.bytes(header_len);
        rest.fill(0);
        rest.get_mut(..options.len())?.copy_from_slice(options);
        let checksum = Sum::of(head).checksum();
        field::set16(head, at::CHECKSUM, checksum);
        Some(header_len)
    }

    fn read(b: &[u8; HEADER]) -> Self {
        let fragment = u16::from_be_bytes([b[6], b[7]]);
        Self {
            tos: b[1],
            total_len: u16::from_be_bytes([b[2], b[3]]),
            id: u16::from_be_bytes([b[4], b[5]]),
            dont_fragment: fragment & DF != 0,
            more_fragments: fragment & MF != 0,
            offset: fragment & OFFSET,
            ttl: b[8],
            protocol: b[9],
            checksum: u16::from_be_bytes([b[10], b[11]]),
            source: Ipv4Addr::new(b[12], b[13], b[14], b[15]),
            destination: Ipv4Addr::new(b[16], b[17], b[18], b[19]),
        }
    }

    /// The fixed part, with a checksum of zero.
    fn bytes(&self, header_len: usize) -> [u8; HEADER] {
        let [len0, len1] = self.total_len.to_be_bytes();
        let [id0, id1] = self.id.to_be_bytes();
        let mut fragment = self.offset & OFFSET;
        fragment |= if self.dont_fragment { DF } else { 0 };
        fragment |= if self.more_fragments { MF } else { 0 };
        let [frag0, frag1] = fragment.to_be_bytes();
        let [s0, s1, s2, s3] = self.source.octets();
        let [d0, d1, d2, d3] = self.destination.octets();
        let first = 0x40 | (header_len / 4) as u8;
        let (tos, ttl, protocol) = (self.tos, self.ttl, self.protocol);
        [
            first, tos, len0, len1, id0, id1, frag0, frag1, ttl, protocol, 0, 0, //
            s0, s1, s2, s3, d0, d1, d2, d3,
        ]
    }
}

/// Whether options hold a loose or strict source route that is not at its end (RFC 791 §3.1); options
/// that can't be read end the search.
#[must_use]
pub fn source_route_is_unexpired(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        let length = match (*kind, rest) {
            (END, _) | (_, []) => return false,
            (NO_OPERATION, _) => 1,
            (_, [length, ..]) => usize::from(*length).max(2),
        };
        let Some((option, behind)) = options.split_at_checked(length) else {
            return false;
        };
        if let [LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, length, pointer, ..] = option
            && pointer <= length
        {
            return true;
        }
        options = behind;
    }
    false
}

/// Changes the type of service in place, and the header checksum with it (RFC 1624).
#[inline]
pub fn set_tos(header: &mut [u8; HEADER], tos: u8) {
    let old = u16::from_be_bytes([header[0], header[1]]);
    let new = u16::from_be_bytes([header[0], tos]);
    let checksum = u16::from_be_bytes([header[10], header[11]]);
    header[at::TOS] = tos;
    field::set16(header, at::CHECKSUM, checksum::update(checksum, old, new));
}

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
const DF: u16 = 0x4000;
const MF: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    const PLAIN: &str = "
        45 b8 0017  1234 4000  40 11 e3c4  c0000201 c6336402  # 20 bytes, DF
        aa bb cc                                              # payload";
    const OPTIONS: &str = "
        46 00 001a  0001 2005  01 06 0000  0a000001 0a000002  # MF, offset 5
        94040000                                              # router alert
        aa bb";

    fn check(text: &str, expected: Result<(usize, usize), Malformed>) {
        let bytes = hex::bytes(text);
        let lengths = |packet: Packet<'_>| (packet.options.len(), packet.payload.len());
        assert_eq!(Packet::parse(&bytes).map(lengths), expected, "{text}");
    }

    #[test]
    fn lengths() {
        check(PLAIN, Ok((0, 3)));
        check(OPTIONS, Ok((4, 2)));
        check("", Err(Malformed::Truncated));
        check("45", Err(Malformed::Truncated));
        check(&(PLAIN.replace("# payload", "") + "00 00"), Ok((0, 3)));
        check(&PLAIN.replace("45 b8", "65 b8"), Err(Malformed::Version));
        check(&PLAIN.replace("45 b8", "44 b8"), Err(Malformed::HeaderLength));
        check(&PLAIN.replace("45 b8", "46 b8"), Err(Malformed::Truncated));
        check(&PLAIN.replace("0017", "0013"), Err(Malformed::TotalLength));
        check(&PLAIN.replace("0017", "0000"), Err(Malformed::TotalLength));
        check(&PLAIN.replace("0017", "0014"), Ok((0, 0)));
        check(&PLAIN.replace("0017", "0018"), Err(Malformed::TotalLength));
    }

    #[test]
    fn a_cut_payload_is_taken_on_demand() {
        let bytes = hex::bytes(&PLAIN.replace("0017", "05dc"));
        assert_eq!(Packet::parse_cut(&bytes).unwrap().payload.len(), 3);
    }

    #[test]
    fn fields() {
        let bytes = hex::bytes(OPTIONS);
        let header = Packet::parse(&bytes).unwrap().header;
        assert_eq!((header.offset, header.more_fragments), (5, true));
        assert_eq!((header.id, header.ttl, header.protocol), (1, 1, 6));
        assert!(!header.dont_fragment);
        let bytes = hex::bytes(PLAIN);
        let packet = Packet::parse(&bytes).unwrap();
        assert!(packet.header.dont_fragment && !packet.is_fragment());
        assert_eq!(packet.header.destination, Ipv4Addr::new(198, 51, 100, 2));
        assert_eq!(packet.header.tos, 0xb8);
    }

    fn check_emit(text: &str) {
        let bytes = hex::bytes(text);
        let packet = Packet::parse(&bytes).unwrap();
        let mut out = [0; 60];
        let length = packet.header.emit(packet.options, &mut out).unwrap();
        assert_eq!(length, packet.header_len());
        let again = Packet::parse_cut(&out[..length]).unwrap();
        assert!(again.checksum_is_valid());
        assert_eq!(again.options, packet.options);
        let checksum = packet.header.checksum;
        assert_eq!(Header { checksum, ..again.header }, packet.header);
        assert_eq!(packet.header.emit(packet.options, &mut out[..length - 1]), None);
    }

    #[test]
    fn emits_what_it_parses() {
        check_emit(PLAIN);
        check_emit(OPTIONS);
    }

    #[test]
    fn options_are_padded() {
        let bytes = hex::bytes(PLAIN);
        let header = Packet::parse(&bytes).unwrap().header;
        let mut out = [0xee; 64];
        assert_eq!(header.emit(&[1, 1, 1, 1, 7], &mut out), Some(28));
        assert_eq!(out[20..28], [1, 1, 1, 1, 7, 0, 0, 0]);
        assert_eq!(header.emit(&[1; 41], &mut out), None);
    }

    #[test]
    fn tos_in_place_keeps_the_checksum_right() {
        for tos in 0..=255 {
            let mut bytes = hex::bytes(PLAIN);
            let header = Packet::parse(&bytes).unwrap().header;
            header.emit(&[], &mut bytes).unwrap();
            set_tos(bytes.first_chunk_mut().unwrap(), tos);
            let packet = Packet::parse(&bytes).unwrap();
            assert!(packet.checksum_is_valid());
            assert_eq!(packet.header.tos, tos);
        }
    }

    fn check_route(options: &str, expected: bool) {
        assert_eq!(source_route_is_unexpired(&hex::bytes(options)), expected, "{options}");
    }

    #[test]
    fn source_routes() {
        check_route("", false);
        check_route("83 07 04 c0000201", true);
        check_route("89 07 04 c0000201", true);
        check_route("83 07 08 c0000201", false);
        check_route("83 0b 08 c0000201 c0000202 00", true);
        check_route("01 01 44 04 05 00 89 07 04 c0000201", true);
        check_route("07 07 04 c0000201 83 07 04 c0000201", true);
        check_route("00 83 07 04 c0000201", false);
        check_route("44 00 83 03 03 00", true);
        check_route("44 00 83 07 04 00", false);
        check_route("44 28 83 07 04 00", false);
        check_route("83", false);
        check_route("83 07", false);
    }
}
