//! What a tun device leaves to the translator, held against the packet.

use straddle_wire::ip::{ICMPV4, ICMPV6, TCP, UDP, Version};
use straddle_wire::vnet::{self, Gso};
use straddle_wire::{icmpv4, tcp, udp};

use crate::Reason;

/// What is still to be done to a packet. Offsets are in bytes from the start of the transport header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Offload {
    /// Nothing.
    None,
    /// The transport's own checksum, whose field is there.
    Checksum(usize),
    /// A checksum of something within the transport's payload.
    Within {
        /// Where its coverage begins.
        start: usize,
        /// Where its field is, from `start`.
        offset: u16,
    },
    /// It is many packets.
    Super(Super),
}

/// A super-packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Super {
    /// TCP segments or else UDP datagrams.
    pub(crate) tcp: bool,
    /// Length of the transport header with options.
    pub(crate) header_len: usize,
    /// Payload bytes of each.
    pub(crate) size: u16,
    /// CWR belongs to the first segment only.
    pub(crate) ecn: bool,
}

/// What stands behind the IP headers of the packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) version: Version,
    /// Where the transport header begins, in bytes from the start of the packet.
    pub(crate) at: usize,
    pub(crate) protocol: u8,
    pub(crate) is_fragment: bool,
    pub(crate) transport: &'a [u8],
}

impl Offload {
    /// Takes an offload header that agrees with the packet.
    #[inline]
    pub(crate) fn new(header: &vnet::Header, found: &Found<'_>) -> Result<Self, Reason> {
        match header.gso {
            Gso::None if header.needs_checksum() => Self::checksum(header, found),
            Gso::None => Ok(Self::None),
            Gso::TcpV4 | Gso::TcpV6 | Gso::UdpL4 => Self::super_packet(header, found),
            Gso::Udp | Gso::Other(_) => Err(Reason::OffloadKind),
        }
    }

    fn checksum(header: &vnet::Header, found: &Found<'_>) -> Result<Self, Reason> {
        let start = usize::from(header.csum_start).checked_sub(found.at).ok_or(Reason::OffloadHeader)?;
        let offset = usize::from(header.csum_offset);
        if found.is_fragment || start + offset + 2 > found.transport.len() {
            return Err(Reason::OffloadHeader);
        }
        let own = own_field(found.protocol);
        match own {
            Some((_, field)) if start == 0 && field == offset => Ok(Self::Checksum(field)),
            Some((header_len, _)) if start < header_len => Err(Reason::OffloadHeader),
            Some(_) | None => Ok(Self::Within { start, offset: header.csum_offset }),
        }
    }

    fn super_packet(header: &vnet::Header, found: &Found<'_>) -> Result<Self, Reason> {
        let (version, protocol, field) = match header.gso {
            Gso::TcpV4 => (Version::V4, TCP, tcp::at::CHECKSUM),
            Gso::TcpV6 => (Version::V6, TCP, tcp::at::CHECKSUM),
            Gso::UdpL4 => (found.version, UDP, udp::at::CHECKSUM),
            Gso::None | Gso::Udp | Gso::Other(_) => return Err(Reason::OffloadKind),
        };
        let points_there = !header.needs_checksum()
            || usize::from(header.csum_start) == found.at && usize::from(header.csum_offset) == field;
        let agreed = version == found.version
            && protocol == found.protocol
            && !found.is_fragment
            && header.gso_size > 0
            && points_there;
        let header_len = match protocol {
            TCP => tcp::Segment::parse(found.transport).ok().map(|segment| segment.header_len()),
            _ => (found.transport.len() >= udp::HEADER).then_some(udp::HEADER),
        };
        match header_len {
            Some(header_len) if agreed => {
                let (tcp, size, ecn) = (protocol == TCP, header.gso_size, header.ecn);
                Ok(Self::Super(Super { tcp, header_len, size, ecn }))
            }
            Some(_) | None => Err(Reason::OffloadHeader),
        }
    }

    /// The header for the tun device, the transport header being `at` bytes from the start of a packet of
    /// this version.
    #[inline]
    pub(crate) fn emit(self, version: Version, at: usize) -> vnet::Header {
        match self {
            Self::None => vnet::Header::default(),
            Self::Checksum(field) => partial(at, field as u16, at + field + 2),
            Self::Within { start, offset } => {
                partial(at + start, offset, at + start + usize::from(offset) + 2)
            }
            Self::Super(super_packet) => super_packet.emit(version, at),
        }
    }
}

impl Super {
    /// Length of the transport header and payload of the longest packet, out of `length` in all.
    pub(crate) fn longest(self, length: usize) -> usize {
        length.min(self.header_len + usize::from(self.size))
    }

    /// Where the transport's checksum field is.
    pub(crate) fn field(self) -> usize {
        if self.tcp { tcp::at::CHECKSUM } else { udp::at::CHECKSUM }
    }

    fn emit(self, version: Version, at: usize) -> vnet::Header {
        let gso = match (self.tcp, version) {
            (true, Version::V4) => Gso::TcpV4,
            (true, Version::V6) => Gso::TcpV6,
            (false, _) => Gso::UdpL4,
        };
        let header = partial(at, self.field() as u16, at + self.header_len);
        vnet::Header { gso, ecn: self.ecn, gso_size: self.size, ..header }
    }
}

fn partial(start: usize, offset: u16, hdr_len: usize) -> vnet::Header {
    vnet::Header {
        flags: vnet::NEEDS_CSUM,
        hdr_len: hdr_len as u16,
        csum_start: start as u16,
        csum_offset: offset,
        ..vnet::Header::default()
    }
}

/// The length of a transport header without options, and where its checksum is.
fn own_field(protocol: u8) -> Option<(usize, usize)> {
    match protocol {
        TCP => Some((tcp::HEADER, tcp::at::CHECKSUM)),
        UDP => Some((udp::HEADER, udp::at::CHECKSUM)),
        ICMPV4 | ICMPV6 => Some((icmpv4::HEADER, icmpv4::at::CHECKSUM)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP_BYTES: [u8; 60] = {
        let mut bytes = [7; 60];
        bytes[12] = 0x60;
        bytes
    };

    const PARTIAL: vnet::Header = vnet::Header {
        flags: vnet::NEEDS_CSUM,
        gso: Gso::None,
        ecn: false,
        hdr_len: 0,
        gso_size: 0,
        csum_start: 20,
        csum_offset: 16,
    };

    fn check(header: vnet::Header, found: Found<'_>, expected: Result<Offload, Reason>) {
        assert_eq!(Offload::new(&header, &found), expected, "{header:?}");
    }

    fn found(protocol: u8) -> Found<'static> {
        Found { version: Version::V4, at: 20, protocol, is_fragment: false, transport: &TCP_BYTES }
    }

    #[test]
    fn single_packets() {
        check(vnet::Header::default(), found(TCP), Ok(Offload::None));
        check(PARTIAL, found(TCP), Ok(Offload::Checksum(16)));
        check(vnet::Header { csum_offset: 6, ..PARTIAL }, found(UDP), Ok(Offload::Checksum(6)));
        check(vnet::Header { csum_offset: 2, ..PARTIAL }, found(ICMPV4), Ok(Offload::Checksum(2)));
        let within = vnet::Header { csum_start: 48, csum_offset: 6, ..PARTIAL };
        check(within, found(UDP), Ok(Offload::Within { start: 28, offset: 6 }));
        check(PARTIAL, found(47), Ok(Offload::Within { start: 0, offset: 16 }));
        check(vnet::Header { csum_offset: 6, ..PARTIAL }, found(TCP), Err(Reason::OffloadHeader));
        check(vnet::Header { csum_start: 19, ..PARTIAL }, found(TCP), Err(Reason::OffloadHeader));
        check(vnet::Header { csum_start: 63, ..PARTIAL }, found(47), Err(Reason::OffloadHeader));
        check(
            vnet::Header { csum_start: 0xffff, csum_offset: 0xffff, ..PARTIAL },
            found(47),
            Err(Reason::OffloadHeader),
        );
        check(PARTIAL, Found { is_fragment: true, ..found(TCP) }, Err(Reason::OffloadHeader));
    }

    #[test]
    fn super_packets() {
        let tso = vnet::Header { gso: Gso::TcpV4, gso_size: 10, ..PARTIAL };
        let expected = Super { tcp: true, header_len: 24, size: 10, ecn: false };
        check(tso, found(TCP), Ok(Offload::Super(expected)));
        check(vnet::Header { flags: 0, csum_start: 0, ..tso }, found(TCP), Ok(Offload::Super(expected)));
        check(
            vnet::Header { ecn: true, ..tso },
            found(TCP),
            Ok(Offload::Super(Super { ecn: true, ..expected })),
        );
        check(vnet::Header { gso_size: 0, ..tso }, found(TCP), Err(Reason::OffloadHeader));
        check(vnet::Header { gso: Gso::TcpV6, ..tso }, found(TCP), Err(Reason::OffloadHeader));
        check(vnet::Header { csum_start: 24, ..tso }, found(TCP), Err(Reason::OffloadHeader));
        check(tso, found(UDP), Err(Reason::OffloadHeader));
        check(tso, Found { is_fragment: true, ..found(TCP) }, Err(Reason::OffloadHeader));
        check(tso, Found { transport: &[7; 19], ..found(TCP) }, Err(Reason::OffloadHeader));
        let uso = vnet::Header { gso: Gso::UdpL4, csum_offset: 6, ..tso };
        check(uso, found(UDP), Ok(Offload::Super(Super { tcp: false, header_len: 8, ..expected })));
        check(uso, found(TCP), Err(Reason::OffloadHeader));
        check(vnet::Header { gso: Gso::Udp, ..tso }, found(UDP), Err(Reason::OffloadKind));
        check(vnet::Header { gso: Gso::Other(9), ..tso }, found(TCP), Err(Reason::OffloadKind));
    }

    #[test]
    fn what_the_device_is_told() {
        let packet = Super { tcp: true, header_len: 24, size: 10, ecn: true };
        let told = Offload::Super(packet).emit(Version::V6, 40);
        let expected =
            vnet::Header { gso: Gso::TcpV6, ecn: true, hdr_len: 64, gso_size: 10, csum_start: 40, ..PARTIAL };
        assert_eq!(told, expected);
        let told = Offload::Within { start: 28, offset: 6 }.emit(Version::V6, 40);
        assert_eq!(told, vnet::Header { hdr_len: 76, csum_start: 68, csum_offset: 6, ..PARTIAL });
        assert_eq!(Offload::None.emit(Version::V4, 20), vnet::Header::default());
        assert_eq!((packet.longest(30), packet.longest(35)), (30, 34));
    }
}
