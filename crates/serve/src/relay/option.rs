//! Socket options of one int that rustix has no word for.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

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
