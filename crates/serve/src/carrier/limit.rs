//! How many ICMP errors are sent (RFC 4443 §2.4 f).

use std::sync::Mutex;
use std::time::Instant;

use crate::bucket::Bucket;

/// Errors at once, after a silence.
const BURST: f64 = 50.0;
/// Errors in a second, in the long run.
const RATE: f64 = 200.0;

/// One bucket for all threads.
pub(crate) struct Limit(Mutex<Bucket>);

impl Limit {
    pub(crate) fn new() -> Limit {
        Limit(Mutex::new(Bucket::new(BURST, RATE)))
    }

    /// Whether one more error may be sent.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).allows(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_a_trickle() {
        let start = Instant::now();
        let limit = Limit::new();
        let check = |at: u64, asked: usize, allowed: usize| {
            let now = start + Duration::from_millis(at);
            assert_eq!((0..asked).filter(|_| limit.allows(now)).count(), allowed, "at {at} ms");
        };
        check(0, 100, 50);
        check(10, 100, 2);
        check(1010, 1000, 50);
    }
}
