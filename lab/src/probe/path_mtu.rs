use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use serde::Serialize;

use crate::LabError;
use crate::host::Host;

/// What came back for one packet that no router may fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The target answered with a packet of the same size.
    Reply,
    /// ICMP destination unreachable, fragmentation needed (RFC 1191); ICMPv6 Packet Too Big (RFC 8201).
    FragNeeded {
        /// Next-hop MTU in bytes.
        mtu: u16,
        /// Who says so.
        from: IpAddr,
    },
    /// Another ICMP or ICMPv6 error.
    Error {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
        /// Who says so.
        from: IpAddr,
    },
    /// Nothing in time.
    Silence,
}

/// Sends one echo request of `size` bytes (IP header included) that may not be fragmented, whatever the
/// kernel remembers of the path, and waits for what comes back.
///
/// # Errors
/// When the socket cannot be made, or the packet is bigger than the host's own interface takes.
pub fn knock(from: &Host, target: impl Into<IpAddr>, size: u16, limit: Duration) -> Result<Answer, LabError> {
    let target = target.into();
    let (kind, header) = if target.is_ipv4() { (8, 20) } else { (128, 40) };
    let socket = from.inside(|| raw_icmp(target))?.map_err(LabError::io("opening a raw ICMP socket"))?;
    let id = size ^ 0x5add;
    let request = super::echo_request(kind, id, 1, usize::from(size).saturating_sub(header + 8));
    let target = SocketAddr::new(target, 0);
    socket.send_to(&request, target).map_err(LabError::io(format!("sending {size} bytes")))?;
    listen(&socket, id, limit).map_err(LabError::io("listening for ICMP"))
}

/// Sends a UDP datagram of `size` bytes (IP header included) that may not be fragmented, whatever the kernel
/// remembers of the path; whether it arrives at `server`, by either family.
///
/// An echo would not do: its reply is as large and may be fragmented, and translators drop fragments of
/// ICMP (RFC 7915 §1.2).
///
/// # Errors
/// When a socket cannot be made.
pub fn fits(from: &Host, server: &Host, target: IpAddr, size: u16) -> Result<bool, LabError> {
    let doing = || LabError::io("opening a UDP socket");
    let there = from.inside(|| udp(target))?.map_err(doing())?;
    let here = server.inside(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)))?.map_err(doing())?;
    here.set_read_timeout(Some(ANSWER)).map_err(doing())?;
    let port = here.local_addr().map_err(doing())?.port();
    let header = if target.is_ipv4() { 28 } else { 48 };
    let payload = vec![0x5a; usize::from(size).saturating_sub(header)];
    let mut packet = vec![0; 65_535];
    let sent = there.send_to(&payload, (target, port));
    Ok(sent.is_ok() && here.recv(&mut packet).is_ok_and(|length| packet.get(..length) == Some(&payload[..])))
}

fn udp(target: IpAddr) -> io::Result<UdpSocket> {
    let socket = match target {
        IpAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        IpAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    undivided(&socket, target)?;
    Ok(socket)
}

/// PROBE sends no fragments and, unlike DO, does not refuse what is above the remembered path MTU.
fn undivided(socket: impl AsFd, target: IpAddr) -> io::Result<()> {
    match target {
        IpAddr::V4(_) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)?,
        IpAddr::V6(_) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE)?,
    }
    Ok(())
}

fn raw_icmp(target: IpAddr) -> io::Result<UdpSocket> {
    let (family, protocol) = match target {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
    undivided(&socket, target)?;
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
        match socket.recv_from(&mut packet) {
            Ok((length, from)) => {
                let packet = packet.get(..length).unwrap_or_default();
                let answer = match from.ip() {
                    IpAddr::V4(_) => read(packet, id),
                    IpAddr::V6(_) => read6(packet, from.ip(), id),
                };
                if let Some(answer) = answer {
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
    let from = IpAddr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?);
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

/// Reads an ICMPv6 message, which a raw socket hands over without its IPv6 header.
fn read6(message: &[u8], from: IpAddr, id: u16) -> Option<Answer> {
    match (*message.first()?, *message.get(1)?) {
        (129, 0) => (echo_id(message)? == id).then_some(Answer::Reply),
        (kind @ 1..=4, code) => {
            let original = message.get(48..)?;
            if *message.get(14)? != 58 || *original.first()? != 128 || echo_id(original)? != id {
                return None;
            }
            let told = u32::from_be_bytes(message.get(4..8)?.try_into().ok()?);
            Some(match kind {
                2 => Answer::FragNeeded { mtu: u16::try_from(told).unwrap_or(u16::MAX), from },
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

const ANSWER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::{Answer, read, read6};
    use crate::probe::echo_request;
    use std::net::{IpAddr, Ipv6Addr};

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
        let (from, request) = (IpAddr::from([192, 0, 0, 8]), echo_request(8, 7, 1, 0));
        check(&ipv4(&echo_request(0, 7, 1, 4)), Some(Answer::Reply));
        check(&ipv4(&echo_request(0, 8, 1, 4)), None);
        check(&error(3, 4, &request), Some(Answer::FragNeeded { mtu: 1456, from }));
        check(&error(11, 0, &request), Some(Answer::Error { kind: 11, code: 0, from }));
        check(&error(3, 4, &echo_request(8, 8, 1, 0)), None);
    }

    fn error6(kind: u8, code: u8, next_header: u8, original: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0, 0, 0, 0x05, 0x78];
        message.extend([0x60, 0, 0, 0, 0, 8, next_header, 64]);
        message.extend([0; 32]);
        message.extend(original);
        message
    }

    fn check6(message: &[u8], expected: Option<Answer>) {
        let from = Ipv6Addr::LOCALHOST.into();
        assert_eq!(read6(message, from, 7), expected);
        for length in 0..message.len().min(6) {
            assert_eq!(read6(&message[..length], from, 7), None, "cut to {length}");
        }
    }

    #[test]
    fn only_answers_over_ipv6_to_us_are_read() {
        let (from, request) = (Ipv6Addr::LOCALHOST.into(), echo_request(128, 7, 1, 0));
        check6(&echo_request(129, 7, 1, 4), Some(Answer::Reply));
        check6(&echo_request(129, 8, 1, 4), None);
        check6(&error6(2, 0, 58, &request), Some(Answer::FragNeeded { mtu: 1400, from }));
        check6(&error6(3, 0, 58, &request), Some(Answer::Error { kind: 3, code: 0, from }));
        check6(&error6(2, 0, 17, &request), None);
        check6(&error6(2, 0, 58, &echo_request(128, 8, 1, 0)), None);
    }
}
