//! When a thread lets others go before.

use std::time::{Duration, Instant};

/// A turn of the others that is longer than this was somebody's who only computes.
const LONG: Duration = Duration::from_millis(1);
/// How long nobody is let go before after that.
const PAUSE: Duration = Duration::from_millis(100);

/// Gives the processor to whoever sends or receives, so that packets meet, but not for long to those who
/// take it for a whole time slice: packets would wait meanwhile.
pub(super) struct Courtesy {
    again: Instant,
}

impl Courtesy {
    pub(super) fn new(now: Instant) -> Courtesy {
        Courtesy { again: now }
    }

    /// Lets others go before, unless that took long a short while ago. `now` asks for the time.
    pub(super) fn give_way(&mut self, mut now: impl FnMut() -> Instant, give: impl FnOnce()) {
        let start = now();
        if start < self.again {
            return;
        }
        give();
        let end = now();
        if end.saturating_duration_since(start) > LONG {
            self.again = end + PAUSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_long_is_not_let_before_for_a_while() {
        let start = Instant::now();
        let mut courtesy = Courtesy::new(start);
        // At which microsecond, how long the others take, and whether they are let go before.
        let mut check = |at: u64, takes: u64, expected: bool| {
            let mut times = [at, at + takes].into_iter().map(|at| start + Duration::from_micros(at));
            let mut given = false;
            courtesy.give_way(|| times.next().unwrap(), || given = true);
            assert_eq!(given, expected, "at {at} µs");
        };
        check(0, 10, true);
        check(20, 1_000, true);
        check(2_000, 1_001, true);
        check(3_002, 1, false);
        check(103_000, 1, false);
        check(103_001, 1, true);
    }
}
