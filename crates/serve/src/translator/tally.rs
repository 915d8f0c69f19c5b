//! What became of packets in a translator.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;
use straddle_wire::ip::Version;
use straddle_xlat::Reason;

use super::Loss;

/// What one thread has counted. No two share a cache line (nor a pair of them, which processors fetch
/// together).
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Tally {
    to4: Counts,
    to6: Counts,
    answers: AtomicU64,
    reasons: [AtomicU64; Reason::COUNT],
    losses: [AtomicU64; Loss::COUNT],
}

#[derive(Debug, Default)]
struct Counts {
    packets: AtomicU64,
    bytes: AtomicU64,
    passes: AtomicU64,
}

/// The counters of one translator at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The bridge it belongs to.
    pub bridge: String,
    /// What came out as IPv4.
    pub to4: Traffic,
    /// What came out as IPv6.
    pub to6: Traffic,
    /// The translator's own answers: ICMP errors and echo replies.
    pub answers: u64,
    /// How many packets ended otherwise than translated, by reason; those that never happened are left
    /// out. What was answered has its reason here too.
    pub drops: Vec<(&'static str, u64)>,
}

/// Packets of one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Traffic {
    /// Packets as a wire would see them: the parts of a super-packet, each by itself.
    pub packets: u64,
    /// Bytes written, the headers of a super-packet once.
    pub bytes: u64,
    /// Writes: a super-packet is one.
    pub passes: u64,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            to4: Counts::default(),
            to6: Counts::default(),
            answers: AtomicU64::new(0),
            reasons: std::array::from_fn(|_| AtomicU64::new(0)),
            losses: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// The device took what counts as `packets` packets, in one write of `bytes` bytes.
    pub(super) fn forwarded(&self, side: Version, packets: u64, bytes: u64) {
        let counts = match side {
            Version::V4 => &self.to4,
            Version::V6 => &self.to6,
        };
        add(&counts.packets, packets);
        add(&counts.bytes, bytes);
        add(&counts.passes, 1);
    }

    /// The device took an answer of the translator's own.
    pub(super) fn answered(&self) {
        add(&self.answers, 1);
    }

    /// A packet ended otherwise than translated.
    pub(super) fn ended(&self, reason: Reason) {
        if let Some(counter) = self.reasons.get(reason.index()) {
            add(counter, 1);
        }
    }

    /// Packets ended at the device.
    pub(super) fn lost(&self, loss: Loss, packets: u64) {
        if let Some(counter) = self.losses.get(loss.index()) {
            add(counter, packets);
        }
    }
}

/// Each counter has one thread that writes: no locked instruction is needed.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

/// The sum of what the threads have counted.
pub(super) fn report<'a>(bridge: &str, tallies: impl Iterator<Item = &'a Tally> + Clone) -> Report {
    let sum = |of: &dyn Fn(&Tally) -> &AtomicU64| tallies.clone().map(|tally| of(tally).load(Relaxed)).sum();
    let traffic = |of: fn(&Tally) -> &Counts| Traffic {
        packets: sum(&|tally| &of(tally).packets),
        bytes: sum(&|tally| &of(tally).bytes),
        passes: sum(&|tally| &of(tally).passes),
    };
    let reasons = Reason::ALL.iter().map(|reason| (reason.name(), sum(&|t| &t.reasons[reason.index()])));
    let losses = Loss::ALL.iter().map(|loss| (loss.name(), sum(&|t| &t.losses[loss.index()])));
    Report {
        bridge: bridge.into(),
        to4: traffic(|tally| &tally.to4),
        to6: traffic(|tally| &tally.to6),
        answers: sum(&|tally| &tally.answers),
        drops: reasons.chain(losses).filter(|(_, count)| *count > 0).collect(),
    }
}
