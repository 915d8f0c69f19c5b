//! IPv4 fragmentation: RFC 791 §3.2.

use straddle_wire::ip::Packet;
use straddle_wire::ipv4;

use crate::Reason;
use crate::segment::{MAX_HEADER, Segment};

/// The packets that one packet becomes.
#[derive(Debug)]
pub struct Fragments<'a> {
    header: ipv4::Header,
    options: &'a [u8],
    later_options: Options,
    mtu: usize,
    /// Bytes of the packet before its payload.
    header_len: usize,
    payload_len: usize,
    /// How many payload bytes are out.
    sent: usize,
    rest: Rest,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rest {
    Nothing,
    Whole,
    Pieces,
}

/// Divides an IPv4 packet, which may be a fragment itself, into packets of at most `mtu` bytes. One
/// that fits goes as it is. Transport checksums must be complete.
///
/// # Errors
/// [`Reason::TooBig`] where it does not fit and is IPv6 or has DF; [`Reason::CannotFragment`] where
/// `mtu` leaves no room for 8 bytes of payload or the options can't be read; or what is wrong with
/// the packet.
pub fn fragments(packet: &[u8], mtu: u16) -> Result<Fragments<'_>, Reason> {
    let mtu = usize::from(mtu);
    let v4 = match Packet::parse(packet).map_err(Reason::of_inner)? {
        Packet::V4(v4) => v4,
        Packet::V6(_) => return Err(Reason::TooBig),
    };
    let (header, header_len, payload_len) = (v4.header, v4.header_len(), v4.payload.len());
    let fits = header_len + payload_len <= mtu;
    if !fits && header.dont_fragment {
        return Err(Reason::TooBig);
    }
    if !fits && mtu < header_len + UNIT {
        return Err(Reason::CannotFragment);
    }
    if usize::from(header.offset) * UNIT + payload_len > MAX_PAYLOAD {
        return Err(Reason::InnerLength);
    }
    Ok(Fragments {
        header,
        options: v4.options,
        later_options: Options::copied(v4.options)?,
        mtu,
        header_len,
        payload_len,
        sent: 0,
        rest: if fits { Rest::Whole } else { Rest::Pieces },
    })
}

impl Fragments<'_> {
    /// The next packet. What `header` holds behind [`Segment::header_len`] means nothing.
    pub fn next(&mut self, header: &mut [u8; MAX_HEADER]) -> Option<Segment> {
        match self.rest {
            Rest::Nothing => None,
            Rest::Whole => {
                self.rest = Rest::Nothing;
                Some(Segment { header_len: 0, payload: 0..self.header_len + self.payload_len })
            }
            Rest::Pieces => self.piece(header),
        }
    }

    fn piece(&mut self, out: &mut [u8; MAX_HEADER]) -> Option<Segment> {
        let options = match self.sent {
            0 => self.options,
            _ => self.later_options.as_bytes(),
        };
        let header_len = ipv4::HEADER + options.len();
        let room = self.mtu.checked_sub(header_len)?;
        let left = self.payload_len - self.sent;
        let last = left <= room;
        let length = if last { left } else { room & !(UNIT - 1) };
        let header = ipv4::Header {
            total_len: (header_len + length) as u16,
            offset: self.header.offset + (self.sent / UNIT) as u16,
            more_fragments: !last || self.header.more_fragments,
            ..self.header
        };
        header.emit(options, out)?;
        let start = self.header_len + self.sent;
        self.sent += length;
        self.rest = if last { Rest::Nothing } else { Rest::Pieces };
        Some(Segment { header_len, payload: start..start + length })
    }
}

/// Options, padded to a multiple of 4 bytes.
#[derive(Clone, Copy, Debug)]
struct Options {
    bytes: [u8; ipv4::MAX_OPTIONS],
    len: usize,
}

impl Options {
    /// Those options that go into every fragment: RFC 791 §3.1, the copied flag.
    fn copied(mut options: &[u8]) -> Result<Self, Reason> {
        let mut copied = Self { bytes: [END; ipv4::MAX_OPTIONS], len: 0 };
        while let Some(kind) = options.first().filter(|kind| **kind != END) {
            let length = match (*kind, options.get(1)) {
                (NO_OPERATION, _) => 1,
                (_, Some(length)) => usize::from(*length).max(2),
                (_, None) => return Err(Reason::CannotFragment),
            };
            let (option, rest) = options.split_at_checked(length).ok_or(Reason::CannotFragment)?;
            if kind & COPIED != 0 {
                copied.push(option);
            }
            options = rest;
        }
        copied.len = copied.len.next_multiple_of(4);
        Ok(copied)
    }

    fn push(&mut self, option: &[u8]) {
        let end = self.len + option.len();
        if let Some(to) = self.bytes.get_mut(self.len..end) {
            to.copy_from_slice(option);
            self.len = end;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What fragment offsets count in, in bytes.
const UNIT: usize = 8;
/// The longest payload of a reassembled packet.
const MAX_PAYLOAD: usize = 65_535 - ipv4::HEADER;
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const COPIED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hex, sample};
    use etherparse::Ipv4Header;
    use std::vec::Vec;

    /// Total length, MF, offset in bytes, options of each.
    type Piece<'a> = (usize, bool, u16, &'a str);

    fn check(
        set: impl FnOnce(&mut Ipv4Header),
        length: usize,
        mtu: u16,
        expected: Result<&[Piece<'_>], Reason>,
    ) {
        let payload: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        let packet = sample::ip4(
            59.into(),
            |ip| {
                ip.dont_fragment = false;
                set(ip)
            },
            &payload,
        );
        let (mut fragments, expected) = match (fragments(&packet, mtu), expected) {
            (Ok(fragments), Ok(expected)) => (fragments, expected),
            (outcome, expected) => {
                assert_eq!(outcome.map(|_| ()), expected.map(|_| ()));
                return;
            }
        };
        let mut header = [0xee; MAX_HEADER];
        let mut sent: Vec<u8> = Vec::new();
        for (total, more, offset, options) in expected {
            let piece = fragments.next(&mut header).unwrap();
            let mut bytes = header[..piece.header_len].to_vec();
            bytes.extend(&packet[piece.payload]);
            let (ip, payload) = Ipv4Header::from_slice(&bytes).unwrap();
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!((bytes.len(), ip.total_len.into()), (*total, *total));
            assert_eq!((ip.more_fragments, ip.fragment_offset.value() * 8), (*more, *offset));
            assert_eq!(ip.options.as_slice(), hex::bytes(options));
            assert_eq!(ip.identification, 1);
            sent.extend(payload);
        }
        assert_eq!(fragments.next(&mut header), None);
        assert_eq!(sent, payload);
    }

    #[test]
    fn plain() {
        check(|_| {}, 100, 120, Ok(&[(120, false, 0, "")]));
        check(|_| {}, 101, 120, Ok(&[(116, true, 0, ""), (25, false, 96, "")]));
        check(|_| {}, 100, 116, Ok(&[(116, true, 0, ""), (24, false, 96, "")]));
        check(|_| {}, 17, 28, Ok(&[(28, true, 0, ""), (28, true, 8, ""), (21, false, 16, "")]));
        check(|_| {}, 9, 27, Err(Reason::CannotFragment));
        check(|_| {}, 9, 0, Err(Reason::CannotFragment));
        check(|ip| ip.dont_fragment = true, 101, 120, Err(Reason::TooBig));
        check(|ip| ip.dont_fragment = true, 100, 120, Ok(&[(120, false, 0, "")]));
    }

    #[test]
    fn fragments_of_fragments() {
        let first = |ip: &mut Ipv4Header| ip.more_fragments = true;
        check(first, 104, 100, Ok(&[(100, true, 0, ""), (44, true, 80, "")]));
        let later = |ip: &mut Ipv4Header| ip.fragment_offset = 10.try_into().unwrap();
        check(later, 101, 100, Ok(&[(100, true, 80, ""), (41, false, 160, "")]));
        let end = |ip: &mut Ipv4Header| ip.fragment_offset = 8180.try_into().unwrap();
        check(end, 75, 60, Ok(&[(60, true, 65440, ""), (55, false, 65480, "")]));
        check(end, 76, 60, Err(Reason::InnerLength));
    }

    /// 96 bytes of payload, of which 88 fit behind the header and all options.
    fn check_options(options: [u8; 8], later: &str) {
        let all: std::string::String = options.map(|b| std::format!("{b:02x}")).concat();
        let last = ipv4::HEADER + hex::bytes(later).len() + 8;
        let pieces = [(116, true, 0, &*all), (last, false, 88, later)];
        check(|ip| ip.options = options.into(), 96, 116, Ok(&pieces));
    }

    #[test]
    fn options_with_the_copied_flag_go_into_each() {
        check_options([0x94, 4, 0, 0, 7, 3, 4, 0], "94040000");
        check_options([7, 3, 4, 0x94, 4, 0, 0, 0], "94040000");
        check_options([1, 0x82, 5, 1, 2, 3, 1, 1], "82050102 03000000");
        check_options([7, 7, 4, 0, 0, 0, 0, 0], "");
        check_options([0, 0x94, 4, 0, 0, 0, 0, 0], "");
    }

    #[test]
    fn options_that_can_not_be_read() {
        let set = |options: [u8; 4]| move |ip: &mut Ipv4Header| ip.options = options.into();
        check(set([7, 5, 0, 0]), 200, 100, Err(Reason::CannotFragment));
        check(set([1, 1, 1, 7]), 200, 100, Err(Reason::CannotFragment));
    }

    #[test]
    fn ipv6_is_not_ours_to_fragment() {
        let packet = sample::udp(true, &[0; 100]);
        assert_eq!(fragments(&packet, 100).map(|_| ()), Err(Reason::TooBig));
        assert_eq!(fragments(&[], 100).map(|_| ()), Err(Reason::Truncated));
    }
}
