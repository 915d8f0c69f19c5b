//! What became of messages.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;
use straddle_announce::Reason;

/// Messages by what became of them: [`Reason::name`] and how many; those that never happened are left out.
pub type Counts = Vec<(&'static str, u64)>;

/// What a server knows of one bridge at one moment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Which bridge.
    pub bridge: String,
    /// Messages that said they were for this bridge.
    pub messages: Counts,
    /// Answers that the kernel did not take; the client asks again.
    pub unanswered: u64,
}

/// Counters of messages.
#[derive(Debug)]
pub(super) struct Tally {
    ends: [AtomicU64; Reason::COUNT],
    unanswered: AtomicU64,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally { ends: std::array::from_fn(|_| AtomicU64::new(0)), unanswered: AtomicU64::new(0) }
    }

    pub(super) fn ended(&self, reason: Reason) {
        if let Some(counter) = self.ends.get(reason.index()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn not_answered(&self) {
        self.unanswered.fetch_add(1, Relaxed);
    }

    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered.load(Relaxed)
    }

    pub(super) fn counts(&self) -> Counts {
        let counted =
            Reason::ALL.iter().zip(&self.ends).map(|(reason, count)| (reason.name(), count.load(Relaxed)));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}
