//! What a capture wraps its packets in, by the numbers of the tcpdump group's list of link types.

use straddle_wire::ip::{Version, version};

use super::Unread;

/// How a frame of the capture begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Ethernet, with any number of VLAN tags.
    Ethernet,
    /// With the IP header of either version.
    Raw,
    /// With an IP header of this version.
    Ip(Version),
    /// BSD loopback: an address family, four bytes in either order.
    Loopback,
    /// Linux "cooked", its first or second make: the protocol stands at `at`, the packet behind `length` bytes.
    Cooked { at: usize, length: usize },
}

impl Link {
    /// That of a number, where it is one that IP packets come in.
    pub(super) fn of_number(number: u16) -> Option<Self> {
        Some(match number {
            0 | 108 => Self::Loopback,
            1 => Self::Ethernet,
            12 | 14 | 101 => Self::Raw,
            113 => Self::Cooked { at: 14, length: 16 },
            228 => Self::Ip(Version::V4),
            229 => Self::Ip(Version::V6),
            276 => Self::Cooked { at: 0, length: 20 },
            _ => return None,
        })
    }

    /// The IP packet within a frame, padding and all that follows it included.
    pub(super) fn packet(self, frame: &[u8]) -> Result<&[u8], Unread> {
        match self {
            Self::Raw => Ok(frame),
            Self::Ip(said) => of_version(said, frame),
            Self::Ethernet => by_ethertype(frame, ETHERTYPE_AT, ETHERTYPE_AT + 2),
            Self::Cooked { at, length } => by_ethertype(frame, at, length),
            Self::Loopback => {
                let (family, packet) = frame.split_first_chunk().ok_or(Unread::LinkHeader)?;
                let family = u32::from_be_bytes(*family);
                match family.min(family.swap_bytes()) {
                    AF_INET => of_version(Version::V4, packet),
                    // Linux; NetBSD and OpenBSD; FreeBSD; macOS.
                    10 | 24 | 28 | 30 => of_version(Version::V6, packet),
                    _ => Err(Unread::NotIp),
                }
            }
        }
    }
}

/// What follows an EtherType at `at`, the payload beginning at `payload`; VLAN tags stand between them.
fn by_ethertype(frame: &[u8], at: usize, payload: usize) -> Result<&[u8], Unread> {
    let number = |at: usize| {
        let bytes = frame.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Unread::LinkHeader)?;
        Ok(u16::from_be_bytes(*bytes))
    };
    let (mut ethertype, mut payload) = (number(at)?, payload);
    while TAGS.contains(&ethertype) {
        ethertype = number(payload + 2)?;
        payload += 4;
    }
    let packet = frame.get(payload..).ok_or(Unread::LinkHeader)?;
    match ethertype {
        0x0800 => of_version(Version::V4, packet),
        0x86dd => of_version(Version::V6, packet),
        _ => Err(Unread::NotIp),
    }
}

/// The packet, unless it is of the other version. Of none at all is for the translator to tell.
fn of_version(said: Version, packet: &[u8]) -> Result<&[u8], Unread> {
    match version(packet) {
        Ok(is) if is != said => Err(Unread::LinkVersion),
        Ok(_) | Err(_) => Ok(packet),
    }
}

const ETHERTYPE_AT: usize = 12;
/// 802.1Q, 802.1ad, and what was there before it.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// The same on every system.
const AF_INET: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &[u8] = &[0x45, 1, 2, 3];
    const V6: &[u8] = &[0x60, 1, 2, 3];

    fn check(number: u16, header: &str, packet: &[u8], expected: Result<&[u8], Unread>) {
        let digits: Vec<u32> = header.chars().filter_map(|digit| digit.to_digit(16)).collect();
        let mut frame: Vec<u8> =
            digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect();
        frame.extend(packet);
        let link = Link::of_number(number).unwrap();
        assert_eq!(link.packet(&frame), expected, "{number} {header}");
    }

    const MACS: &str = "02 00 00 00 00 01  02 00 00 00 00 02 ";

    #[test]
    fn ethernet() {
        let check = |rest: &str, packet, expected| check(1, &format!("{MACS}{rest}"), packet, expected);
        check("0800", V4, Ok(V4));
        check("86dd", V6, Ok(V6));
        check("8100 0007 0800", V4, Ok(V4));
        check("88a8 0007 8100 0008 86dd", V6, Ok(V6));
        check("9100 0007 9100 0008 9100 0009 86dd", V6, Ok(V6));
        check("0806", V4, Err(Unread::NotIp));
        check("88cc", &[], Err(Unread::NotIp));
        check("8100 0007 0806", V4, Err(Unread::NotIp));
        check("0800", V6, Err(Unread::LinkVersion));
        check("8100 0007 86dd", V4, Err(Unread::LinkVersion));
        check("0800", &[], Ok(&[]));
        check("0800", &[0x15], Ok(&[0x15]));
        check("08", &[], Err(Unread::LinkHeader));
        check("8100 0007 86", &[], Err(Unread::LinkHeader));
        check("8100", &[], Err(Unread::LinkHeader));
    }

    #[test]
    fn others() {
        for raw in [12, 14, 101] {
            check(raw, "", V4, Ok(V4));
            check(raw, "", V6, Ok(V6));
            check(raw, "", &[], Ok(&[]));
        }
        check(228, "", V4, Ok(V4));
        check(228, "", V6, Err(Unread::LinkVersion));
        check(229, "", V6, Ok(V6));
        check(229, "", V4, Err(Unread::LinkVersion));
        for loopback in [0, 108] {
            check(loopback, "00000002", V4, Ok(V4));
            check(loopback, "02000000", V4, Ok(V4));
            check(loopback, "1e000000", V6, Ok(V6));
            check(loopback, "0000001c", V6, Ok(V6));
            check(loopback, "00000002", V6, Err(Unread::LinkVersion));
            check(loopback, "00000007", V4, Err(Unread::NotIp));
            check(loopback, "000000", &[], Err(Unread::LinkHeader));
        }
        let cooked = "0000 0001 0006 020000000001 0000 ";
        check(113, &format!("{cooked}0800"), V4, Ok(V4));
        check(113, &format!("{cooked}8100 0007 86dd"), V6, Ok(V6));
        check(113, &format!("{cooked}0806"), V4, Err(Unread::NotIp));
        check(113, cooked, &[], Err(Unread::LinkHeader));
        let second = "0000 00000003 0001 00 06 020000000001 0000";
        check(276, &format!("0800 {second}"), V4, Ok(V4));
        check(276, &format!("86dd {second}"), V6, Ok(V6));
        check(276, "0800 0000", &[], Err(Unread::LinkHeader));
        assert_eq!(Link::of_number(105), None);
    }
}
