//! The protocol attribute of addresses (who made them), which iproute2 shows from 6.3 on only.

use std::net::{Ipv4Addr, Ipv6Addr};

use rustix::io::Result;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::LabError;
use crate::host::Host;

/// One line per address that has the attribute, in the kernel's order.
pub(super) fn protocols(host: &Host) -> std::result::Result<Vec<String>, LabError> {
    host.inside(dump)?.map_err(LabError::io("asking the kernel for its addresses"))
}

fn dump() -> Result<Vec<String>> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    // Protocol 0 of this family is NETLINK_ROUTE.
    send(&socket, &request(), SendFlags::empty())?;
    let mut lines = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, next)) = message(rest) {
            match kind {
                NEW_ADDRESS => lines.extend(line(body)),
                // The end of the dump, or an error, which is one too.
                _ => return Ok(lines),
            }
            rest = next;
        }
    }
}

/// `RTM_GETADDR` with `NLM_F_REQUEST | NLM_F_DUMP`, all families (linux/netlink.h, linux/if_addr.h).
fn request() -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(24_u32.to_ne_bytes());
    request.extend(22_u16.to_ne_bytes());
    request.extend(0x301_u16.to_ne_bytes());
    request.resize(24, 0);
    request
}

/// Type and body of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, bytes.get(16..length)?, next))
}

fn line(body: &[u8]) -> Option<String> {
    let prefix = body.get(1)?;
    let mut rest = body.get(8..)?;
    let (mut address, mut protocol) = (None, None);
    while let Some((kind, value, next)) = attribute(rest) {
        match kind {
            IFA_ADDRESS => address = text(value),
            IFA_PROTO => protocol = value.first(),
            _ => {}
        }
        rest = next;
    }
    Some(format!("{}/{prefix} protocol {}", address?, protocol?))
}

fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, bytes.get(4..length)?, next))
}

fn text(value: &[u8]) -> Option<String> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(octets).to_string());
    }
    let octets = <[u8; 16]>::try_from(value).ok()?;
    Some(Ipv6Addr::from(octets).to_string())
}

const NEW_ADDRESS: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_PROTO: u16 = 11;
