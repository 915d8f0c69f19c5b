//! Listening sockets.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with};

use super::admission::Admission;
use super::budget::Budget;
use super::datagrams;
use super::settings::{Protocol, Rules, Target};
use super::tally::Tally;

/// What makes two listeners the same one.
pub(super) type Key = (Protocol, SocketAddr);

/// A listening socket, as all loops share it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) key: Key,
    pub(super) socket: OwnedFd,
    purpose: Mutex<Arc<Purpose>>,
}

/// What becomes of a listener's connections. One that was opened keeps the purpose that it was opened with.
#[derive(Debug)]
pub(super) struct Purpose {
    pub(super) rules: Rules,
    pub(super) target: Target,
    pub(super) tally: Arc<Tally>,
    pub(super) admission: Arc<Admission>,
}

impl Listener {
    /// Binds, and listens. The address need not be there yet (`IP_FREEBIND`).
    pub(super) fn open(key: Key, purpose: Arc<Purpose>, budget: Budget) -> Result<Listener, Errno> {
        let socket = match key.0 {
            Protocol::Tcp => stream(key.1, budget),
            Protocol::Udp => datagram(key.1, budget),
        }?;
        Ok(Listener { key, socket, purpose: Mutex::new(purpose) })
    }

    /// What becomes of the next connection.
    pub(super) fn purpose(&self) -> Arc<Purpose> {
        self.purpose.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn serve(&self, purpose: Arc<Purpose>) {
        *self.purpose.lock().unwrap_or_else(PoisonError::into_inner) = purpose;
    }
}

fn stream(address: SocketAddr, budget: Budget) -> Result<OwnedFd, Errno> {
    let socket = open(address, SocketType::STREAM, budget)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Connections inherit both.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_oobinline(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn datagram(address: SocketAddr, budget: Budget) -> Result<OwnedFd, Errno> {
    let socket = open(address, SocketType::DGRAM, budget)?;
    datagrams::prepare(&socket, address.ip().is_unspecified().then_some(address.is_ipv6()))?;
    bind(&socket, &address)?;
    Ok(socket)
}

/// An IPv6 socket is for IPv6 alone: `tcp/443` has one of each.
fn open(address: SocketAddr, kind: SocketType, budget: Budget) -> Result<OwnedFd, Errno> {
    let socket = open_for(address.ip(), kind, budget)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_freebind(&socket, true)?;
    } else {
        sockopt::set_ip_freebind(&socket, true)?;
    }
    Ok(socket)
}

/// A socket for an address of this family, not blocking.
pub(super) fn open_for(ip: IpAddr, kind: SocketType, budget: Budget) -> Result<OwnedFd, Errno> {
    let family = if ip.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let protocol = if kind == SocketType::STREAM { ipproto::TCP } else { ipproto::UDP };
    budget.keep(socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol))?)
}

/// The kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 65_535;
