//! How loops are told to end, and wait for work meanwhile.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::Error;

/// Raised once, seen by every loop that waits.
pub(crate) struct Stop(OwnedFd);

/// What a loop was woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Something can be read.
    Ready,
    /// Nothing but an error is there.
    Trouble,
    /// The loop shall end.
    Stop,
}

impl Stop {
    pub(crate) fn new() -> Result<Stop, Error> {
        eventfd(0, EventfdFlags::CLOEXEC).map(Stop).map_err(Error::call("eventfd"))
    }

    /// Ends every loop that waits with this.
    pub(crate) fn raise(&self) {
        // The counter can't overflow by one; the loops end on any value.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Whether it was raised; to wait on from outside.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits until `fd` can be read, or has an error, or the loop shall end.
    pub(crate) fn wait(&self, fd: BorrowedFd<'_>) -> Result<Woken, Error> {
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN), PollFd::new(&self.0, PollFlags::IN)];
        loop {
            match poll(&mut fds, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::call("poll")(errno)),
            }
        }
        let [work, stop] = fds.map(|fd| fd.revents());
        Ok(if !stop.is_empty() {
            Woken::Stop
        } else if work.contains(PollFlags::IN) {
            Woken::Ready
        } else {
            Woken::Trouble
        })
    }
}
