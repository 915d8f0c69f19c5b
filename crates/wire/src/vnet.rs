//! `struct virtio_net_hdr` as a tun device with `IFF_VNET_HDR` reads and writes it:
//! `linux/virtio_net.h`. All fields little-endian.

/// Length of the header, in bytes: what `TUNSETVNETHDRSZ` is by default.
pub const HEADER: usize = 10;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum field holds the sum of the pseudo-header only.
pub const NEEDS_CSUM: u8 = 1;
/// `VIRTIO_NET_HDR_F_DATA_VALID`: somebody has found the checksum right.
pub const DATA_VALID: u8 = 2;
/// `VIRTIO_NET_HDR_GSO_ECN`, or'ed to a TCP type: CWR belongs to the first segment only.
pub const GSO_ECN: u8 = 0x80;

/// What kind of super-packet, if any: the `gso_type` without [`GSO_ECN`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Gso {
    /// `VIRTIO_NET_HDR_GSO_NONE`: a single packet.
    #[default]
    None,
    /// `VIRTIO_NET_HDR_GSO_TCPV4`.
    TcpV4,
    /// `VIRTIO_NET_HDR_GSO_UDP`: UFO, one datagram to be made into IP fragments.
    Udp,
    /// `VIRTIO_NET_HDR_GSO_TCPV6`.
    TcpV6,
    /// `VIRTIO_NET_HDR_GSO_UDP_L4`: USO, a run of datagrams.
    UdpL4,
    /// A number that this program does not know.
    Other(u8),
}

/// The fields.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Header {
    /// [`NEEDS_CSUM`].
    pub flags: u8,
    /// What kind of super-packet.
    pub gso: Gso,
    /// [`GSO_ECN`].
    pub ecn: bool,
    /// Length of all headers, in bytes: a hint, not to be relied on.
    pub hdr_len: u16,
    /// Payload bytes of each segment.
    pub gso_size: u16,
    /// Where the checksum's coverage begins, in bytes from the start of the packet.
    pub csum_start: u16,
    /// Where the checksum field is, in bytes from `csum_start`.
    pub csum_offset: u16,
}

impl Header {
    /// Reads a header.
    #[must_use]
    pub fn parse(bytes: &[u8; HEADER]) -> Self {
        let [flags, gso, h0, h1, g0, g1, s0, s1, o0, o1] = *bytes;
        Self {
            flags,
            gso: Gso::from_number(gso & !GSO_ECN),
            ecn: gso & GSO_ECN != 0,
            hdr_len: u16::from_le_bytes([h0, h1]),
            gso_size: u16::from_le_bytes([g0, g1]),
            csum_start: u16::from_le_bytes([s0, s1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
        }
    }

    /// The header's bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER] {
        let gso = self.gso.number() | if self.ecn { GSO_ECN } else { 0 };
        let [h0, h1] = self.hdr_len.to_le_bytes();
        let [g0, g1] = self.gso_size.to_le_bytes();
        let [s0, s1] = self.csum_start.to_le_bytes();
        let [o0, o1] = self.csum_offset.to_le_bytes();
        [self.flags, gso, h0, h1, g0, g1, s0, s1, o0, o1]
    }

    /// Whether the checksum is still to be completed.
    #[inline]
    #[must_use]
    pub fn needs_checksum(&self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }
}

impl Gso {
    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::TcpV4,
            3 => Self::Udp,
            4 => Self::TcpV6,
            5 => Self::UdpL4,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::TcpV4 => 1,
            Self::Udp => 3,
            Self::TcpV6 => 4,
            Self::UdpL4 => 5,
            Self::Other(other) => other & !GSO_ECN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: [u8; HEADER], expected: Header) {
        assert_eq!(Header::parse(&bytes), expected);
        assert_eq!(expected.emit(), bytes);
    }

    #[test]
    fn headers() {
        check([0; HEADER], Header::default());
        let checksum = Header { flags: NEEDS_CSUM, csum_start: 20, csum_offset: 6, ..Header::default() };
        check([1, 0, 0, 0, 0, 0, 20, 0, 6, 0], checksum);
        let tso = Header { gso: Gso::TcpV4, hdr_len: 52, gso_size: 1448, csum_offset: 16, ..checksum };
        check([1, 1, 52, 0, 0xa8, 5, 20, 0, 16, 0], tso);
        check([1, 0x81, 52, 0, 0xa8, 5, 20, 0, 16, 0], Header { ecn: true, ..tso });
        for (number, gso) in
            [(3, Gso::Udp), (4, Gso::TcpV6), (5, Gso::UdpL4), (2, Gso::Other(2)), (0x7f, Gso::Other(0x7f))]
        {
            check([1, number, 52, 0, 0xa8, 5, 20, 0, 16, 0], Header { gso, ..tso });
        }
    }
}
