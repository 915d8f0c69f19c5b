//! Pipes that payload moves through without being seen by this process.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

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
#[derive(Debug, Default)]
pub(super) struct Pool(Vec<Pipe>);

impl Pool {
    pub(super) fn take(&mut self) -> Result<Pipe, Errno> {
        if let Some(pipe) = self.0.pop() {
            return Ok(pipe);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let _ = fcntl_setpipe_size(&writer, SIZE);
        Ok(Pipe { reader, writer })
    }

    /// Takes back a pipe in which nothing is left.
    pub(super) fn give(&mut self, pipe: Pipe) {
        if self.0.len() < KEPT {
            self.0.push(pipe);
        }
    }
}
