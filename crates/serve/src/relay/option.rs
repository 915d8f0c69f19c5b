//! Socket options of one int that rustix has no word for.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// How many bytes a socket may receive ahead; more than `rmem_max` where we may. The kernel doubles it, for its own records.
pub(super) fn set_receive_queue(socket: impl AsFd, bytes: i32) {
    // Without it it goes, only slower.
    let _ = set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
        .or_else(|_| set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes));
}

/// How many bytes a socket may keep to be sent, likewise.
pub(super) fn set_send_queue(socket: impl AsFd, bytes: i32) {
    let _ = set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)
        .or_else(|_| set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes));
}

pub(super) fn set(socket: impl AsFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    let size = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(0);
    // SAFETY: the option is one int, which lives until the call returns, and `size` says so.
    let done =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if done == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}
