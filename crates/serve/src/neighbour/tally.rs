//! What became of solicitations.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::Reason;

/// What a responder has heard, at one moment.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The device.
    pub device: String,
    /// Solicitations by what became of them: [`Reason::name`] and how many; those that never happened are left out.
    pub solicitations: Vec<(&'static str, u64)>,
    /// Groups of single addresses that are joined.
    pub groups: usize,
    /// Groups that the kernel did not let us join; their solicitations are heard where no switch keeps them back.
    pub groups_refused: usize,
}

/// Counters of solicitations.
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

    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counted =
            Reason::ALL.iter().zip(&self.0).map(|(reason, count)| (reason.name(), count.load(Relaxed)));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}
