//! Version 2: binary.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{ROOM, Read};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, about another's connection.
pub(super) const PROXY: u8 = 0x21;
/// Version 2, about the sender's own.
const LOCAL: u8 = 0x20;

pub(super) fn read(bytes: &[u8]) -> Read {
    let Some([command, family, high, low]) = bytes.get(12..16) else { return Read::Incomplete };
    let length = 16 + usize::from(u16::from_be_bytes([*high, *low]));
    if !matches!(*command, PROXY | LOCAL) || length > ROOM {
        return Read::Bad;
    }
    let Some(body) = bytes.get(16..length) else { return Read::Incomplete };
    match (*command, family >> 4) {
        (PROXY, 1) => addresses::<4>(body).map_or(Read::Bad, |told| Read::Header(length, Some(told))),
        (PROXY, 2) => addresses::<16>(body).map_or(Read::Bad, |told| Read::Header(length, Some(told))),
        (_, _) => Read::Header(length, None),
    }
}

/// Client and destination, of so many bytes each, then their ports.
fn addresses<const SIZE: usize>(body: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let ports: [u8; 4] = body.get(2 * SIZE..2 * SIZE + 4)?.try_into().ok()?;
    let [a, b, c, d] = ports;
    let client = SocketAddr::new(ip(body.get(..SIZE)?)?, u16::from_be_bytes([a, b]));
    let destination = SocketAddr::new(ip(body.get(SIZE..2 * SIZE)?)?, u16::from_be_bytes([c, d]));
    Some((client, destination))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    let bytes = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
}
