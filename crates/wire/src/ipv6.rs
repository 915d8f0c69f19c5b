//! IPv6: RFC 8200. Extension headers are in [`crate::ext`].

use core::net::Ipv6Addr;

use crate::Malformed;

/// Length of the header, in bytes.
pub const HEADER: usize = 40;
/// What every link takes at least, in bytes (RFC 8200 §5).
pub const MIN_MTU: u32 = 1280;

/// Where the fields are, in bytes from the start of the header.
pub mod at {
    /// Payload length.
    pub const PAYLOAD_LEN: usize = 4;
    /// Next header.
    pub const NEXT_HEADER: usize = 6;
}

/// The fields of a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// DSCP and ECN (RFC 2474, RFC 3168).
    pub traffic_class: u8,
    /// 20 bits.
    pub flow_label: u32,
    /// Length of everything behind this header, in bytes.
    pub payload_len: u16,
    /// The protocol of what follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
}

/// A packet whose header and payload are there.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The fields.
    pub header: Header,
    /// What the payload length says belongs to the packet; padding behind it is left out.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a whole packet.
    ///
    /// # Errors
    /// The header is cut short or wrong, or the payload length exceeds the bytes. A jumbogram
    /// (RFC 2675: payload length zero before a hop-by-hop header) counts as a wrong length.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let packet = Self::parse_cut(bytes)?;
        let jumbo = packet.header.payload_len == 0 && packet.header.next_header == HOP_BY_HOP;
        if jumbo || packet.payload.len() < usize::from(packet.header.payload_len) {
            return Err(Malformed::TotalLength);
        }
        Ok(packet)
    }

    /// Reads a packet whose payload may be cut short, as an ICMP error quotes it.
    ///
    /// # Errors
    /// The header is cut short or wrong.
    #[inline]
    pub fn parse_cut(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (head, rest) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
        let (source, rest) = rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        let (destination, rest) = rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        let header = Header::read(head, source, destination);
        if head[0] >> 4 != 6 {
            return Err(Malformed::Version);
        }
        let payload_len = usize::from(header.payload_len);
        Ok(Self { header, payload: rest.get(..payload_len).unwrap_or(rest) })
    }
}

impl Header {
    /// The header's bytes. Only the low 20 bits of the flow label count.
    #[inline]
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER] {
        let first = 0x6000_0000 | u32::from(self.traffic_class) << 20 | self.flow_label & FLOW_LABEL;
        let [f0, f1, f2, f3] = first.to_be_bytes();
        let [len0, len1] = self.payload_len.to_be_bytes();
        let mut bytes = [0; HEADER];
        if let Some((head, addresses)) = bytes.split_first_chunk_mut::<8>()
            && let Some((source, rest)) = addresses.split_first_chunk_mut::<16>()
            && let Some(destination) = rest.first_chunk_mut::<16>()
        {
            *head = [f0, f1, f2, f3, len0, len1, self.next_header, self.hop_limit];
            *source = self.source.octets();
            *destination = self.destination.octets();
        }
        bytes
    }

    fn read(head: &[u8; 8], source: &[u8; 16], destination: &[u8; 16]) -> Self {
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        Self {
            traffic_class: (first >> 20) as u8,
            flow_label: first & FLOW_LABEL,
            payload_len: u16::from_be_bytes([head[4], head[5]]),
            next_header: head[6],
            hop_limit: head[7],
            source: Ipv6Addr::from(*source),
            destination: Ipv6Addr::from(*destination),
        }
    }
}

/// Changes the traffic class in place.
#[inline]
pub fn set_traffic_class(header: &mut [u8; HEADER], class: u8) {
    header[0] = header[0] & 0xf0 | class >> 4;
    header[1] = header[1] & 0x0f | class << 4;
}

const HOP_BY_HOP: u8 = 0;
const FLOW_LABEL: u32 = 0x000f_ffff;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    const PLAIN: &str = "
        6b 81 2345  0003 3b 40                 # class b8, flow 12345, no next header
        20010db8000000000000000000000001
        20010db8000000000000000000000002
        aa bb cc";

    fn check(text: &str, expected: Result<usize, Malformed>) {
        let bytes = hex::bytes(text);
        let length = Packet::parse(&bytes).map(|packet| packet.payload.len());
        assert_eq!(length, expected, "{text}");
    }

    #[test]
    fn lengths() {
        check(PLAIN, Ok(3));
        check("", Err(Malformed::Truncated));
        check("60", Err(Malformed::Truncated));
        check(&(PLAIN.replace("0003", "0002")), Ok(2));
        check(&PLAIN.replace("0003", "0000"), Ok(0));
        check(&PLAIN.replace("0003", "0004"), Err(Malformed::TotalLength));
        check(&PLAIN.replace("6b 81", "4b 81"), Err(Malformed::Version));
        // RFC 2675
        check(&PLAIN.replace("0003 3b", "0000 00"), Err(Malformed::TotalLength));
    }

    #[test]
    fn emits_what_it_parses() {
        let bytes = hex::bytes(PLAIN);
        let header = Packet::parse(&bytes).unwrap().header;
        assert_eq!(header.traffic_class, 0xb8);
        assert_eq!(header.flow_label, 0x12345);
        assert_eq!(header.hop_limit, 64);
        assert_eq!(header.emit(), bytes[..40]);
    }

    #[test]
    fn class_in_place_touches_nothing_else() {
        for class in 0..=255 {
            let mut bytes = hex::bytes(PLAIN);
            let header = Packet::parse(&bytes).unwrap().header;
            set_traffic_class(bytes.first_chunk_mut().unwrap(), class);
            let expected = Header { traffic_class: class, ..header };
            assert_eq!(Packet::parse(&bytes).unwrap().header, expected);
        }
    }
}
