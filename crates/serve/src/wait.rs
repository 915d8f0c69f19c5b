//! Waiting for several things until a time.

use std::time::Instant;

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

use crate::Error;

/// Waits until one of them is ready, or until the time.
pub(crate) fn wait(fds: &mut [PollFd<'_>], until: Option<Instant>) -> Result<(), Error> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    // What is too far away for the kernel's clock is waited for without end.
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(Error::call("poll")(errno)),
    }
}
