//! Raw sockets: one for each outer protocol and address of ours, for all its peers. While one is open
//! the kernel does not answer that the protocol is unreachable.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, RawProtocol, SocketFlags, SocketType, socket_with};
use straddle_encap::Kind;

use crate::Error;

/// Hop limit of outer packets.
const HOPS: i32 = 64;
/// Bytes of socket buffer each way: some milliseconds of 10 Gbit/s.
const BUFFER: i32 = 4 << 20;
/// How long a full send buffer is waited for, in microseconds.
const PATIENCE: i64 = 200_000;

/// Opens the socket for carriers of a kind that end at `local`: outer packets come from there whatever
/// other addresses the host has, and those to other addresses are not ours.
pub(crate) fn open(kind: Kind, local: IpAddr) -> Result<OwnedFd, Error> {
    let socket = bound(kind, local)?;
    let options: &[(i32, i32, i32)] = if over_v6(kind) {
        &[
            (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, HOPS),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
            // Outer packets are never fragmented: what does not fit is answered inwards.
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO),
        ]
    } else {
        &[
            (libc::IPPROTO_IP, libc::IP_TTL, HOPS),
            (libc::IPPROTO_IP, libc::IP_RECVERR, 1),
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO),
        ]
    };
    for (level, name, value) in options {
        set(&socket, *level, *name, value).map_err(Error::call("socket option"))?;
    }
    for name in [libc::SO_SNDBUFFORCE, libc::SO_RCVBUFFORCE] {
        // Without the right to it the system's own limit holds.
        let _ = set(&socket, libc::SOL_SOCKET, name, &BUFFER);
    }
    let patience = libc::timeval { tv_sec: 0, tv_usec: PATIENCE };
    set(&socket, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &patience).map_err(Error::call("socket option"))?;
    Ok(socket)
}

/// A second socket that takes nothing. The kernel counts a packet as delivered only where a socket has
/// room for it, and else answers that nobody is here (`raw6_local_deliver`); this one always has.
pub(crate) fn guard(kind: Kind, local: IpAddr) -> Result<OwnedFd, Error> {
    let socket = bound(kind, local)?;
    let mut nothing = [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: 1, filter: nothing.as_mut_ptr() };
    set(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program).map_err(Error::call("socket filter"))?;
    Ok(socket)
}

fn bound(kind: Kind, local: IpAddr) -> Result<OwnedFd, Error> {
    let family = if over_v6(kind) { AddressFamily::INET6 } else { AddressFamily::INET };
    let number = RawProtocol::new(kind.protocol().into()).map(Protocol::from_raw);
    let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, number)
        .map_err(Error::call("raw socket"))?;
    let (level, freebind) = if over_v6(kind) {
        (libc::IPPROTO_IPV6, libc::IPV6_FREEBIND)
    } else {
        (libc::IPPROTO_IP, libc::IP_FREEBIND)
    };
    // An address that goes away for a while, as with a link that flaps, takes no socket along.
    set(&socket, level, freebind, &1i32).map_err(Error::call("socket option"))?;
    rustix::net::bind(&socket, &SocketAddr::new(local, 0))
        .map_err(Error::call("binding to the carrier's address"))?;
    Ok(socket)
}

/// Whether the outer packets are IPv6.
pub(crate) fn over_v6(kind: Kind) -> bool {
    match kind {
        Kind::Ip6gre { .. } | Kind::Ip4ip6 => true,
        Kind::Sit => false,
    }
}

fn set<T>(socket: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: `value` points to a value of the size given, which the kernel copies.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), size) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A peer's address as the kernel takes it.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) storage: libc::sockaddr_storage,
    pub(crate) length: libc::socklen_t,
}

impl Name {
    pub(crate) fn of(address: IpAddr) -> Name {
        // SAFETY: all zeroes is a value of this plain C structure.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let length = match address {
            IpAddr::V4(v4) => {
                // SAFETY: as above.
                let mut name: libc::sockaddr_in = unsafe { std::mem::zeroed() };
                name.sin_family = libc::AF_INET as libc::sa_family_t;
                name.sin_addr.s_addr = u32::from_ne_bytes(v4.octets());
                place(&mut storage, name)
            }
            IpAddr::V6(v6) => {
                // SAFETY: as above.
                let mut name: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
                name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                name.sin6_addr.s6_addr = v6.octets();
                place(&mut storage, name)
            }
        };
        Name { storage, length }
    }
}

fn place<T>(storage: &mut libc::sockaddr_storage, name: T) -> libc::socklen_t {
    // SAFETY: `sockaddr_storage` is as large and as aligned as every other address structure.
    unsafe { std::ptr::from_mut(storage).cast::<T>().write(name) };
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

/// The address in a name that the kernel wrote.
pub(crate) fn address_of(storage: &libc::sockaddr_storage) -> Option<IpAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that a `sockaddr_in` was written here.
            let name = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            Some(IpAddr::V4(name.sin_addr.s_addr.to_ne_bytes().into()))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that a `sockaddr_in6` was written here.
            let name = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            Some(IpAddr::V6(name.sin6_addr.s6_addr.into()))
        }
        _ => None,
    }
}

/// The largest packet that the kernel sends to `address` at present, in bytes (`IPV6_MTU`, `IP_MTU`):
/// what it has learnt of the path counts.
pub(crate) fn path_mtu(address: IpAddr) -> Option<u32> {
    let probe = std::net::UdpSocket::bind(match address {
        IpAddr::V4(_) => SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0),
        IpAddr::V6(_) => SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 0),
    });
    let probe = probe.ok()?;
    probe.connect(SocketAddr::new(address, 9)).ok()?;
    let (level, name) = match address {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let mut value: i32 = 0;
    let mut size: libc::socklen_t = 4;
    // SAFETY: the option is one int, and `size` says so.
    let done =
        unsafe { libc::getsockopt(probe.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut size) };
    if done < 0 { None } else { u32::try_from(value).ok() }
}
