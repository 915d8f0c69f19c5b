//! Translators: what the kernel sends into a tun device comes out of the same device as packets of the
//! other version. One thread for each queue: it reads, translates and writes, so a flow, which the
//! kernel keeps in one queue, keeps its order.

mod loss;
mod outlet;
mod queue;
mod run;
mod tally;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

pub use loss::Reason as Loss;
use tally::Tally;
pub use tally::{Report, Traffic};

use crate::Error;
use crate::loops::Loops;
use crate::slot::Slot;

/// A translator to be served.
pub struct Translator {
    /// The bridge that it belongs to.
    pub bridge: String,
    /// What translates.
    pub translator: Arc<straddle_xlat::Translator>,
    /// The device's open queues: tun with virtio headers, not blocking. One for each processor is right.
    pub queues: Vec<OwnedFd>,
}

/// A translator as its loops share it.
struct Shared {
    bridge: String,
    slot: Slot<straddle_xlat::Translator>,
    queues: Vec<Queue>,
}

/// A queue, and what its one thread has counted.
struct Queue {
    tun: OwnedFd,
    tally: Tally,
}

/// Running loops; they end when this is dropped.
pub struct Serving {
    translators: Vec<Arc<Shared>>,
    loops: Loops,
}

impl Serving {
    /// Starts the loops for these translators.
    ///
    /// # Errors
    /// When a thread can't be had.
    pub fn begin(translators: Vec<Translator>) -> Result<Serving, Error> {
        let shared = translators.into_iter().map(|translator| Arc::new(Shared::new(translator)));
        let translators: Vec<Arc<Shared>> = shared.collect();
        let mut loops = Loops::new("translator")?;
        for translator in &translators {
            for queue in 0..translator.queues.len() {
                let translator = translator.clone();
                loops.begin(move |stop| queue::run(&translator, queue, stop))?;
            }
        }
        Ok(Serving { translators, loops })
    }

    /// Has a bridge translate by `translator` from the next batch of each queue on; false where there is
    /// no such bridge. No packet is lost or overtaken.
    #[must_use]
    pub fn exchange(&self, bridge: &str, translator: Arc<straddle_xlat::Translator>) -> bool {
        let found = self.translators.iter().find(|shared| shared.bridge == bridge);
        found.map(|shared| shared.slot.put(translator)).is_some()
    }

    /// The counters of each translator.
    #[must_use]
    pub fn report(&self) -> Vec<Report> {
        let one = |shared: &Arc<Shared>| {
            tally::report(&shared.bridge, shared.queues.iter().map(|queue| &queue.tally))
        };
        self.translators.iter().map(one).collect()
    }

    /// Can be read from once a loop has ended by itself: a device has gone.
    #[must_use]
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.loops.ended()
    }
}

impl Shared {
    fn new(translator: Translator) -> Shared {
        let queues = translator.queues.into_iter().map(|tun| Queue { tun, tally: Tally::new() });
        Shared { bridge: translator.bridge, slot: Slot::new(translator.translator), queues: queues.collect() }
    }
}
