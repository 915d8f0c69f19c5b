use std::io;
use std::net::UdpSocket;
use std::num::NonZeroU32;

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

use crate::LabError;
use crate::host::Host;

/// Hears every ARP packet that arrives at some hosts.
#[derive(Debug)]
pub struct ArpWatch {
    sockets: Vec<UdpSocket>,
}

/// How many were heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArpCount {
    /// From the host with the given link-layer address.
    pub known: usize,
    /// From everybody else.
    pub others: usize,
}

impl ArpWatch {
    /// Begins to listen on every device of these hosts.
    ///
    /// # Errors
    /// When a packet socket cannot be made.
    pub fn start<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> Result<ArpWatch, LabError> {
        let listen = |host: &Host| {
            host.inside(packets)?.map_err(LabError::io(format!("listening for ARP on {}", host.name())))
        };
        let sockets: Result<_, LabError> = hosts.into_iter().map(listen).collect();
        Ok(ArpWatch { sockets: sockets? })
    }

    /// What has arrived since, told apart by whether its sender has this link-layer address.
    ///
    /// # Errors
    /// When a socket failed.
    pub fn count(&self, known: [u8; 6]) -> Result<ArpCount, LabError> {
        let mut count = ArpCount::default();
        for socket in &self.sockets {
            let mut packet = [0; 1500];
            loop {
                match socket.recv(&mut packet) {
                    Ok(_) if sender(&packet) == Some(known) => count.known += 1,
                    Ok(_) => count.others += 1,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(source) => return Err(LabError::Io { doing: "hearing ARP".into(), source }),
                }
            }
        }
        Ok(count)
    }
}

/// The sender's hardware address (RFC 826).
fn sender(packet: &[u8]) -> Option<[u8; 6]> {
    packet.get(8..14)?.try_into().ok()
}

/// Without a bind, a packet socket hears all devices of its namespace.
fn packets() -> io::Result<UdpSocket> {
    let arp = NonZeroU32::new(u32::from(ETH_P_ARP.to_be())).map(Protocol::from_raw);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, arp)?;
    Ok(UdpSocket::from(socket))
}

/// linux/if_ether.h.
const ETH_P_ARP: u16 = 0x0806;
