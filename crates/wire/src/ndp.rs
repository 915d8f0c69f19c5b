//! Neighbour discovery: the messages by which a link's hosts find each other (RFC 4861 §4.3, §4.4), on links
//! whose addresses have six bytes.

use core::net::Ipv6Addr;

use crate::icmpv6::{HEADER, Header, Message};
use crate::{Malformed, icmpv6};

/// Type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// Type of a neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;
/// The hop limit that no router leaves: a message with it comes from the link itself (RFC 4861 §7.1).
pub const HOP_LIMIT: u8 = 255;
/// Length of either message with the link-layer address that it tells, in bytes.
pub const LONGEST: usize = HEADER + 16 + OPTION;

/// A link-layer address.
pub type LinkAddress = [u8; 6];

/// Asks who has an address, or whether its host is still there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Solicitation {
    /// The address that is asked for.
    pub target: Ipv6Addr,
    /// Where the asking host is.
    pub source_link: Option<LinkAddress>,
}

/// Says where an address is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Advertisement {
    /// R flag: the sender is a router.
    pub router: bool,
    /// S flag: a solicitation was answered.
    pub solicited: bool,
    /// O flag: this counts more than what was known.
    pub r#override: bool,
    /// The address that is told of.
    pub target: Ipv6Addr,
    /// Where it is.
    pub target_link: Option<LinkAddress>,
}

impl Solicitation {
    /// Reads one from its ICMPv6 header on. The hop limit, the checksum and the addresses of the packet are for
    /// others to see.
    ///
    /// # Errors
    /// It is no valid solicitation (RFC 4861 §7.1.1): of another type or code ([`Malformed::Reserved`]), for a
    /// multicast address (the same), cut short, or with an option that has no length.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (header, target, options) = parts(bytes)?;
        if header.kind != SOLICITATION || header.code != 0 || target.is_multicast() {
            return Err(Malformed::Reserved);
        }
        Ok(Self { target, source_link: link_address(SOURCE_LINK, options)? })
    }

    /// The message, with its checksum, as `source` sends it to `destination`, in `room`; how many bytes it has.
    #[must_use]
    pub fn emit(&self, source: Ipv6Addr, destination: Ipv6Addr, room: &mut [u8; LONGEST]) -> usize {
        let header = Header { kind: SOLICITATION, code: 0, checksum: 0, rest: 0 };
        let option = self.source_link.map(|link| (SOURCE_LINK, link));
        emit(header, self.target, option, source, destination, room)
    }
}

impl Advertisement {
    /// Reads one from its ICMPv6 header on, as [`Solicitation::parse`].
    ///
    /// # Errors
    /// It is no valid advertisement (RFC 4861 §7.1.2), as there.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (header, target, options) = parts(bytes)?;
        if header.kind != ADVERTISEMENT || header.code != 0 || target.is_multicast() {
            return Err(Malformed::Reserved);
        }
        Ok(Self {
            router: header.rest & ROUTER != 0,
            solicited: header.rest & SOLICITED != 0,
            r#override: header.rest & OVERRIDE != 0,
            target,
            target_link: link_address(TARGET_LINK, options)?,
        })
    }

    /// The message, as [`Solicitation::emit`].
    #[must_use]
    pub fn emit(&self, source: Ipv6Addr, destination: Ipv6Addr, room: &mut [u8; LONGEST]) -> usize {
        let flags = [(self.router, ROUTER), (self.solicited, SOLICITED), (self.r#override, OVERRIDE)];
        let rest = flags.into_iter().filter(|(set, _)| *set).fold(0, |rest, (_, flag)| rest | flag);
        let header = Header { kind: ADVERTISEMENT, code: 0, checksum: 0, rest };
        let option = self.target_link.map(|link| (TARGET_LINK, link));
        emit(header, self.target, option, source, destination, room)
    }
}

/// The multicast group that hears solicitations of an address (RFC 4291 §2.7.1).
#[must_use]
pub const fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(SOLICITED_NODE | target.to_bits() & 0xff_ffff)
}

/// Header, target and options.
fn parts(bytes: &[u8]) -> Result<(Header, Ipv6Addr, &[u8]), Malformed> {
    let Message { header, payload } = Message::parse(bytes)?;
    let (target, options) = payload.split_first_chunk::<16>().ok_or(Malformed::Truncated)?;
    Ok((header, Ipv6Addr::from(*target), options))
}

/// The first option of this type. All are walked: one without a length makes the message invalid.
fn link_address(wanted: u8, mut options: &[u8]) -> Result<Option<LinkAddress>, Malformed> {
    let mut found = None;
    while let [kind, units, ..] = options {
        let length = usize::from(*units) * OPTION;
        if length == 0 {
            return Err(Malformed::HeaderLength);
        }
        let (option, rest) = options.split_at_checked(length).ok_or(Malformed::Truncated)?;
        if let ([_, 1, address @ ..], true) = (option, *kind == wanted) {
            found = found.or(address.first_chunk::<6>().copied());
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(Malformed::Truncated) }
}

fn emit(
    header: Header,
    target: Ipv6Addr,
    option: Option<(u8, LinkAddress)>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    room: &mut [u8; LONGEST],
) -> usize {
    let mut body = [0; LONGEST - HEADER];
    let length = if option.is_some() { body.len() } else { body.len() - OPTION };
    let [kind, l0, l1, l2, l3, l4, l5] =
        option.map_or([0; 7], |(kind, [a, b, c, d, e, f])| [kind, a, b, c, d, e, f]);
    let bytes = target.octets().into_iter().chain([kind, 1, l0, l1, l2, l3, l4, l5]);
    body.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    let body = body.get(..length).unwrap_or_default();
    let head = icmpv6::emit(&header, source, destination, body);
    room.iter_mut().zip(head.iter().chain(body)).for_each(|(to, from)| *to = *from);
    HEADER + length
}

/// Where the sender of a solicitation is (RFC 4861 §4.6.1).
const SOURCE_LINK: u8 = 1;
/// Where the target of an advertisement is.
const TARGET_LINK: u8 = 2;
/// The unit of options' lengths, and the length of both of these, in bytes.
const OPTION: usize = 8;
const ROUTER: u32 = 0x8000_0000;
const SOLICITED: u32 = 0x4000_0000;
const OVERRIDE: u32 = 0x2000_0000;
/// ff02::1:ff00:0/104
const SOLICITED_NODE: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::{Sum, pseudo6};
    use crate::hex;
    use std::string::{String, ToString as _};

    /// As a Linux host sends it.
    const ASKS: &str = "87 00 0000 00000000 20010db8 00000000 00000000 00000002  01 01 0a1b2c3d4e5f";
    const LINK: LinkAddress = [0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f];

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn solicitations() {
        let check = |text: &str, expected: Result<Option<LinkAddress>, Malformed>| {
            let read = Solicitation::parse(&hex::bytes(text));
            let target = address("2001:db8::2");
            assert_eq!(read, expected.map(|source_link| Solicitation { target, source_link }), "{text}");
        };
        let with = |options: &str| [ASKS, options].join("\n");
        check(ASKS, Ok(Some(LINK)));
        check(ASKS.split("  ").next().unwrap(), Ok(None));
        // A nonce (RFC 3971 §5.3.2), before and behind.
        check(&with("0e 01 010203040506"), Ok(Some(LINK)));
        check(&ASKS.replace("  ", " 0e 01 010203040506 "), Ok(Some(LINK)));
        // The first of two counts, and another length is another kind of link.
        check(&with("01 01 ffffffffffff"), Ok(Some(LINK)));
        check(&ASKS.replace("01 01 0a1b2c3d4e5f", "01 02 0a1b2c3d4e5f 0000000000000000"), Ok(None));
        check(&ASKS.replace("01 01 0a", "02 01 0a"), Ok(None));
        check(&with("0e 00 010203040506"), Err(Malformed::HeaderLength));
        check(&with("0e 02 010203040506"), Err(Malformed::Truncated));
        check(&with("0e"), Err(Malformed::Truncated));
        check("87 00 0000 00000000 20010db8 00000000 00000000 000000", Err(Malformed::Truncated));
        check("87 00 0000", Err(Malformed::Truncated));
        check(&ASKS.replace("87 00", "87 01"), Err(Malformed::Reserved));
        check(&ASKS.replace("87 00", "88 00"), Err(Malformed::Reserved));
        check(&ASKS.replace("20010db8", "ff020db8"), Err(Malformed::Reserved));
    }

    #[test]
    fn what_is_written_is_read() {
        let (source, destination) = (address("fe80::1"), address("fe80::2"));
        let check = |flags: [bool; 3], target_link: Option<LinkAddress>| {
            let [router, solicited, r#override] = flags;
            let target = address("2001:db8::abcd");
            let told = Advertisement { router, solicited, r#override, target, target_link };
            let mut room = [0xff; LONGEST];
            let length = told.emit(source, destination, &mut room);
            assert_eq!(Advertisement::parse(&room[..length]), Ok(told));
            let sum = pseudo6(source, destination, 58, length as u32).plus(Sum::of(&room[..length]));
            assert!(sum.is_valid());
            assert_eq!(Solicitation::parse(&room[..length]), Err(Malformed::Reserved));
        };
        for link in [None, Some(LINK)] {
            for bits in 0..8 {
                check([bits & 1 != 0, bits & 2 != 0, bits & 4 != 0], link);
            }
            let asked = Solicitation { target: destination, source_link: link };
            let mut room = [0xff; LONGEST];
            let length = asked.emit(source, destination, &mut room);
            assert_eq!(Solicitation::parse(&room[..length]), Ok(asked));
        }
    }

    /// Byte by byte, as the figures of RFC 4861 §4.4 and §4.6.1 have it.
    #[test]
    fn the_bytes_of_an_advertisement() {
        let target_link = Some(LINK);
        let target = address("2001:db8::2");
        let told = Advertisement { router: true, solicited: true, r#override: false, target, target_link };
        let mut room = [0; LONGEST];
        assert_eq!(told.emit(Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, &mut room), 32);
        let expected =
            hex::bytes("88 00 0000 c0000000 20010db8 00000000 00000000 00000002  02 01 0a1b2c3d4e5f");
        assert_eq!((&room[..2], &room[4..]), (&expected[..2], &expected[4..]));
        assert!(
            pseudo6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, 58, 32).plus(Sum::of(&room)).is_valid()
        );
    }

    #[test]
    fn groups() {
        let check = |target: &str, group: &str| {
            assert_eq!(solicited_node(address(target)).to_string(), String::from(group), "{target}");
        };
        check("4037::1:800:200e:8c6c", "ff02::1:ff0e:8c6c");
        check("2001:db8::", "ff02::1:ff00:0");
        check("2001:db8::ffff:ffff", "ff02::1:ffff:ffff");
    }
}
