//! Either version of IP, and the protocol numbers that they share.

use crate::checksum::{self, Sum};
use crate::{Malformed, ipv4, ipv6};

/// Hop limit of what is not forwarded but made here (RFC 1700, IP TIME TO LIVE PARAMETER).
pub const HOP_LIMIT: u8 = 64;
/// IANA protocol number of ICMP for IPv4.
pub const ICMPV4: u8 = 1;
/// IANA protocol number of IPv4 in IP (RFC 2003, RFC 2473).
pub const IPV4: u8 = 4;
/// IANA protocol number of TCP.
pub const TCP: u8 = 6;
/// IANA protocol number of UDP.
pub const UDP: u8 = 17;
/// IANA protocol number of DCCP (RFC 4340).
pub const DCCP: u8 = 33;
/// IANA protocol number of IPv6 in IP (RFC 4213).
pub const IPV6: u8 = 41;
/// IANA protocol number of GRE (RFC 2784).
pub const GRE: u8 = 47;
/// IANA protocol number of ICMP for IPv6.
pub const ICMPV6: u8 = 58;

/// IANA protocol number of UDP-Lite (RFC 3828).
pub const UDP_LITE: u8 = 136;

/// The version of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A packet of either version.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// IPv4.
    V4(ipv4::Packet<'a>),
    /// IPv6.
    V6(ipv6::Packet<'a>),
}

impl<'a> Packet<'a> {
    /// Reads a whole packet.
    ///
    /// # Errors
    /// As [`ipv4::Packet::parse`] and [`ipv6::Packet::parse`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match version(bytes)? {
            Version::V4 => ipv4::Packet::parse(bytes).map(Self::V4),
            Version::V6 => ipv6::Packet::parse(bytes).map(Self::V6),
        }
    }

    /// Reads a packet whose payload may be cut short, as an ICMP error quotes it.
    ///
    /// # Errors
    /// The header is cut short or wrong.
    #[inline]
    pub fn parse_cut(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match version(bytes)? {
            Version::V4 => ipv4::Packet::parse_cut(bytes).map(Self::V4),
            Version::V6 => ipv6::Packet::parse_cut(bytes).map(Self::V6),
        }
    }

    /// Which version.
    #[inline]
    #[must_use]
    pub fn version(&self) -> Version {
        match self {
            Self::V4(_) => Version::V4,
            Self::V6(_) => Version::V6,
        }
    }

    /// Length of the header with IPv4 options and without IPv6 extension headers, in bytes.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        match self {
            Self::V4(packet) => packet.header_len(),
            Self::V6(_) => ipv6::HEADER,
        }
    }

    /// Length of the packet by its own header, in bytes; a cut one has fewer bytes than that.
    #[inline]
    #[must_use]
    pub fn total_len(&self) -> usize {
        match self {
            Self::V4(packet) => usize::from(packet.header.total_len),
            Self::V6(packet) => ipv6::HEADER + usize::from(packet.header.payload_len),
        }
    }

    /// What is behind the header.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        match self {
            Self::V4(packet) => packet.payload,
            Self::V6(packet) => packet.payload,
        }
    }

    /// The protocol of the payload; for IPv6 that may be an extension header.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> u8 {
        match self {
            Self::V4(packet) => packet.header.protocol,
            Self::V6(packet) => packet.header.next_header,
        }
    }

    /// DSCP and ECN.
    #[inline]
    #[must_use]
    pub fn class(&self) -> u8 {
        match self {
            Self::V4(packet) => packet.header.tos,
            Self::V6(packet) => packet.header.traffic_class,
        }
    }

    /// Whether this is a part of a fragmented IPv4 packet; IPv6 says so in an extension header.
    #[inline]
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        match self {
            Self::V4(packet) => packet.is_fragment(),
            Self::V6(_) => false,
        }
    }

    /// The sum of the pseudo-header for `length` bytes of `protocol`.
    #[inline]
    #[must_use]
    pub fn pseudo(&self, protocol: u8, length: u16) -> Sum {
        match self {
            Self::V4(packet) => {
                let header = &packet.header;
                checksum::pseudo4(header.source, header.destination, protocol, length)
            }
            Self::V6(packet) => {
                let header = &packet.header;
                checksum::pseudo6(header.source, header.destination, protocol, length.into())
            }
        }
    }
}

/// The version of a packet by its first four bits.
///
/// # Errors
/// No bytes, or neither 4 nor 6.
#[inline]
pub fn version(bytes: &[u8]) -> Result<Version, Malformed> {
    match bytes.first().ok_or(Malformed::Truncated)? >> 4 {
        4 => Ok(Version::V4),
        6 => Ok(Version::V6),
        _ => Err(Malformed::Version),
    }
}

/// Version and traffic class of a packet of which at least the fixed header is there.
///
/// # Errors
/// Neither version, or fewer bytes than its fixed header has.
#[inline]
pub fn class(bytes: &[u8]) -> Result<(Version, u8), Malformed> {
    let version = version(bytes)?;
    let needed = match version {
        Version::V4 => ipv4::HEADER,
        Version::V6 => ipv6::HEADER,
    };
    let ([first, second], true) = (bytes.first_chunk().ok_or(Malformed::Truncated)?, bytes.len() >= needed)
    else {
        return Err(Malformed::Truncated);
    };
    let class = match version {
        Version::V4 => *second,
        Version::V6 => first << 4 | second >> 4,
    };
    Ok((version, class))
}

/// Changes the traffic class in place, with the IPv4 header checksum; leaves alone what is no header.
#[inline]
pub fn set_class(bytes: &mut [u8], class: u8) {
    match version(bytes) {
        Ok(Version::V4) => {
            if let Some(header) = bytes.first_chunk_mut() {
                ipv4::set_tos(header, class);
            }
        }
        Ok(Version::V6) => {
            if let Some(header) = bytes.first_chunk_mut() {
                ipv6::set_traffic_class(header, class);
            }
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn check(first: [u8; 2], length: usize, expected: Result<(Version, u8), Malformed>) {
        let mut bytes = vec![0; length];
        for (to, from) in bytes.iter_mut().zip(first) {
            *to = from;
        }
        assert_eq!(class(&bytes), expected, "{first:x?}, {length} bytes");
    }

    #[test]
    fn classes() {
        check([0x45, 0xe0], 20, Ok((Version::V4, 0xe0)));
        check([0x45, 0x80], 1500, Ok((Version::V4, 0x80)));
        check([0x6e, 0x0f], 40, Ok((Version::V6, 0xe0)));
        check([0x68, 0x3f], 40, Ok((Version::V6, 0x83)));
        check([0x45, 0], 19, Err(Malformed::Truncated));
        check([0x60, 0], 39, Err(Malformed::Truncated));
        check([0x45, 0], 0, Err(Malformed::Truncated));
        check([0x45, 0], 1, Err(Malformed::Truncated));
        check([0x55, 0], 40, Err(Malformed::Version));
        check([0x00, 0], 40, Err(Malformed::Version));
    }

    #[test]
    fn no_header_is_left_alone() {
        for mut bytes in [vec![], vec![0x45; 19], vec![0x60; 39], vec![0x50; 60]] {
            let before = bytes.clone();
            set_class(&mut bytes, 3);
            assert_eq!(bytes, before);
        }
    }
}
