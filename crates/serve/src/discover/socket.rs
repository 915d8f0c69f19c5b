//! What neither `std` nor `rustix` has of sockets.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sends and receives by this device only (`SO_BINDTODEVICE`).
pub(super) fn bind_to_device(socket: BorrowedFd<'_>, dev: &str) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, dev.as_bytes())
}

/// Sets an option of this many bytes.
pub(super) fn set(socket: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let size = libc::socklen_t::try_from(value.len()).unwrap_or(0);
    // SAFETY: `value` has as many bytes as `size` says; the kernel copies them.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), size) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A message that arrived.
pub(super) struct Received {
    /// Bytes of it; what the buffer had no room for is lost.
    pub(super) length: usize,
    /// Who sent it.
    pub(super) from: Ipv6Addr,
    /// Number of the device that a link-local sender is behind.
    pub(super) scope: u32,
    /// Its hop limit; none where the kernel did not tell it.
    pub(super) hop_limit: Option<i32>,
}

/// Takes one message of an IPv6 socket, without waiting.
pub(super) fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<Received> {
    let mut vector = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let mut control = Control([0; ROOM]);
    // SAFETY: all zeroes is a value of these plain C structures.
    let (mut name, mut header) =
        unsafe { (std::mem::zeroed::<libc::sockaddr_in6>(), std::mem::zeroed::<libc::msghdr>()) };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_in6>()).unwrap_or(0);
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = ROOM;
    // SAFETY: what the header points to lives until the end of this function, with the sizes that it says.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let length = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    Ok(Received {
        length,
        from: name.sin6_addr.s6_addr.into(),
        scope: name.sin6_scope_id,
        hop_limit: hop_limit(&header),
    })
}

/// Control messages, aligned as the kernel's headers want it.
#[repr(C, align(8))]
struct Control([u8; ROOM]);

/// Bytes for control messages: more than the one that is asked for.
const ROOM: usize = 128;

/// `IPV6_HOPLIMIT` among the control messages.
fn hop_limit(header: &libc::msghdr) -> Option<i32> {
    // SAFETY: the kernel filled the control buffer and its length, which CMSG_* walk within; the message
    // of this kind is one int.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = control.as_ref() {
            if (found.cmsg_level, found.cmsg_type) == (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) {
                return Some(libc::CMSG_DATA(control).cast::<i32>().read_unaligned());
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}
