//! A super-packet's segments.

use straddle_wire::checksum::Sum;
use straddle_wire::ip::{self, Packet, Version};
use straddle_wire::vnet::{self, Gso};
use straddle_wire::{ext, field, ipv4, ipv6, tcp, udp};

use crate::Reason;
use crate::segment::{MAX_HEADER, Segment};

/// What is left of a super-packet.
#[derive(Debug)]
pub(crate) struct Split<'a> {
    /// The headers with every field zero that differs between segments.
    template: [u8; MAX_HEADER],
    header_len: usize,
    network: Network,
    transport: Transport,
    /// Where the transport header begins.
    l4: usize,
    /// The sum of pseudo-header and transport header, as they are in `template`.
    sum: Sum,
    size: usize,
    /// How many segments are out.
    count: u16,
    /// How many payload bytes are out.
    sent: usize,
    payload: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
enum Network {
    V4 { id: u16, sum: Sum },
    V6,
}

#[derive(Clone, Copy, Debug)]
enum Transport {
    Tcp { sequence: u32, flags: u16 },
    Udp,
}

impl<'a> Split<'a> {
    pub(crate) fn new(offload: vnet::Header, packet: &'a [u8]) -> Result<Self, Reason> {
        let ip = Packet::parse(packet).map_err(|_| Reason::OffloadHeader)?;
        let (protocol, l4, upper) = upper(offload, &ip).ok_or(Reason::OffloadHeader)?;
        let (transport, l4_len, payload) = transport(protocol, upper).ok_or(Reason::OffloadHeader)?;
        let header_len = l4 + l4_len;
        let mut template = [0; MAX_HEADER];
        template
            .get_mut(..header_len)
            .zip(packet.get(..header_len))
            .ok_or(Reason::OffloadHeader)
            .map(|(to, from)| to.copy_from_slice(from))?;
        blank_transport(&mut template, l4, transport);
        let network = network(&mut template, &ip);
        let head = template.get(l4..header_len).unwrap_or_default();
        Ok(Self {
            sum: ip.pseudo(protocol, 0).plus(Sum::of(head)),
            template,
            header_len,
            network,
            transport,
            l4,
            size: offload.gso_size.into(),
            count: 0,
            sent: 0,
            payload,
        })
    }

    /// The length in bytes of the first segment: none is larger.
    pub(crate) fn largest(&self) -> usize {
        self.header_len + self.size.min(self.payload.len())
    }

    #[inline]
    pub(crate) fn next(&mut self, header: &mut [u8; MAX_HEADER]) -> Option<Segment> {
        let left = self.payload.get(self.sent..)?;
        if left.is_empty() && self.count > 0 {
            return None;
        }
        let payload = left.get(..self.size).unwrap_or(left);
        *header = self.template;
        self.write_network(header, payload.len());
        self.write_transport(header, payload, payload.len() == left.len());
        let start = self.header_len + self.sent;
        self.sent += payload.len();
        self.count = self.count.wrapping_add(1);
        Some(Segment { header_len: self.header_len, payload: start..start + payload.len() })
    }

    #[inline]
    fn write_network(&self, header: &mut [u8; MAX_HEADER], length: usize) {
        let total = self.header_len + length;
        match self.network {
            Network::V4 { id, sum } => {
                let (total, id) = (total as u16, id.wrapping_add(self.count));
                let checksum = sum.word(total).word(id).checksum();
                field::set16(header, ipv4::at::TOTAL_LEN, total);
                field::set16(header, ipv4::at::ID, id);
                field::set16(header, ipv4::at::CHECKSUM, checksum);
            }
            Network::V6 => {
                let length = total - ipv6::HEADER;
                field::set16(header, ipv6::at::PAYLOAD_LEN, length as u16);
            }
        }
    }

    #[inline]
    fn write_transport(&self, header: &mut [u8; MAX_HEADER], payload: &[u8], last: bool) {
        let length = (self.header_len - self.l4 + payload.len()) as u16;
        let sum = self.sum.plus(Sum::of(payload)).word(length);
        match self.transport {
            Transport::Tcp { sequence, flags } => {
                let sequence = sequence.wrapping_add(self.sent as u32);
                let l4_len = self.header_len - self.l4;
                let flags = tcp::offset_and_flags(l4_len, self.flags(flags, last));
                let checksum = sum.long(sequence).word(flags).checksum();
                field::set32(header, self.l4 + tcp::at::SEQUENCE, sequence);
                field::set16(header, self.l4 + tcp::at::FLAGS, flags);
                field::set16(header, self.l4 + tcp::at::CHECKSUM, checksum);
            }
            Transport::Udp => {
                let checksum = sum.word(length).udp_checksum();
                field::set16(header, self.l4 + udp::at::LENGTH, length);
                field::set16(header, self.l4 + udp::at::CHECKSUM, checksum);
            }
        }
    }

    /// FIN and PSH belong to the last segment, CWR (RFC 3168 §6.1.2) to the first.
    #[inline]
    fn flags(&self, flags: u16, last: bool) -> u16 {
        let not_last = if last { 0 } else { tcp::FIN | tcp::PSH };
        let not_first = if self.count == 0 { 0 } else { tcp::CWR };
        flags & !(not_last | not_first)
    }
}

/// Protocol, offset and bytes of the transport header, where packet and offload agree on them.
fn upper<'a>(offload: vnet::Header, ip: &Packet<'a>) -> Option<(u8, usize, &'a [u8])> {
    let (version, protocol) = match offload.gso {
        Gso::TcpV4 => (Version::V4, ip::TCP),
        Gso::TcpV6 => (Version::V6, ip::TCP),
        Gso::UdpL4 => (ip.version(), ip::UDP),
        Gso::None | Gso::Udp | Gso::Other(_) => return None,
    };
    let (found, l4, upper) = match ip {
        Packet::V4(packet) => (packet.header.protocol, packet.header_len(), packet.payload),
        Packet::V6(packet) => {
            let upper = ext::upper(packet).ok()?;
            let whole = upper.fragment.is_none();
            let l4 = whole.then_some(ipv6::HEADER + upper.ext_len)?;
            (upper.protocol, l4, upper.payload)
        }
    };
    let agreed = version == ip.version()
        && protocol == found
        && !ip.is_fragment()
        && offload.gso_size > 0
        && (!offload.needs_checksum() || usize::from(offload.csum_start) == l4);
    agreed.then_some((protocol, l4, upper))
}

/// What differs between segments, the length of the transport header, and its payload.
fn transport(protocol: u8, upper: &[u8]) -> Option<(Transport, usize, &[u8])> {
    if protocol == ip::UDP {
        let datagram = udp::Datagram::parse(upper).ok()?;
        return Some((Transport::Udp, udp::HEADER, datagram.payload));
    }
    let segment = tcp::Segment::parse(upper).ok()?;
    let transport = Transport::Tcp { sequence: segment.header.sequence, flags: segment.header.flags };
    Some((transport, segment.header_len(), segment.payload))
}

fn blank_transport(template: &mut [u8], l4: usize, transport: Transport) {
    match transport {
        Transport::Tcp { .. } => {
            field::set32(template, l4 + tcp::at::SEQUENCE, 0);
            field::set16(template, l4 + tcp::at::FLAGS, 0);
            field::set16(template, l4 + tcp::at::CHECKSUM, 0);
        }
        Transport::Udp => {
            field::set16(template, l4 + udp::at::LENGTH, 0);
            field::set16(template, l4 + udp::at::CHECKSUM, 0);
        }
    }
}

fn network(template: &mut [u8], ip: &Packet<'_>) -> Network {
    match ip {
        Packet::V4(packet) => {
            for at in [ipv4::at::TOTAL_LEN, ipv4::at::ID, ipv4::at::CHECKSUM] {
                field::set16(template, at, 0);
            }
            let head = template.get(..packet.header_len()).unwrap_or_default();
            Network::V4 { id: packet.header.id, sum: Sum::of(head) }
        }
        Packet::V6(_) => Network::V6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use etherparse::{Ipv4Header, TcpHeader, TcpHeaderSlice};
    use std::vec::Vec;

    /// Identification, sequence number, flags, payload length of each segment.
    type Seen = Vec<(u16, u32, u8, usize)>;

    fn check(v6: bool, set: impl Fn(&mut TcpHeader), length: usize, expected: &[(u16, u32, u8, usize)]) {
        let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
        let mut packet = sample::tcp(v6, set, &payload);
        let (csum_start, csum_offset) = sample::make_partial(&mut packet);
        let offload = vnet::Header {
            flags: vnet::NEEDS_CSUM,
            gso: if v6 { Gso::TcpV6 } else { Gso::TcpV4 },
            gso_size: 1000,
            csum_start,
            csum_offset,
            ..vnet::Header::default()
        };
        let (seen, sent) = walk(offload, &packet, usize::from(csum_start));
        assert_eq!(seen, expected);
        assert_eq!(sent, payload);
    }

    fn walk(offload: vnet::Header, packet: &[u8], l4: usize) -> (Seen, Vec<u8>) {
        let mut split = Split::new(offload, packet).unwrap();
        let mut header = [0xee; MAX_HEADER];
        let (mut seen, mut sent) = (Vec::new(), Vec::new());
        while let Some(segment) = split.next(&mut header) {
            let mut bytes = header[..segment.header_len].to_vec();
            bytes.extend(&packet[segment.payload]);
            let payload = sample::verify(&bytes);
            let id = match l4 {
                40 => 0,
                _ => Ipv4Header::from_slice(&bytes).unwrap().0.identification,
            };
            let tcp = TcpHeaderSlice::from_slice(&bytes[l4..]).unwrap();
            seen.push((id, tcp.sequence_number(), bytes[l4 + 13], payload.len()));
            sent.extend(payload);
        }
        (seen, sent)
    }

    const ACK: u8 = 0x10;

    #[test]
    fn numbers_go_on() {
        check(false, |_| {}, 2500, &[(1, 1000, ACK, 1000), (2, 2000, ACK, 1000), (3, 3000, ACK, 500)]);
        check(true, |_| {}, 2000, &[(0, 1000, ACK, 1000), (0, 2000, ACK, 1000)]);
        check(false, |_| {}, 1000, &[(1, 1000, ACK, 1000)]);
        check(false, |_| {}, 1, &[(1, 1000, ACK, 1)]);
        check(false, |_| {}, 0, &[(1, 1000, ACK, 0)]);
        let wrap = |tcp: &mut TcpHeader| tcp.sequence_number = u32::MAX;
        check(true, wrap, 1001, &[(0, u32::MAX, ACK, 1000), (0, 999, ACK, 1)]);
    }

    #[test]
    fn some_flags_are_for_one_segment() {
        let last = |tcp: &mut TcpHeader| (tcp.fin, tcp.psh) = (true, true);
        check(false, last, 2001, &[(1, 1000, ACK, 1000), (2, 2000, ACK, 1000), (3, 3000, ACK | 9, 1)]);
        check(true, last, 1000, &[(0, 1000, ACK | 9, 1000)]);
        let first = |tcp: &mut TcpHeader| (tcp.cwr, tcp.ece) = (true, true);
        check(false, first, 1001, &[(1, 1000, ACK | 0xc0, 1000), (2, 2000, ACK | 0x40, 1)]);
    }

    #[test]
    fn extension_headers_are_kept() {
        let tcp = sample::tcp(true, |_| {}, &[7; 2000]);
        let mut packet = sample::ip6(60.into(), |_| {}, &[&[6, 0, 1, 4, 0, 0, 0, 0], &tcp[40..]].concat());
        // The pseudo-header does not change, so the checksum stays right.
        sample::verify(&packet);
        packet[64] ^= 0xff;
        let offload = vnet::Header {
            flags: vnet::NEEDS_CSUM,
            gso: Gso::TcpV6,
            gso_size: 1500,
            csum_start: 48,
            csum_offset: 16,
            ..vnet::Header::default()
        };
        let mut split = Split::new(offload, &packet).unwrap();
        let mut header = [0; MAX_HEADER];
        let segment = split.next(&mut header).unwrap();
        assert_eq!((segment.header_len, segment.payload), (80, 80..1580));
        assert_eq!(header[40..48], packet[40..48]);
    }
}
