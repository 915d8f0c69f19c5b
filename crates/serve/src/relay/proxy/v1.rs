//! Version 1: a line of text.

use std::net::{IpAddr, SocketAddr};

use super::Read;

pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// The longest line that there is, with its end.
const LONGEST: usize = 107;

pub(super) fn read(bytes: &[u8]) -> Read {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LONGEST { Read::Incomplete } else { Read::Bad };
    };
    let length = end + 2;
    let line = bytes.get(SIGNATURE.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let Some(line) = line.filter(|_| length <= LONGEST) else { return Read::Bad };
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["UNKNOWN", ..] => Read::Header(length, None),
        [family, client, destination, from, to] => {
            match (socket(family, client, from), socket(family, destination, to)) {
                (Some(client), Some(destination)) => Read::Header(length, Some((client, destination))),
                (Some(_) | None, _) => Read::Bad,
            }
        }
        _ => Read::Bad,
    }
}

fn socket(family: &str, address: &str, port: &str) -> Option<SocketAddr> {
    let address: IpAddr = address.parse().ok()?;
    let right = (family == "TCP4" && address.is_ipv4()) || (family == "TCP6" && address.is_ipv6());
    let plain = right && port.bytes().all(|digit| digit.is_ascii_digit());
    if plain { Some(SocketAddr::new(address.to_canonical(), port.parse().ok()?)) } else { None }
}
