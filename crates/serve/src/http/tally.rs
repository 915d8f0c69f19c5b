//! What became of requests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::Reason;

/// Requests by what became of them: [`Reason::name`] and how many; those that never happened are left out.
pub type Counts = Vec<(&'static str, u64)>;

/// What a server knows of one tunnel at one moment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Which tunnel.
    pub bridge: String,
    /// Requests that named this tunnel.
    pub requests: Counts,
}

/// Counters of requests.
#[derive(Debug)]
pub(super) struct Tally([AtomicU64; Reason::COUNT]);

impl Tally {
    pub(super) fn new() -> Tally {
        Tally(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(super) fn ended(&self, reason: Reason) {
        if let Some(counter) = self.0.get(reason.index()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let counted =
            Reason::ALL.iter().zip(&self.0).map(|(reason, count)| (reason.name(), count.load(Relaxed)));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}
