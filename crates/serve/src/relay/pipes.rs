//! Pipes that payload moves through without being seen by this process.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::budget::Budget;

/// Bytes that a pipe shall take at once. As an ordinary user one gets less in all (`pipe-user-pages-soft`);
/// then it is what it is.
const SIZE: usize = 1 << 20;
/// Empty pipes that are kept for the next flow.
const KEPT: usize = 64;

/// A pipe, not blocking.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) reader: OwnedFd,
    pub(super) writer: OwnedFd,
}

/// The empty pipes of one loop.
#[derive(Debug)]
pub(super) struct Pool {
    empty: Vec<Pipe>,
    budget: Budget,
}

impl Pool {
    pub(super) fn new(budget: Budget) -> Pool {
        Pool { empty: Vec::new(), budget }
    }

    pub(super) fn take(&mut self) -> Result<Pipe, Errno> {
        if let Some(pipe) = self.empty.pop() {
            return Ok(pipe);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (reader, writer) = (self.budget.keep(reader)?, self.budget.keep(writer)?);
        let _ = fcntl_setpipe_size(&writer, SIZE);
        Ok(Pipe { reader, writer })
    }

    /// Takes back a pipe in which nothing is left.
    pub(super) fn give(&mut self, pipe: Pipe) {
        if self.empty.len() < KEPT {
            self.empty.push(pipe);
        }
    }
}
