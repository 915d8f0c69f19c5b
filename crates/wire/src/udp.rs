//! UDP: RFC 768.

use crate::Malformed;

/// Length of the header, in bytes.
pub const HEADER: usize = 8;

/// Where the fields are, in bytes from the start of the header.
pub mod at {
    /// Length of header and payload.
    pub const LENGTH: usize = 4;
    /// Checksum.
    pub const CHECKSUM: usize = 6;
}

/// The fields of a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Length of header and payload, in bytes.
    pub length: u16,
    /// Checksum; zero means none.
    pub checksum: u16,
}

/// A datagram whose header and payload are there.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The fields.
    pub header: Header,
    /// What the length says belongs to the datagram.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads a datagram out of an IP packet's payload.
    ///
    /// # Errors
    /// The header is cut short, or its length is below 8 or exceeds the bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (b, rest) = bytes.split_first_chunk::<HEADER>().ok_or(Malformed::Truncated)?;
        let header = Header {
            source_port: u16::from_be_bytes([b[0], b[1]]),
            destination_port: u16::from_be_bytes([b[2], b[3]]),
            length: u16::from_be_bytes([b[4], b[5]]),
            checksum: u16::from_be_bytes([b[6], b[7]]),
        };
        let payload = usize::from(header.length)
            .checked_sub(HEADER)
            .and_then(|length| rest.get(..length))
            .ok_or(Malformed::TotalLength)?;
        Ok(Self { header, payload })
    }
}

impl Header {
    /// The header's bytes, the checksum as it stands.
    #[inline]
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER] {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [l0, l1] = self.length.to_be_bytes();
        let [c0, c1] = self.checksum.to_be_bytes();
        [s0, s1, d0, d1, l0, l1, c0, c1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    fn check(text: &str, expected: Result<usize, Malformed>) {
        let bytes = hex::bytes(text);
        let datagram = Datagram::parse(&bytes);
        if let Ok(datagram) = &datagram {
            assert_eq!(datagram.header.emit(), bytes[..HEADER]);
        }
        assert_eq!(datagram.map(|datagram| datagram.payload.len()), expected, "{text}");
    }

    #[test]
    fn datagrams() {
        check("0035 c001 0008 0000", Ok(0));
        check("0035 c001 000a abcd aabb", Ok(2));
        check("0035 c001 0009 abcd aabb", Ok(1));
        check("0035 c001 000b abcd aabb", Err(Malformed::TotalLength));
        check("0035 c001 0007 abcd aabb", Err(Malformed::TotalLength));
        check("0035 c001 0000 abcd aabb", Err(Malformed::TotalLength));
        check("0035 c001 0008 ab", Err(Malformed::Truncated));
        check("", Err(Malformed::Truncated));
    }
}
