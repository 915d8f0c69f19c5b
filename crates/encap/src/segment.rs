//! From what a tun device with `IFF_VNET_HDR` hands over to packets that a wire takes.

use core::ops::Range;

use straddle_wire::checksum::Sum;
use straddle_wire::vnet::{self, Gso};
use straddle_wire::{field, tcp, udp};

use crate::Reason;
use crate::split::Split;

/// Enough for the IP header (IPv4 with options, or IPv6 with a few extension headers) and the
/// longest TCP header, in bytes.
pub const MAX_HEADER: usize = 128;

/// One packet: the first `header_len` bytes of the header buffer, then `payload` of the packet that
/// was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Bytes of the header buffer; zero where the packet goes as it is.
    pub header_len: usize,
    /// Bytes of the packet that follow.
    pub payload: Range<usize>,
}

/// The packets that one read of the tun device is worth.
#[derive(Debug)]
pub struct Segments<'a> {
    packet: &'a [u8],
    rest: Rest<'a>,
}

#[derive(Debug)]
enum Rest<'a> {
    Nothing,
    Whole,
    Checksum(Checksum),
    Split(Split<'a>),
}

/// Takes apart what the tun device handed over: `offload` is its header, `packet` what follows.
///
/// A packet without offload is not looked at. Segments of a super-packet have their own lengths,
/// IPv4 identification and header checksum, TCP sequence number and flags, and complete checksums.
///
/// # Errors
/// [`Reason::OffloadKind`] for an offload that a carrier does not offer, [`Reason::OffloadHeader`]
/// where `offload` and `packet` contradict each other.
#[inline]
pub fn segments(offload: vnet::Header, packet: &[u8]) -> Result<Segments<'_>, Reason> {
    let rest = match offload.gso {
        Gso::None if offload.needs_checksum() => Rest::Checksum(Checksum::new(offload, packet)?),
        Gso::None => Rest::Whole,
        Gso::TcpV4 | Gso::TcpV6 | Gso::UdpL4 => Rest::Split(Split::new(offload, packet)?),
        Gso::Udp | Gso::Other(_) => return Err(Reason::OffloadKind),
    };
    Ok(Segments { packet, rest })
}

impl Segments<'_> {
    /// The length in bytes of the largest of them.
    #[must_use]
    pub fn largest(&self) -> usize {
        match &self.rest {
            Rest::Nothing => 0,
            Rest::Whole | Rest::Checksum(_) => self.packet.len(),
            Rest::Split(split) => split.largest(),
        }
    }

    /// The next packet. What `header` holds behind [`Segment::header_len`] means nothing.
    #[inline]
    pub fn next(&mut self, header: &mut [u8; MAX_HEADER]) -> Option<Segment> {
        if let Rest::Split(split) = &mut self.rest {
            return split.next(header);
        }
        match core::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Whole => Some(Segment { header_len: 0, payload: 0..self.packet.len() }),
            Rest::Checksum(checksum) => checksum.complete(self.packet, header),
            Rest::Nothing | Rest::Split(_) => None,
        }
    }
}

/// A single packet whose checksum field holds the sum of the pseudo-header.
#[derive(Debug)]
struct Checksum {
    field: usize,
    value: u16,
    header_len: usize,
}

impl Checksum {
    fn new(offload: vnet::Header, packet: &[u8]) -> Result<Self, Reason> {
        let start = usize::from(offload.csum_start);
        let covered = packet.get(start..).ok_or(Reason::OffloadHeader)?;
        let offset = usize::from(offload.csum_offset);
        field::get16(covered, offset).ok_or(Reason::OffloadHeader)?;
        let (sum, mut end) = (Sum::of(covered), offset + 2);
        if offset == tcp::at::CHECKSUM {
            end = tcp::Segment::parse(covered).map_or(end, |tcp| tcp.header_len());
        }
        if start + end > MAX_HEADER {
            return Err(Reason::OffloadHeader);
        }
        let value = if offset == udp::at::CHECKSUM { sum.udp_checksum() } else { sum.checksum() };
        Ok(Self { field: start + offset, value, header_len: start + end })
    }

    fn complete(&self, packet: &[u8], header: &mut [u8; MAX_HEADER]) -> Option<Segment> {
        let head = packet.get(..self.header_len)?;
        header.get_mut(..self.header_len)?.copy_from_slice(head);
        field::set16(header, self.field, self.value);
        Some(Segment { header_len: self.header_len, payload: self.header_len..packet.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use std::vec::Vec;

    const NONE: vnet::Header = vnet::Header {
        flags: 0,
        gso: Gso::None,
        ecn: false,
        hdr_len: 0,
        gso_size: 0,
        csum_start: 0,
        csum_offset: 0,
    };

    fn all(offload: vnet::Header, packet: &[u8]) -> Result<Vec<Vec<u8>>, Reason> {
        let mut segments = segments(offload, packet)?;
        let mut header = [0xee; MAX_HEADER];
        let mut packets = Vec::new();
        while let Some(segment) = segments.next(&mut header) {
            let mut bytes = header[..segment.header_len].to_vec();
            bytes.extend(&packet[segment.payload]);
            packets.push(bytes);
        }
        assert_eq!(segments.next(&mut header), None);
        Ok(packets)
    }

    #[test]
    fn no_offload_no_look() {
        assert_eq!(all(NONE, b"anything"), Ok(std::vec![b"anything".to_vec()]));
        assert_eq!(all(NONE, b""), Ok(std::vec![Vec::new()]));
    }

    fn check_checksum(packet: &[u8], header_len: usize) {
        let mut partial = packet.to_vec();
        let (csum_start, csum_offset) = sample::make_partial(&mut partial);
        let offload = vnet::Header { flags: vnet::NEEDS_CSUM, csum_start, csum_offset, ..NONE };
        assert_eq!(all(offload, &partial), Ok(std::vec![packet.to_vec()]));
        let segment = segments(offload, &partial).unwrap().next(&mut [0; MAX_HEADER]);
        assert_eq!(segment.unwrap().header_len, header_len);
    }

    #[test]
    fn a_checksum_alone() {
        for payload in [&b""[..], b"x", b"even", &[0xff; 1400]] {
            check_checksum(&sample::tcp(false, |_| {}, payload), 52);
            check_checksum(&sample::tcp(true, |_| {}, payload), 72);
            check_checksum(&sample::udp(false, payload), 28);
            check_checksum(&sample::udp(true, payload), 48);
        }
    }

    #[test]
    fn a_udp_checksum_of_zero_is_sent_as_ones() {
        let packet = |payload: u16| sample::udp(false, &payload.to_be_bytes());
        let ones = (0..=u16::MAX).map(packet).find(|p| p[26..28] == [0xff; 2]);
        check_checksum(&ones.unwrap(), 28);
    }

    fn check_refused(change: impl FnOnce(&mut vnet::Header, &mut Vec<u8>), expected: Reason) {
        let mut packet = sample::tcp(false, |_| {}, &[7; 3000]);
        let (csum_start, csum_offset) = sample::make_partial(&mut packet);
        let mut offload = vnet::Header {
            flags: vnet::NEEDS_CSUM,
            gso: Gso::TcpV4,
            gso_size: 1000,
            csum_start,
            csum_offset,
            ..NONE
        };
        assert_eq!(all(offload, &packet).unwrap().len(), 3);
        change(&mut offload, &mut packet);
        assert_eq!(all(offload, &packet), Err(expected));
    }

    #[test]
    fn contradictions() {
        check_refused(|offload, _| offload.gso = Gso::Udp, Reason::OffloadKind);
        check_refused(|offload, _| offload.gso = Gso::Other(2), Reason::OffloadKind);
        check_refused(|offload, _| offload.gso = Gso::TcpV6, Reason::OffloadHeader);
        check_refused(|offload, _| offload.gso = Gso::UdpL4, Reason::OffloadHeader);
        check_refused(|offload, _| offload.gso_size = 0, Reason::OffloadHeader);
        check_refused(|offload, _| offload.csum_start = 24, Reason::OffloadHeader);
        check_refused(|_, packet| packet[6] = 0x20, Reason::OffloadHeader);
        check_refused(|_, packet| packet[9] = 17, Reason::OffloadHeader);
        check_refused(|_, packet| packet[32] = 0x40, Reason::OffloadHeader);
        check_refused(|_, packet| packet.truncate(3051), Reason::OffloadHeader);
        check_refused(
            |offload, _| (offload.gso, offload.csum_start) = (Gso::None, 4000),
            Reason::OffloadHeader,
        );
        check_refused(
            |offload, _| (offload.gso, offload.csum_start) = (Gso::None, 3051),
            Reason::OffloadHeader,
        );
        check_refused(
            |offload, _| (offload.gso, offload.csum_offset) = (Gso::None, 107),
            Reason::OffloadHeader,
        );
    }
}
