//! How many ICMP errors are sent (RFC 4443 §2.4 f): a bucket of tokens.

use std::sync::Mutex;
use std::time::Instant;

/// Errors at once, after a silence.
const BURST: f64 = 50.0;
/// Errors in a second, in the long run.
const RATE: f64 = 200.0;

/// One bucket.
pub(crate) struct Limit(Mutex<(f64, Option<Instant>)>);

impl Limit {
    pub(crate) fn new() -> Limit {
        Limit(Mutex::new((BURST, None)))
    }

    /// Whether one more error may be sent.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (tokens, then) = *bucket;
        let since = then.map_or(0.0, |then| now.saturating_duration_since(then).as_secs_f64());
        let tokens = (tokens + since * RATE).min(BURST);
        let allowed = tokens >= 1.0;
        *bucket = (if allowed { tokens - 1.0 } else { tokens }, Some(now));
        allowed
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
