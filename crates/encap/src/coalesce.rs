//! The other way round: consecutive TCP segments become one super-packet for the tun device.

use straddle_wire::ip::{self, Packet};
use straddle_wire::vnet::{self, Gso};
use straddle_wire::{ipv4, ipv6, tcp};

use crate::segment::MAX_HEADER;

mod candidate;

use candidate::{Candidate, Header, Identification};

pub use crate::partial::aggregated;

/// The longest super-packet, in bytes.
const MAX_TOTAL: usize = 65_535;

/// TCP segments of one flow, in order, each with a checksum that was right.
///
/// The group keeps headers only; the caller keeps the packets, whose payloads begin at
/// [`Group::header_len`].
#[derive(Clone, Debug)]
pub struct Group {
    ip: Header,
    id: Identification,
    tcp: tcp::Header,
    options: [u8; tcp::MAX_OPTIONS],
    options_len: usize,
    header_len: usize,
    /// Payload bytes of every segment but the last.
    size: usize,
    /// Payload bytes in all.
    payload_len: usize,
    count: usize,
    closed: bool,
}

impl Group {
    /// Begins a group with a whole packet, or not: it must be TCP without IP options, extension
    /// headers, fragmentation or flags other than ACK and PSH, with payload and right checksums.
    #[must_use]
    pub fn start(packet: &[u8]) -> Option<Self> {
        let candidate = Candidate::read(packet)?;
        let tcp = candidate.tcp;
        let mut options = [0; tcp::MAX_OPTIONS];
        options.get_mut(..tcp.options.len())?.copy_from_slice(tcp.options);
        candidate.checksum_is_valid().then_some(Self {
            ip: candidate.ip,
            id: Identification::new(candidate.id),
            tcp: tcp.header,
            options,
            options_len: tcp.options.len(),
            header_len: candidate.header_len(),
            size: tcp.payload.len(),
            payload_len: tcp.payload.len(),
            count: 1,
            closed: tcp.header.flags & tcp::PSH != 0,
        })
    }

    /// Adds a packet, or leaves the group as it is and returns false: the packet must follow the
    /// last one without a gap and equal it in everything that a super-packet can say only once.
    /// One with PSH or a shorter payload is the last.
    #[inline]
    #[must_use]
    pub fn join(&mut self, packet: &[u8]) -> bool {
        if self.closed {
            return false;
        }
        let Some(candidate) = Candidate::read(packet) else {
            return false;
        };
        let Some(id) = self.follows(&candidate) else {
            return false;
        };
        if !candidate.checksum_is_valid() {
            return false;
        }
        let (flags, length) = (candidate.tcp.header.flags, candidate.tcp.payload.len());
        self.id = id;
        self.tcp.flags |= flags;
        self.payload_len += length;
        self.count += 1;
        self.closed = flags & tcp::PSH != 0 || length < self.size;
        true
    }

    /// Whether no packet can join any more.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Whether a packet has this group's addresses and ports: then the group must be written before
    /// it, unless it joins.
    #[must_use]
    pub fn same_flow(&self, packet: &[u8]) -> bool {
        let Ok(ip) = Packet::parse(packet) else {
            return false;
        };
        let same_addresses = match (&ip, &self.ip) {
            (Packet::V4(p), Header::V4(h)) => {
                (p.header.source, p.header.destination) == (h.source, h.destination)
            }
            (Packet::V6(p), Header::V6(h)) => {
                (p.header.source, p.header.destination) == (h.source, h.destination)
            }
            (Packet::V4(_), Header::V6(_)) | (Packet::V6(_), Header::V4(_)) => false,
        };
        let ports = |tcp: &tcp::Header| (tcp.source_port, tcp.destination_port);
        same_addresses
            && ip.protocol() == ip::TCP
            && tcp::Segment::parse(ip.payload()).is_ok_and(|s| ports(&s.header) == ports(&self.tcp))
    }

    /// Bytes of IP and TCP header in each packet of the group, and in the super-packet.
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Packets in the group.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Writes the super-packet's headers, [`Group::header_len`] bytes, to be followed by the
    /// payloads of all packets; returns what the tun device is to be told.
    pub fn finish(&self, header: &mut [u8; MAX_HEADER]) -> vnet::Header {
        let total = self.header_len + self.payload_len;
        let (ip_len, gso) = self.write_ip(total, header);
        let tcp = tcp::Header { checksum: self.ip.pseudo((total - ip_len) as u16).value(), ..self.tcp };
        let options = self.options.get(..self.options_len).unwrap_or_default();
        tcp.emit(options, header.get_mut(ip_len..).unwrap_or_default());
        self.offload(ip_len, gso)
    }

    /// Returns the length of the IP header, and the kind of offload.
    fn write_ip(&self, total: usize, header: &mut [u8; MAX_HEADER]) -> (usize, Gso) {
        match &self.ip {
            Header::V4(ip) => {
                let ip = ipv4::Header { total_len: total as u16, id: self.id.first, ..*ip };
                ip.emit(&[], header);
                (ipv4::HEADER, Gso::TcpV4)
            }
            Header::V6(ip) => {
                let ip = ipv6::Header { payload_len: (total - ipv6::HEADER) as u16, ..*ip };
                if let Some(head) = header.first_chunk_mut() {
                    *head = ip.emit();
                }
                (ipv6::HEADER, Gso::TcpV6)
            }
        }
    }

    fn offload(&self, ip_len: usize, gso: Gso) -> vnet::Header {
        let single = self.count == 1;
        vnet::Header {
            flags: vnet::NEEDS_CSUM,
            gso: if single { Gso::None } else { gso },
            ecn: false,
            hdr_len: self.header_len as u16,
            gso_size: if single { 0 } else { self.size as u16 },
            csum_start: ip_len as u16,
            csum_offset: tcp::at::CHECKSUM as u16,
        }
    }

    /// The group's identification with the candidate in it, if that is the next segment.
    #[inline]
    fn follows(&self, next: &Candidate<'_>) -> Option<Identification> {
        let length = next.tcp.payload.len();
        let fits = length <= self.size && self.header_len + self.payload_len + length <= MAX_TOTAL;
        let expected = tcp::Header {
            sequence: self.tcp.sequence.wrapping_add(self.payload_len as u32),
            flags: next.tcp.header.flags,
            checksum: next.tcp.header.checksum,
            ..self.tcp
        };
        let same = next.tcp.header == expected
            && next.ip == self.ip
            && self.options.get(..self.options_len) == Some(next.tcp.options);
        (fits && same).then(|| self.id.followed_by(next.id, &self.ip))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use etherparse::{Ipv4Header, TcpHeader};
    use std::vec::Vec;

    const SIZE: usize = 100;

    /// The segment after the first of [`sample::tcp4`]'s, with a payload of `length`.
    fn next4(
        set_ip: impl Fn(&mut Ipv4Header),
        set_tcp: impl FnOnce(&mut TcpHeader),
        length: usize,
    ) -> Vec<u8> {
        let set_tcp = |tcp: &mut TcpHeader| {
            tcp.sequence_number += SIZE as u32;
            set_tcp(tcp);
        };
        let set_ip = |ip: &mut Ipv4Header| {
            ip.identification = 2;
            ip.dont_fragment = true;
            set_ip(ip);
        };
        sample::tcp4(set_ip, set_tcp, &[7; SIZE][..length])
    }

    fn group() -> Group {
        Group::start(&sample::tcp(false, |_| {}, &[5; SIZE])).unwrap()
    }

    fn check_start(packet: &[u8], expected: Option<bool>) {
        assert_eq!(Group::start(packet).map(|group| group.closed()), expected);
        if expected.is_none() {
            assert!(!group().join(packet));
        }
    }

    #[test]
    fn what_begins_a_group() {
        let four = |set: fn(&mut TcpHeader)| sample::tcp(false, set, b"abc");
        let ip = |set: fn(&mut Ipv4Header)| sample::tcp4(set, |_| {}, b"abc");
        check_start(&four(|_| {}), Some(false));
        check_start(&sample::tcp(true, |_| {}, b"abc"), Some(false));
        check_start(&four(|tcp| tcp.psh = true), Some(true));
        check_start(&four(|tcp| tcp.ack = false), None);
        check_start(&four(|tcp| tcp.syn = true), None);
        check_start(&four(|tcp| tcp.fin = true), None);
        check_start(&four(|tcp| tcp.rst = true), None);
        check_start(&four(|tcp| tcp.urg = true), None);
        check_start(&four(|tcp| tcp.ece = true), None);
        check_start(&four(|tcp| tcp.cwr = true), None);
        check_start(&four(|tcp| tcp.ns = true), None);
        check_start(&sample::tcp(false, |_| {}, b""), None);
        check_start(&sample::udp(false, b"abc"), None);
        check_start(&ip(|ip| ip.more_fragments = true), None);
        check_start(&ip(|ip| ip.options = [1, 1, 1, 1].into()), None);
        check_start(&[four(|_| {}), std::vec![0]].concat(), None);
        check_start(&[], None);
    }

    #[test]
    fn a_wrong_bit_anywhere_keeps_a_packet_out() {
        for v6 in [false, true] {
            let packet = sample::tcp(v6, |_| {}, b"abc");
            let covered = (0..packet.len()).filter(|at| !v6 || *at >= 8);
            for at in covered {
                let mut packet = packet.clone();
                packet[at] ^= 0x10;
                check_start(&packet, None);
            }
        }
    }

    fn check_join(packet: &[u8], joins: bool) {
        let mut group = group();
        assert!(group.same_flow(packet));
        assert_eq!(group.join(packet), joins);
        assert_eq!(group.count(), if joins { 2 } else { 1 });
    }

    #[test]
    fn what_joins_a_group() {
        let ip = |set: fn(&mut Ipv4Header)| next4(set, |_| {}, SIZE);
        let tcp = |set: fn(&mut TcpHeader)| next4(|_| {}, set, SIZE);
        check_join(&tcp(|_| {}), true);
        check_join(&tcp(|tcp| tcp.psh = true), true);
        check_join(&ip(|ip| ip.identification = 1), true);
        check_join(&ip(|ip| ip.identification = 3), false);
        check_join(&ip(|ip| ip.identification = 0), false);
        check_join(&ip(|ip| ip.dont_fragment = false), false);
        check_join(&ip(|ip| ip.time_to_live = 63), false);
        check_join(&ip(|ip| ip.ecn = 3.try_into().unwrap()), false);
        check_join(&ip(|ip| ip.dscp = 8.try_into().unwrap()), false);
        check_join(&tcp(|tcp| tcp.sequence_number += 1), false);
        check_join(&tcp(|tcp| tcp.sequence_number -= 1), false);
        check_join(&tcp(|tcp| tcp.acknowledgment_number += 1), false);
        check_join(&tcp(|tcp| tcp.window_size += 1), false);
        check_join(&tcp(|tcp| tcp.set_options_raw(&[1; 12]).unwrap()), false);
        check_join(&tcp(|tcp| tcp.set_options_raw(&[]).unwrap()), false);
        check_join(&tcp(|tcp| tcp.fin = true), false);
        let short = next4(|_| {}, |_| {}, 1);
        check_join(&short, true);
    }

    #[test]
    fn a_longer_payload_begins_another_group() {
        let mut group = Group::start(&sample::tcp(false, |_| {}, &[5; 99])).unwrap();
        let longer = |tcp: &mut TcpHeader| tcp.sequence_number += 99;
        let packet = sample::tcp4(|ip| ip.identification = 2, longer, &[5; SIZE]);
        assert!(!group.join(&packet));
    }

    #[test]
    fn what_closes_a_group() {
        for (packet, closes) in [
            (next4(|_| {}, |_| {}, SIZE), false),
            (next4(|_| {}, |_| {}, SIZE - 1), true),
            (next4(|_| {}, |tcp| tcp.psh = true, SIZE), true),
        ] {
            let mut group = group();
            assert!(group.join(&packet));
            assert_eq!(group.closed(), closes);
        }
    }

    #[test]
    fn a_standing_identification_goes_on_standing() {
        let mut group = group();
        assert!(group.join(&next4(|ip| ip.identification = 1, |_| {}, SIZE)));
        let third = |tcp: &mut TcpHeader| tcp.sequence_number += SIZE as u32;
        assert!(!group.join(&next4(|_| {}, third, SIZE)));
        assert!(group.join(&next4(|ip| ip.identification = 1, third, SIZE)));
    }

    #[test]
    fn an_identification_may_not_stand_without_df() {
        let clear = |ip: &mut Ipv4Header| (ip.dont_fragment, ip.identification) = (false, 1);
        let mut group = Group::start(&sample::tcp4(clear, |_| {}, &[5; SIZE])).unwrap();
        assert!(!group.join(&next4(clear, |_| {}, SIZE)));
        let next = |ip: &mut Ipv4Header| (ip.dont_fragment, ip.identification) = (false, 2);
        assert!(group.join(&next4(next, |_| {}, SIZE)));
    }

    #[test]
    fn a_group_is_never_longer_than_a_packet_can_be() {
        for v6 in [false, true] {
            let packet = |n: u32| sample::tcp(v6, |tcp| tcp.sequence_number += n * 1448, &[5; 1448]);
            let mut group = Group::start(&packet(0)).unwrap();
            let joined = (1..).take_while(|n| group.join(&packet(*n))).count();
            assert_eq!((joined + 1, group.count()), (45, 45));
        }
    }

    #[test]
    fn other_flows() {
        let group = group();
        let port = sample::tcp(false, |tcp| tcp.source_port = 80, b"x");
        let address = sample::tcp4(|ip| ip.source = [1, 2, 3, 4], |_| {}, b"x");
        for packet in [port, address, sample::tcp(true, |_| {}, b"x"), sample::udp(false, b"")] {
            assert!(!group.same_flow(&packet));
        }
        assert!(group.same_flow(&sample::tcp(false, |tcp| tcp.fin = true, b"")));
    }

    #[test]
    fn a_group_of_one_is_a_packet_without_checksum() {
        for v6 in [false, true] {
            let mut packet = sample::tcp(v6, |tcp| tcp.psh = true, b"abc");
            let group = Group::start(&packet).unwrap();
            let mut header = [0; MAX_HEADER];
            let offload = group.finish(&mut header);
            let (csum_start, csum_offset) = sample::make_partial(&mut packet);
            assert_eq!(header[..group.header_len()], packet[..group.header_len()]);
            let expected = vnet::Header {
                flags: vnet::NEEDS_CSUM,
                hdr_len: group.header_len() as u16,
                csum_start,
                csum_offset,
                ..vnet::Header::default()
            };
            assert_eq!(offload, expected);
        }
    }
}
