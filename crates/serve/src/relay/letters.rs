//! What a loop is told by others.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::admission::Admitted;
use super::listener::{Listener, Purpose};
use super::slab::Id;

/// Something a loop is told. There are never more than connections: each letter about one holds its place.
#[derive(Debug)]
pub(super) enum Letter {
    /// Listen there.
    Listen(Arc<Listener>),
    /// Take what waits there, then listen there no more. Whoever waits sees the sender dropped when it is done.
    Leave(Arc<Listener>, Sender<()>),
    /// Another loop's connection, since this one has fewer.
    Connection(Arc<Purpose>, OwnedFd, SocketAddr, Admitted),
    /// The addresses of a name; true for a session's.
    Found(Id, bool, Vec<SocketAddr>),
    /// Listen nowhere; what is open may go on for its relay's `drain-time`.
    Drain,
}

/// Letters to one loop.
#[derive(Debug)]
pub(super) struct LetterBox {
    letters: Mutex<Vec<Letter>>,
    bell: OwnedFd,
}

impl LetterBox {
    pub(super) fn new() -> Result<LetterBox, Errno> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(LetterBox { letters: Mutex::default(), bell })
    }

    pub(super) fn post(&self, letter: Letter) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        ring(&self.bell);
    }

    /// All there are.
    pub(super) fn take(&self) -> Vec<Letter> {
        hush(&self.bell);
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// Makes an eventfd readable.
pub(super) fn ring(bell: &OwnedFd) {
    // A full counter has rung already.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}

/// And no longer.
pub(super) fn hush(bell: &OwnedFd) {
    // One that has not rung need not be silenced.
    let _ = rustix::io::read(bell, &mut [0u8; 8]);
}
