//! The ICMP extension structure: RFC 4884. It follows the original datagram in an ICMP error whose length
//! attribute says where that ends.

use core::net::Ipv6Addr;

use crate::checksum::{self, Sum};
use crate::field;

/// Length of the structure's own header, in bytes.
pub const HEADER: usize = 4;
/// The shortest original datagram in front of a structure (RFC 4884 §4), in bytes.
pub const MIN_DATAGRAM: usize = 128;
/// Length of a [`node`] object, in bytes.
pub const NODE: usize = 24;

/// Original datagram and structure of an error's payload, the datagram being `length` bytes long by the
/// length attribute. There is no structure where the attribute is zero or leaves nothing for one.
#[must_use]
pub fn split(payload: &[u8], length: usize) -> (&[u8], &[u8]) {
    match payload.split_at_checked(length) {
        Some((datagram, structure)) if length >= MIN_DATAGRAM => (datagram, structure),
        Some(_) | None => (payload, &[]),
    }
}

/// A node identification object that holds an IPv6 address
/// (draft-ietf-intarea-extended-icmp-nodeid §3: class 5, C-type 4, address family 2).
#[must_use]
pub fn node(address: Ipv6Addr) -> [u8; NODE] {
    let mut object = [0; NODE];
    field::set16(&mut object, 0, NODE as u16);
    field::set16(&mut object, 2, NODE_CLASS << 8 | IP_ADDRESS);
    field::set16(&mut object, 4, FAMILY_IPV6);
    if let Some((_, to)) = object.split_last_chunk_mut::<16>() {
        *to = address.octets();
    }
    object
}

/// The header of a structure that has `object` behind all that `structure` has, which may be nothing. `None`
/// where `structure` is none of version 2 or of no whole number of words (RFC 4884 §7).
///
/// A checksum that covered `structure` covers both; a field of zero means that there is none and stays.
#[must_use]
pub fn header_with(structure: &[u8], object: &[u8]) -> Option<[u8; HEADER]> {
    let Some(header) = structure.first_chunk::<HEADER>() else {
        let sum = Sum::ZERO.word(VERSION).plus(Sum::of(object));
        return structure.is_empty().then(|| bytes(VERSION, sum.checksum()));
    };
    let first = u16::from_be_bytes([header[0], header[1]]);
    let checksum = u16::from_be_bytes([header[2], header[3]]);
    let known = first >> 12 == VERSION >> 12 && structure.len().is_multiple_of(4);
    let checksum = match checksum {
        0 => 0,
        some => checksum::update(some, 0, Sum::of(object).value()),
    };
    known.then(|| bytes(first, checksum))
}

fn bytes(first: u16, checksum: u16) -> [u8; HEADER] {
    let ([f0, f1], [c0, c1]) = (first.to_be_bytes(), checksum.to_be_bytes());
    [f0, f1, c0, c1]
}

/// Version 2, with the reserved bits.
const VERSION: u16 = 0x2000;
const NODE_CLASS: u16 = 5;
/// The object holds an address and no name.
const IP_ADDRESS: u16 = 4;
/// IANA address family number.
const FAMILY_IPV6: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    fn check_split(payload: usize, length: usize, expected: (usize, usize)) {
        let bytes = std::vec![7; payload];
        let (datagram, structure) = split(&bytes, length);
        assert_eq!((datagram.len(), structure.len()), expected);
    }

    #[test]
    fn where_a_structure_begins() {
        check_split(200, 0, (200, 0));
        check_split(200, 128, (128, 72));
        check_split(200, 124, (200, 0));
        check_split(200, 200, (200, 0));
        check_split(200, 204, (200, 0));
        check_split(0, 0, (0, 0));
    }

    #[test]
    fn an_object_with_an_address() {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x42);
        let expected = hex::bytes("0018 0504 0002 0000 20010db8 00000000 00000000 00000042");
        assert_eq!(node(address)[..], expected);
    }

    /// Whether the checksum is right after an object was appended; `None` where none can be.
    fn check(structure: &str, expected: Option<bool>) {
        let structure = hex::bytes(structure);
        let object = node(Ipv6Addr::LOCALHOST);
        let outcome = header_with(&structure, &object).map(|header| {
            assert_eq!(header[..2], [0x20, 0]);
            let rest = structure.get(HEADER..).unwrap_or_default();
            Sum::of(&[&header, rest, &object].concat()).is_valid()
        });
        assert_eq!(outcome, expected);
    }

    #[test]
    fn an_object_is_appended() {
        check("", Some(true));
        check("2000 dfff", Some(true));
        check("2000 8b49 0008 0101 12344179", Some(true));
        check("2000 8b4a 0008 0101 12344179", Some(false));
        check("2000 0000 0008 0101 12344179", Some(false));
        check("1000 efff", None);
        check("2000 dfff 00", None);
        check("2000", None);
        let without = header_with(&hex::bytes("2000 0000"), &node(Ipv6Addr::LOCALHOST));
        assert_eq!(without, Some([0x20, 0, 0, 0]));
    }
}
