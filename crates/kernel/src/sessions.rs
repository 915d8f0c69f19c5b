//! Established TCP connections that arrive at an address (`/proc/net/tcp`, `net/ipv4/tcp_ipv4.c`).

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Error;

/// Somebody's connection to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Our port.
    pub port: u16,
    /// Who is at the other end.
    pub peer: SocketAddr,
}

const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// The connections that came in to `address`: to a port that this host listens on.
///
/// # Errors
/// When `/proc` can't be read.
pub fn sessions_at(address: Ipv4Addr) -> Result<Vec<Session>, Error> {
    let mut text = String::new();
    for path in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        match fs::read_to_string(path) {
            Ok(table) => text += &table,
            // A kernel without IPv6 has no second table.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file(path)(error)),
        }
    }
    Ok(arrived(&text, address))
}

fn arrived(text: &str, address: Ipv4Addr) -> Vec<Session> {
    let sockets: Vec<(SocketAddr, SocketAddr, &str)> = text.lines().filter_map(socket).collect();
    let listening: HashSet<u16> = sockets.iter().filter(|s| s.2 == LISTEN).map(|s| s.0.port()).collect();
    let here = |local: &SocketAddr| local.ip() == IpAddr::V4(address) && listening.contains(&local.port());
    let established = sockets.iter().filter(|(local, _, state)| *state == ESTABLISHED && here(local));
    established.map(|(local, peer, _)| Session { port: local.port(), peer: *peer }).collect()
}

fn socket(line: &str) -> Option<(SocketAddr, SocketAddr, &str)> {
    let mut words = line.split_whitespace().skip(1);
    Some((end(words.next()?)?, end(words.next()?)?, words.next()?))
}

/// `0100007F:0016`: the address in 32-bit words of the machine's order.
fn end(word: &str) -> Option<SocketAddr> {
    let (address, port) = word.split_once(':')?;
    let words: Option<Vec<u8>> = (0..address.len() / 8)
        .map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok())
        .map(|word| word.map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()
        .map(|words| words.concat());
    let bytes = words?;
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => IpAddr::V4(v4.into()),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).to_canonical(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:0016 00000000:0000 0A 00000000:00000000
   1: 9E0200C0:0016 0A6433C6:C822 01 00000000:00000000
   2: 9E0200C0:9C40 0A6433C6:0050 01 00000000:00000000
   3: 0000000000000000FFFF00009E0200C0:0016 0000000000000000FFFF00000B6433C6:C823 01 0
";

    #[test]
    fn who_came_in() {
        let check = |address: [u8; 4], peers: &[&str]| {
            let found = arrived(TABLE, address.into());
            let found: Vec<String> = found.iter().map(|session| session.peer.to_string()).collect();
            assert_eq!(found, peers);
        };
        check([192, 0, 2, 158], &["198.51.100.10:51234", "198.51.100.11:51235"]);
        check([192, 0, 2, 1], &[]);
    }
}
