//! Socket addresses as the kernel has them.

use std::net::{IpAddr, SocketAddr};

pub(super) fn name_of(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let mut storage = blank_name();
    let room = std::ptr::from_mut(&mut storage);
    match address {
        SocketAddr::V4(address) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: `sockaddr_storage` is as large and as aligned as every other address structure.
            unsafe { room.cast::<libc::sockaddr_in>().write(name) };
            (storage, name_length::<libc::sockaddr_in>())
        }
        SocketAddr::V6(address) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            // SAFETY: as above.
            unsafe { room.cast::<libc::sockaddr_in6>().write(name) };
            (storage, name_length::<libc::sockaddr_in6>())
        }
    }
}

pub(super) fn socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let ip = crate::raw::address_of(storage)?;
    let room = std::ptr::from_ref(storage);
    // SAFETY: the family, which `address_of` has looked at, says which of the two was written here.
    let (port, scope) = unsafe {
        match ip {
            IpAddr::V4(_) => ((*room.cast::<libc::sockaddr_in>()).sin_port, 0),
            IpAddr::V6(_) => {
                let name = &*room.cast::<libc::sockaddr_in6>();
                (name.sin6_port, name.sin6_scope_id)
            }
        }
    };
    Some(match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, u16::from_be(port)),
        IpAddr::V6(ip) => std::net::SocketAddrV6::new(ip, u16::from_be(port), 0, scope).into(),
    })
}

pub(super) fn name_length<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

pub(super) fn blank_name() -> libc::sockaddr_storage {
    // SAFETY: all zeroes is a value of this plain C structure.
    unsafe { std::mem::zeroed() }
}
