//! The descriptors that relays may take, so that the rest of the process keeps some.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, fcntl_dupfd_cloexec};

/// The first number that is none of the relays'. A new descriptor has the lowest number that is free (open(2)): one
/// at this line or beyond says that everything below is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget(RawFd);

impl Budget {
    /// For numbers below `files`.
    pub(super) fn new(files: u64) -> Budget {
        Budget(RawFd::try_from(files).unwrap_or(RawFd::MAX))
    }

    /// A new descriptor, if it is one that relays may have; else it is closed.
    pub(super) fn keep(self, fd: OwnedFd) -> Result<OwnedFd, Errno> {
        if fd.as_raw_fd() < self.0 { Ok(fd) } else { Err(Errno::MFILE) }
    }

    /// Whether the next descriptor would be none of the relays'.
    pub(super) fn is_spent(self, any: impl AsFd) -> bool {
        fcntl_dupfd_cloexec(any, 0).and_then(|fd| self.keep(fd)).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_line_is_closed() {
        let fd = || rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let held = fd();
        assert!(Budget::new(0).is_spent(&held) && !Budget::new(u64::MAX).is_spent(&held));
        assert!(Budget::new(0).keep(fd()).is_err());
        assert!(Budget::new(1 << 20).keep(fd()).is_ok());
    }
}
