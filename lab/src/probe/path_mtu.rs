use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use serde::Serialize;

use crate::LabError;
use crate::host::Host;

/// What came back for one packet with DF set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The target answered with a packet of the same size.
    Reply,
    /// ICMP destination unreachable, fragmentation needed (RFC 1191).
    FragNeeded {
        /// Next-hop MTU in bytes.
        mtu: u16,
        /// Who says so.
        from: Ipv4Addr,
    },
    /// Another ICMP error.
    Error {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// Who says so.
        from: Ipv4Addr,
    },
    /// Nothing in time.
    Silence,
}

/// Sends one ICMP echo request of `size` bytes (IPv4 header included) with DF set, whatever the
/// kernel remembers of the path, and waits for what comes back.
///
/// # Errors
/// When the socket cannot be made, or the packet is bigger than the host's own interface takes.
pub fn knock(from: &Host, target: Ipv4Addr, size: u16, limit: Duration) -> Result<Answer, LabError> {
    let socket = from.inside(raw_icmp)?.map_err(LabError::io("opening a raw ICMP socket"))?;
    let id = size ^ 0x5add;
    let request = super::echo_request(8, id, 1, usize::from(size).saturating_sub(28));
    let target = SocketAddr::new(IpAddr::V4(target), 0);
    socket.send_to(&request, target).map_err(LabError::io(format!("sending {size} bytes")))?;
    listen(&socket, id, limit).map_err(LabError::io("listening for ICMP"))
}

fn raw_icmp() -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(ipproto::ICMP))?;
    // Sets DF and, unlike DO, does not refuse what is above the remembered path MTU.
    set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
    Ok(UdpSocket::from(socket))
}

fn listen(socket: &UdpSocket, id: u16, limit: Duration) -> io::Result<Answer> {
    let deadline = Instant::now() + limit;
    let mut packet = [0; 65_535];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Answer::Silence);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut packet) {
            Ok(length) => {
                if let Some(answer) = packet.get(..length).and_then(|packet| read(packet, id)) {
                    return Ok(answer);
                }
            }
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Reads an IPv4 packet with an ICMP message; `None` when it is not about our request.
fn read(packet: &[u8], id: u16) -> Option<Answer> {
    let from = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?);
    let message = beyond_header(packet)?;
    match (*message.first()?, *message.get(1)?) {
        (0, 0) => (echo_id(message)? == id).then_some(Answer::Reply),
        (kind @ (3 | 11 | 12), code) => {
            let original = beyond_header(message.get(8..)?)?;
            if *original.first()? != 8 || echo_id(original)? != id {
                return None;
            }
            let mtu = u16::from_be_bytes(message.get(6..8)?.try_into().ok()?);
            Some(match (kind, code) {
                (3, 4) => Answer::FragNeeded { mtu, from },
                _ => Answer::Error { kind, code, from },
            })
        }
        _ => None,
    }
}

/// What follows the IPv4 header.
fn beyond_header(packet: &[u8]) -> Option<&[u8]> {
    packet.get(usize::from(packet.first()? & 0xf) * 4..)
}

fn echo_id(message: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(4..6)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Answer, read};
    use crate::probe::echo_request;
    use std::net::Ipv4Addr;

    /// An IPv4 header with options, so that nobody counts on 20 bytes.
    fn ipv4(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x46, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 0, 8];
        packet.extend([198, 51, 100, 10, 1, 1, 1, 0]);
        packet.extend(payload);
        packet
    }

    fn error(kind: u8, code: u8, original: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0, 0, 0, 0x05, 0xb0];
        message.extend(ipv4(original));
        ipv4(&message)
    }

    fn check(packet: &[u8], expected: Option<Answer>) {
        assert_eq!(read(packet, 7), expected);
        for length in 0..packet.len().min(30) {
            assert_eq!(read(&packet[..length], 7), None, "cut to {length}");
        }
    }

    #[test]
    fn only_answers_to_us_are_read() {
        let (from, request) = (Ipv4Addr::new(192, 0, 0, 8), echo_request(8, 7, 1, 0));
        check(&ipv4(&echo_request(0, 7, 1, 4)), Some(Answer::Reply));
        check(&ipv4(&echo_request(0, 8, 1, 4)), None);
        check(&error(3, 4, &request), Some(Answer::FragNeeded { mtu: 1456, from }));
        check(&error(11, 0, &request), Some(Answer::Error { kind: 11, code: 0, from }));
        check(&error(3, 4, &echo_request(8, 8, 1, 0)), None);
    }
}
