//! What takes seconds, done on a thread of its own, so that nobody who waits for it is deaf meanwhile.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

/// Work under way. If this is dropped before, the thread ends when the work does, and tells nobody.
pub(super) struct Errand<T> {
    brought: Receiver<T>,
    /// Its other end is closed with the thread.
    ended: UnixStream,
}

impl<T: Send + 'static> Errand<T> {
    /// # Errors
    /// When there is no room for another thread.
    pub(super) fn begin(work: impl FnOnce() -> T + Send + 'static) -> io::Result<Errand<T>> {
        let (bring, brought) = sync_channel(1);
        let (ended, end) = UnixStream::pair()?;
        let body = move || {
            // Nobody may be there any more.
            let _ = bring.send(work());
            drop(end);
        };
        thread::Builder::new().name("errand".into()).spawn(body)?;
        Ok(Errand { brought, ended })
    }

    /// Can be read from when [`Errand::brought`] has something.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// What came of it, once; `otherwise` where it came to nothing.
    pub(super) fn brought(&self, otherwise: impl FnOnce() -> T) -> Option<T> {
        match self.brought.try_recv() {
            Ok(brought) => Some(brought),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(otherwise()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn it_brings_what_it_was_sent_for() {
        let (go, wait) = sync_channel::<u8>(0);
        let errand = Errand::begin(move || wait.recv().unwrap()).unwrap();
        assert_eq!(errand.brought(|| 0), None, "it is under way");
        go.send(7).unwrap();
        assert_eq!((&errand.ended).read(&mut [0]).unwrap(), 0, "the end is seen");
        assert_eq!(errand.brought(|| 0), Some(7));
        assert_eq!(errand.brought(|| 0), Some(0), "once");
    }
}
