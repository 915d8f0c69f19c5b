//! A packet socket that hears the solicitations of one device.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::net::netdevice;
use straddle_wire::ip::ICMPV6;
use straddle_wire::ipv6;
use straddle_wire::ndp::{LinkAddress, SOLICITATION};

use super::answer::{Answer, Own};
use crate::Error;

/// Where the type of an ICMPv6 message is when no extension header stands before it. (One may not be fragmented,
/// RFC 6980, and has no reason for another.)
const TYPE_AT: u32 = ipv6::HEADER as u32;
/// ff02::1, which is only looked up, never sent to.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Bound to one device, without waiting.
pub(super) struct Socket {
    fd: OwnedFd,
    device: String,
    index: u32,
}

/// A packet that was heard.
pub(super) struct Heard {
    /// Bytes of it; what the buffer had no room for is lost.
    pub(super) length: usize,
    /// Who sent the frame.
    pub(super) from: LinkAddress,
    /// Whether the frame was for this host, or for many.
    pub(super) for_us: bool,
}

impl Socket {
    /// Opens it. What arrived before it was bound is not in it.
    pub(super) fn open(device: &str) -> Result<Socket, Error> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Of protocol 0 it hears nothing until it is bound, and then with its filter.
        // SAFETY: no pointers are passed.
        let made = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if made < 0 {
            return Err(Error::call("packet socket")(io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just made this descriptor, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(made) };
        let index = netdevice::name_to_index(&fd, device).map_err(Error::call("finding the uplink"))?;
        let socket = Socket { fd, device: device.into(), index };
        socket.filter().map_err(Error::call("filter of the packet socket"))?;
        socket.bind().map_err(Error::call("binding to the uplink"))?;
        socket.link().map_err(Error::call("the uplink's link-layer address"))?;
        socket.hear_all_groups().map_err(Error::call("hearing all groups of the uplink"))?;
        Ok(socket)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The device's number.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// Whether the device of this name is still the one that it was opened on.
    pub(super) fn is_there(&self) -> bool {
        netdevice::name_to_index(&self.fd, &self.device) == Ok(self.index)
    }

    /// The device's addresses at present.
    pub(super) fn own(&self) -> io::Result<Own> {
        Ok(Own { link: self.link()?, link_local: link_local(self.index).ok() })
    }

    /// Takes one packet.
    pub(super) fn receive(&self, room: &mut [u8]) -> io::Result<Heard> {
        let mut name = nameless();
        let mut size = NAME;
        // SAFETY: both buffers are as long as the sizes given with them.
        let got = unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                room.as_mut_ptr().cast(),
                room.len(),
                libc::MSG_DONTWAIT,
                (&raw mut name).cast(),
                &raw mut size,
            )
        };
        let length = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        let for_us =
            [libc::PACKET_HOST, libc::PACKET_MULTICAST, libc::PACKET_BROADCAST].contains(&name.sll_pkttype);
        Ok(Heard { length, from: link_of(&name), for_us })
    }

    /// Sends an answer in a frame of its own.
    pub(super) fn send(&self, answer: &Answer) -> io::Result<()> {
        let mut name = self.name();
        name.sll_halen = answer.to.len() as u8;
        name.sll_addr.iter_mut().zip(answer.to).for_each(|(to, from)| *to = from);
        // SAFETY: both buffers are as long as the sizes given with them.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                answer.packet.as_ptr().cast(),
                answer.packet.len(),
                libc::MSG_DONTWAIT,
                (&raw const name).cast(),
                NAME,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Lets only neighbour solicitations through. The program reads from the IPv6 header on, as the socket does.
    fn filter(&self) -> io::Result<()> {
        let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
        // Not equal: over what is left, to the refusal at the end.
        let unless = |k: u32, jf: u8| libc::sock_filter { jf, ..statement(libc::BPF_JMP | libc::BPF_JEQ, k) };
        let byte = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
        let mut program = [
            statement(byte, ipv6::at::NEXT_HEADER as u32),
            unless(ICMPV6.into(), 3),
            statement(byte, TYPE_AT),
            unless(SOLICITATION.into(), 1),
            statement(libc::BPF_RET, u32::MAX),
            statement(libc::BPF_RET, 0),
        ];
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    fn bind(&self) -> io::Result<()> {
        let name = self.name();
        // SAFETY: the name is as long as the size given with it.
        let done = unsafe { libc::bind(self.fd.as_raw_fd(), (&raw const name).cast(), NAME) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The device takes every multicast frame as long as this socket is there, also after it was down.
    fn hear_all_groups(&self) -> io::Result<()> {
        // SAFETY: all zeroes is a value of this plain C structure.
        let mut request: libc::packet_mreq = unsafe { std::mem::zeroed() };
        request.mr_ifindex = self.index as i32;
        request.mr_type = libc::PACKET_MR_ALLMULTI as u16;
        self.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }

    /// The device's link-layer address. That of a device that is gone is an error.
    fn link(&self) -> io::Result<LinkAddress> {
        let mut name = nameless();
        let mut size = NAME;
        // SAFETY: the name is as long as the size given with it.
        let done = unsafe { libc::getsockname(self.fd.as_raw_fd(), (&raw mut name).cast(), &raw mut size) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        let ethernet = (name.sll_hatype, name.sll_halen) == (libc::ARPHRD_ETHER, 6);
        if ethernet { Ok(link_of(&name)) } else { Err(io::ErrorKind::AddrNotAvailable.into()) }
    }

    fn name(&self) -> libc::sockaddr_ll {
        let mut name = nameless();
        name.sll_family = libc::AF_PACKET as u16;
        name.sll_protocol = (libc::ETH_P_IPV6 as u16).to_be();
        name.sll_ifindex = self.index as i32;
        name
    }

    fn set<T>(&self, level: i32, name: i32, value: &T) -> io::Result<()> {
        let size = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
        // SAFETY: `value` points to a value of the size given, which the kernel copies.
        let done = unsafe {
            libc::setsockopt(self.fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), size)
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

const NAME: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn nameless() -> libc::sockaddr_ll {
    // SAFETY: all zeroes is a value of this plain C structure.
    unsafe { std::mem::zeroed() }
}

fn link_of(name: &libc::sockaddr_ll) -> LinkAddress {
    name.sll_addr.first_chunk().copied().unwrap_or_default()
}

/// The address that the kernel would send from to the hosts of a link. Nothing is sent.
fn link_local(index: u32) -> io::Result<Ipv6Addr> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    socket.connect(SocketAddr::V6(SocketAddrV6::new(ALL_NODES, 9, 0, index)))?;
    match socket.local_addr()? {
        SocketAddr::V6(own) if own.ip().is_unicast_link_local() => Ok(*own.ip()),
        SocketAddr::V6(_) | SocketAddr::V4(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}
