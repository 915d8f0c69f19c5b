//! Threads that run loops until one of them ends or all are told to.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::Error;
use crate::stop::Stop;

/// Running loops; they end when this is dropped.
pub(crate) struct Loops {
    name: &'static str,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<Result<(), Error>>>,
}

impl Loops {
    /// None yet; their threads will have this name.
    pub(crate) fn new(name: &'static str) -> Result<Loops, Error> {
        Ok(Loops { name, stop: Arc::new(Stop::new()?), threads: Vec::new() })
    }

    /// Starts one, which is told when to end. One that ends by itself takes the others along: whoever waits
    /// on [`Loops::ended`] begins anew.
    pub(crate) fn begin(
        &mut self,
        run: impl FnOnce(&Stop) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let stop = self.stop.clone();
        let body = move || {
            let ended = run(&stop);
            stop.raise();
            ended
        };
        let thread = Builder::new().name(self.name.into()).spawn(body);
        self.threads.push(thread.map_err(Error::call("thread"))?);
        Ok(())
    }

    /// Can be read from once a loop has ended by itself.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.stop.fd()
    }
}

impl Drop for Loops {
    fn drop(&mut self) {
        self.stop.raise();
        for thread in self.threads.drain(..) {
            // A loop that failed has told by ending; what it failed of is told by whoever begins anew.
            let _ = thread.join();
        }
    }
}
