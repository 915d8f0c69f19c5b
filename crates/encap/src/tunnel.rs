//! Into the tunnel and out of it.

use core::ops::Range;

use straddle_wire::ip::{self, Version};
use straddle_wire::{gre, ipv4, ipv6};

use crate::{Reason, ecn};

/// What a carrier puts between outer and inner packet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// IPv4 and IPv6 in GRE in IPv6: RFC 2784, RFC 2890, RFC 7676.
    Ip6gre {
        /// The key of both directions; none means that no key field is sent or accepted.
        key: Option<u32>,
    },
    /// IPv4 in IPv6: RFC 2473.
    Ip4ip6,
    /// IPv6 in IPv4: RFC 4213.
    Sit,
}

impl Kind {
    /// Bytes that the carrier adds, the outer IP header included.
    #[must_use]
    pub const fn overhead(self) -> u16 {
        match self {
            Self::Ip6gre { key: None } => ipv6::HEADER as u16 + 4,
            Self::Ip6gre { key: Some(_) } => ipv6::HEADER as u16 + 8,
            Self::Ip4ip6 => ipv6::HEADER as u16,
            Self::Sit => ipv4::HEADER as u16,
        }
    }

    /// The protocol number in the outer IP header.
    #[must_use]
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Ip6gre { .. } => ip::GRE,
            Self::Ip4ip6 => ip::IPV4,
            Self::Sit => ip::IPV6,
        }
    }
}

/// The bytes between outer IP header and inner packet: 0, 4 or 8.
pub type Prefix = gre::Bytes;

/// What to send around an inner packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outer {
    /// Goes before the inner packet.
    pub prefix: Prefix,
    /// DSCP and ECN of the outer IP header.
    pub traffic_class: u8,
}

/// What goes around `inner`, of which at least the fixed IP header must be there.
///
/// The inner DSCP is copied outwards (RFC 2983 §3, uniform at ingress), so is ECN (RFC 6040 §4.1,
/// normal mode).
///
/// # Errors
/// [`Reason::InnerVersion`] where the carrier does not take that version, [`Reason::Truncated`].
#[inline]
pub fn encapsulate(kind: Kind, inner: &[u8]) -> Result<Outer, Reason> {
    let (version, traffic_class) = ip::class(inner).map_err(Reason::of_inner)?;
    let prefix = match (kind, version) {
        (Kind::Ip6gre { key }, version) => gre_header(key, version).emit(),
        (Kind::Ip4ip6, Version::V4) | (Kind::Sit, Version::V6) => Prefix::default(),
        (Kind::Ip4ip6, Version::V6) | (Kind::Sit, Version::V4) => {
            return Err(Reason::InnerVersion);
        }
    };
    Ok(Outer { prefix, traffic_class })
}

/// Where the inner packet lies in `payload`, which is what follows the outer IP header; bytes behind
/// the inner packet's own length are left out.
///
/// The outer ECN mark is combined into the inner header in place (RFC 6040 §4.2), the IPv4 header
/// checksum with it; the inner DSCP stays (RFC 2983 §3, pipe at egress).
///
/// # Errors
/// The reason why the packet must be dropped; then `payload` is unchanged.
#[inline]
pub fn decapsulate(kind: Kind, payload: &mut [u8], outer_class: u8) -> Result<Range<usize>, Reason> {
    let (version, start) = match kind {
        Kind::Ip6gre { key } => open_gre(key, payload)?,
        Kind::Ip4ip6 => (Version::V4, 0),
        Kind::Sit => (Version::V6, 0),
    };
    let inner = payload.get_mut(start..).ok_or(Reason::Truncated)?;
    let packet = ip::Packet::parse(inner).map_err(Reason::of_inner)?;
    if packet.version() != version {
        return Err(Reason::InnerVersion);
    }
    let end = start + packet.total_len();
    let class = packet.class();
    let combined = ecn::combine(class, outer_class)?;
    if combined != class {
        ip::set_class(inner, combined);
    }
    Ok(start..end)
}

/// The announced version, and where the inner packet begins.
fn open_gre(key: Option<u32>, payload: &[u8]) -> Result<(Version, usize), Reason> {
    let packet = gre::Packet::parse(payload).map_err(Reason::of_gre)?;
    if !packet.checksum_is_valid() {
        return Err(Reason::GreChecksum);
    }
    if packet.header.key != key {
        return Err(Reason::GreKey);
    }
    let version = match packet.header.protocol {
        gre::IPV4 => Version::V4,
        gre::IPV6 => Version::V6,
        _ => return Err(Reason::GreProtocol),
    };
    Ok((version, packet.header_len()))
}

fn gre_header(key: Option<u32>, version: Version) -> gre::Header {
    gre::Header {
        checksum: None,
        key,
        sequence: None,
        protocol: match version {
            Version::V4 => gre::IPV4,
            Version::V6 => gre::IPV6,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hex, sample};
    use std::vec::Vec;

    const GRE: Kind = Kind::Ip6gre { key: None };
    const KEYED: Kind = Kind::Ip6gre { key: Some(0x0102_0304) };

    fn check_in(kind: Kind, inner: &[u8], expected: Result<(&str, u8), Reason>) {
        let outer = encapsulate(kind, inner);
        let expected = expected.map(|(prefix, class)| (hex::bytes(prefix), class));
        let outer = outer.map(|outer| (outer.prefix.as_bytes().to_vec(), outer.traffic_class));
        assert_eq!(outer, expected);
        if let Ok((prefix, _)) = outer {
            let ip = if kind == Kind::Sit { 20 } else { 40 };
            assert_eq!(usize::from(kind.overhead()), ip + prefix.len());
        }
    }

    #[test]
    fn prefixes_and_classes() {
        let four = |tos| sample::ip4(59.into(), |ip| ip_class(ip, tos), &[1]);
        let six = |class| sample::ip6(59.into(), |ip| ip.traffic_class = class, &[1]);
        check_in(GRE, &four(0), Ok(("0000 0800", 0)));
        check_in(GRE, &six(0xb8), Ok(("0000 86dd", 0xb8)));
        check_in(KEYED, &four(0xe0), Ok(("2000 0800 01020304", 0xe0)));
        check_in(KEYED, &six(0x80), Ok(("2000 86dd 01020304", 0x80)));
        check_in(Kind::Ip4ip6, &four(0x03), Ok(("", 0x03)));
        check_in(Kind::Sit, &six(0xe1), Ok(("", 0xe1)));
        check_in(Kind::Ip4ip6, &six(0), Err(Reason::InnerVersion));
        check_in(Kind::Sit, &four(0), Err(Reason::InnerVersion));
        check_in(GRE, &[0x50; 40], Err(Reason::InnerVersion));
        check_in(GRE, &four(0)[..19], Err(Reason::Truncated));
        check_in(Kind::Sit, &six(0)[..39], Err(Reason::Truncated));
        check_in(GRE, &[], Err(Reason::Truncated));
    }

    fn ip_class(ip: &mut etherparse::Ipv4Header, tos: u8) {
        ip.dscp = (tos >> 2).try_into().unwrap();
        ip.ecn = (tos & 3).try_into().unwrap();
    }

    #[test]
    fn numbers() {
        assert_eq!([GRE, Kind::Ip4ip6, Kind::Sit].map(Kind::protocol), [47, 4, 41]);
        assert_eq!([GRE, KEYED, Kind::Ip4ip6, Kind::Sit].map(Kind::overhead), [44, 48, 40, 20]);
    }

    fn check_out(kind: Kind, prefix: &str, inner: &[u8], expected: Result<usize, Reason>) {
        let mut payload = hex::bytes(prefix);
        let start = payload.len();
        payload.extend(inner);
        let before = payload.clone();
        let range = decapsulate(kind, &mut payload, 0);
        assert_eq!(range, expected.map(|length| start..start + length), "{prefix}");
        assert_eq!(payload, before);
    }

    #[test]
    fn gre() {
        let four = hex::bytes("45000015 00010000 403b0000 c0000201 c6336402 aa");
        let six = sample::ip6(59.into(), |_| {}, &[1, 2]);
        check_out(GRE, "0000 0800", &four, Ok(21));
        check_out(GRE, "0000 86dd", &six, Ok(42));
        check_out(GRE, "1000 86dd 00000000", &six, Ok(42));
        check_out(KEYED, "2000 0800 01020304", &four, Ok(21));
        check_out(KEYED, "3000 0800 01020304 ffffffff", &four, Ok(21));
        check_out(GRE, "8000 0800 5c75 0000", &four, Ok(21));
        check_out(GRE, "8000 0800 5c74 0000", &four, Err(Reason::GreChecksum));
        check_out(GRE, "2000 0800 01020304", &four, Err(Reason::GreKey));
        check_out(KEYED, "0000 0800", &four, Err(Reason::GreKey));
        check_out(KEYED, "2000 0800 01020305", &four, Err(Reason::GreKey));
        check_out(GRE, "0000 0806", &four, Err(Reason::GreProtocol));
        check_out(GRE, "0000 6558", &four, Err(Reason::GreProtocol));
        check_out(GRE, "0001 0800", &four, Err(Reason::GreVersion));
        check_out(GRE, "4000 0800", &four, Err(Reason::GreReserved));
        check_out(GRE, "0000 86dd", &four, Err(Reason::InnerVersion));
        check_out(GRE, "0000 0800", &six, Err(Reason::InnerVersion));
        check_out(GRE, "0000 0800", &[], Err(Reason::Truncated));
        check_out(GRE, "0000 08", &[], Err(Reason::Truncated));
    }

    #[test]
    fn inner_lengths() {
        let mut four = sample::udp(false, &[1, 2, 3]);
        let length = four.len();
        check_out(Kind::Ip4ip6, "", &four[..length - 1], Err(Reason::InnerLength));
        check_out(Kind::Ip4ip6, "", &four[..19], Err(Reason::Truncated));
        four.extend([0; 9]);
        check_out(Kind::Ip4ip6, "", &four, Ok(length));
        four[2..4].fill(0);
        check_out(Kind::Ip4ip6, "", &four, Err(Reason::InnerLength));
        let six = sample::udp(true, &[1, 2, 3]);
        check_out(Kind::Sit, "", &six, Ok(51));
        check_out(Kind::Sit, "", &six[..50], Err(Reason::InnerLength));
        check_out(Kind::Ip4ip6, "", &six, Err(Reason::InnerVersion));
    }

    fn check_mark(inner: u8, outer: u8, expected: Result<u8, Reason>) {
        let four = sample::ip4(59.into(), |ip| ip_class(ip, inner), &[1]);
        let six = sample::ip6(59.into(), |ip| ip.traffic_class = inner, &[1]);
        for (kind, packet) in [(Kind::Ip4ip6, four), (Kind::Sit, six)] {
            let mut bytes = packet.clone();
            let outcome = decapsulate(kind, &mut bytes, outer);
            let outcome = outcome.map(|range| ip::class(&bytes[range]).unwrap().1);
            assert_eq!(outcome, expected);
            let changed: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] != packet[*at]).collect();
            assert!(changed.iter().all(|at| [1, 10, 11].contains(at)));
            if let (Kind::Ip4ip6, Ok(_)) = (kind, outcome) {
                let packet = ipv4::Packet::parse(&bytes).unwrap();
                assert!(packet.checksum_is_valid());
            }
        }
    }

    #[test]
    fn congestion_marks() {
        check_mark(0xb8, 0x00, Ok(0xb8));
        check_mark(0xb8, 0x02, Ok(0xb8));
        check_mark(0xb8, 0x03, Err(Reason::EcnNotEct));
        check_mark(0xe2, 0x03, Ok(0xe3));
        check_mark(0x82, 0xb9, Ok(0x81));
        check_mark(0x01, 0x02, Ok(0x01));
        check_mark(0x03, 0x00, Ok(0x03));
    }

    #[test]
    fn a_wrong_inner_checksum_stays_wrong() {
        let mut bytes = sample::ip4(59.into(), |ip| ip_class(ip, 2), &[1]);
        bytes[10] ^= 0x55;
        decapsulate(Kind::Ip4ip6, &mut bytes, 3).unwrap();
        assert!(!ipv4::Packet::parse(&bytes).unwrap().checksum_is_valid());
    }
}
