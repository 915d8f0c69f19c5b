use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use crate::LabError;
use crate::host::Host;

/// Sends a datagram to a UDP port of `target` that nobody listens on; whether the sender's socket is told
/// so. The kernel tells it only if the packet quoted in the ICMP error is one of that socket's.
///
/// # Errors
/// When the socket cannot be made.
pub fn refused(from: &Host, target: IpAddr) -> Result<bool, LabError> {
    let told = from.inside(|| send(target))?;
    match told {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if NO_ANSWER.contains(&error.kind()) => Ok(false),
        Err(error) => Err(LabError::io(format!("asking a closed port of {target}"))(error)),
    }
}

fn send(target: IpAddr) -> io::Result<()> {
    let any: IpAddr = match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(ANSWER))?;
    socket.connect((target, CLOSED))?;
    socket.send(b"anybody?")?;
    socket.recv(&mut [0; 16]).map(drop)
}

/// No server of the lab has it.
const CLOSED: u16 = 9;
const ANSWER: Duration = Duration::from_secs(1);

/// Time has passed, or what was heard is about the way there and none of the target's.
const NO_ANSWER: [io::ErrorKind; 4] = [
    io::ErrorKind::WouldBlock,
    io::ErrorKind::TimedOut,
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::HostUnreachable,
];
