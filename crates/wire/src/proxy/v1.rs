//! Version 1: a line of text.

use core::net::{IpAddr, SocketAddr};

use super::Read;

pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// The longest line that there is, with its end.
const LONGEST: usize = 107;

pub(super) fn read(bytes: &[u8]) -> Read {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LONGEST { Read::Incomplete } else { Read::Bad };
    };
    let length = end + 2;
    let line = bytes.get(SIGNATURE.len()..end).and_then(|line| core::str::from_utf8(line).ok());
    let Some(line) = line.filter(|_| length <= LONGEST) else { return Read::Bad };
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let family = word();
    if family == "UNKNOWN" {
        return Read::Header(length, None);
    }
    let (client, destination, from, to) = (word(), word(), word(), word());
    match (socket(family, client, from), socket(family, destination, to), words.next()) {
        (Some(client), Some(destination), None) => Read::Header(length, Some((client, destination))),
        (_, _, _) => Read::Bad,
    }
}

fn socket(family: &str, address: &str, port: &str) -> Option<SocketAddr> {
    let address: IpAddr = address.parse().ok()?;
    let right = (family == "TCP4" && address.is_ipv4()) || (family == "TCP6" && address.is_ipv6());
    let plain = right && port.bytes().all(|digit| digit.is_ascii_digit());
    if plain { Some(SocketAddr::new(address.to_canonical(), port.parse().ok()?)) } else { None }
}
