//! A packet that might belong to a group, and what must be equal or in step for it.

use straddle_wire::checksum::{self, Sum};
use straddle_wire::ip::{self, Packet};
use straddle_wire::{ipv4, ipv6, tcp};

/// An IP header without what differs between segments: lengths, identification, checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Header {
    V4(ipv4::Header),
    V6(ipv6::Header),
}

impl Header {
    fn of_v4(packet: &ipv4::Packet<'_>) -> Option<Self> {
        let plain = packet.options.is_empty()
            && !packet.is_fragment()
            && packet.header.protocol == ip::TCP
            && packet.checksum_is_valid();
        let header = ipv4::Header { total_len: 0, id: 0, checksum: 0, ..packet.header };
        plain.then_some(Self::V4(header))
    }

    fn of_v6(packet: &ipv6::Packet<'_>) -> Option<Self> {
        let plain = packet.header.next_header == ip::TCP;
        let header = ipv6::Header { payload_len: 0, ..packet.header };
        plain.then_some(Self::V6(header))
    }

    pub(super) fn pseudo(&self, length: u16) -> Sum {
        match self {
            Self::V4(ip) => checksum::pseudo4(ip.source, ip.destination, ip::TCP, length),
            Self::V6(ip) => checksum::pseudo6(ip.source, ip.destination, ip::TCP, u32::from(length)),
        }
    }
}

/// A packet that might belong to a group.
pub(super) struct Candidate<'a> {
    pub(super) ip: Header,
    pub(super) id: u16,
    ip_len: usize,
    pub(super) tcp: tcp::Segment<'a>,
    segment: &'a [u8],
}

impl<'a> Candidate<'a> {
    #[inline]
    pub(super) fn read(packet: &'a [u8]) -> Option<Self> {
        let (ip, id, ip_len, segment) = match Packet::parse(packet).ok()? {
            Packet::V4(v4) => (Header::of_v4(&v4)?, v4.header.id, ipv4::HEADER, v4.payload),
            Packet::V6(v6) => (Header::of_v6(&v6)?, 0, ipv6::HEADER, v6.payload),
        };
        let tcp = tcp::Segment::parse(segment).ok()?;
        let plain = tcp.header.flags & !tcp::PSH == tcp::ACK
            && !tcp.payload.is_empty()
            && ip_len + segment.len() == packet.len();
        plain.then_some(Self { ip, id, ip_len, tcp, segment })
    }

    pub(super) fn header_len(&self) -> usize {
        self.ip_len + self.tcp.header_len()
    }

    #[inline]
    pub(super) fn checksum_is_valid(&self) -> bool {
        self.ip.pseudo(self.segment.len() as u16).plus(Sum::of(self.segment)).is_valid()
    }
}

/// How the IPv4 identification goes on from segment to segment; RFC 6864 §4.1 lets it stand still
/// under DF. IPv6 packets all have 0 here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identification {
    pub(super) first: u16,
    last: u16,
    step: Option<u16>,
}

impl Identification {
    pub(super) fn new(id: u16) -> Self {
        Self { first: id, last: id, step: None }
    }

    #[inline]
    pub(super) fn followed_by(self, id: u16, ip: &Header) -> Option<Self> {
        let step = id.wrapping_sub(self.last);
        let may_stand = match ip {
            Header::V4(ip) => ip.dont_fragment,
            Header::V6(_) => true,
        };
        let regular = self.step.is_none_or(|before| before == step);
        let allowed = step == 1 || step == 0 && may_stand;
        (regular && allowed).then_some(Self { last: id, step: Some(step), ..self })
    }
}
