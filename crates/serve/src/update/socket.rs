//! Sockets of both ends.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::net::sockopt::{
    set_ip_freebind, set_ipv6_freebind, set_ipv6_v6only, set_socket_recv_buffer_size,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::Error;

/// Bytes of the server's receive buffer: about a thousand messages.
const BUFFER: usize = 1 << 20;

/// What a server hears at `address`, and answers from it. It need not be there yet, or all the time.
pub(super) fn listening(address: SocketAddr) -> Result<UdpSocket, Error> {
    let (family, v6) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, false),
        SocketAddr::V6(_) => (AddressFamily::INET6, true),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None).map_err(Error::call("socket"))?;
    let option = Error::call("socket option");
    if v6 {
        set_ipv6_v6only(&socket, true).and_then(|()| set_ipv6_freebind(&socket, true)).map_err(option)?;
    } else {
        set_ip_freebind(&socket, true).map_err(option)?;
    }
    // What the system allows of it is enough to begin with.
    let _ = set_socket_recv_buffer_size(&socket, BUFFER);
    rustix::net::bind(&socket, &address).map_err(Error::call("listening for updates of endpoints"))?;
    Ok(UdpSocket::from(socket))
}

/// What a client sends from `source` to a server, and hears from it alone.
pub(super) fn connected(source: IpAddr, server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((source, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    Ok(socket)
}
