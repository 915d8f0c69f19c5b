//! When routers are asked for an advertisement: RFC 4861 §6.3.7 with the pauses of RFC 7559 §2.

use std::time::{Duration, Instant};

/// The first pause (`IRT`).
const FIRST: Duration = Duration::from_secs(4);
/// The longest (`MRT`).
const LONGEST: Duration = Duration::from_secs(3600);

/// Asks again with growing pauses until a router answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Solicitation {
    due: Option<Instant>,
    pause: Duration,
    sent: Option<Instant>,
}

impl Solicitation {
    /// The first is due at once.
    pub(super) fn new(now: Instant) -> Solicitation {
        Solicitation { due: Some(now), pause: FIRST, sent: None }
    }

    /// When the next is due, if one is.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Begins anew, though not sooner than the first pause allows.
    pub(super) fn again(&mut self, now: Instant) {
        self.pause = FIRST;
        self.due = Some(self.sent.map_or(now, |sent| now.max(sent + FIRST)));
    }

    /// One was sent. `random` spreads the pause by a tenth either way, so that hosts which began together
    /// don't go on so.
    pub(super) fn sent(&mut self, now: Instant, random: u8) {
        let tenth = self.pause / 10;
        let spread = tenth * 2 * u32::from(random) / u32::from(u8::MAX);
        self.due = Some(now + self.pause - tenth + spread);
        self.pause = (self.pause * 2).min(LONGEST);
        self.sent = Some(now);
    }

    /// A router answered.
    pub(super) fn answered(&mut self) {
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The middle of what is random.
    const MIDDLE: u8 = 127;

    #[test]
    fn pauses_grow() {
        let mut at = Instant::now();
        let mut solicitation = Solicitation::new(at);
        assert_eq!(solicitation.due(), Some(at));
        let mut check = |seconds: u64| {
            solicitation.sent(at, MIDDLE);
            let next = solicitation.due().unwrap();
            let expected = Duration::from_secs(seconds);
            let off = (next - at).abs_diff(expected);
            assert!(off <= expected / 200, "{:?} for {expected:?}", next - at);
            at = next;
        };
        for seconds in [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600] {
            check(seconds);
        }
    }

    #[test]
    fn spread_by_a_tenth() {
        let check = |random: u8, milliseconds: u64| {
            let now = Instant::now();
            let mut solicitation = Solicitation::new(now);
            solicitation.sent(now, random);
            assert_eq!(solicitation.due(), Some(now + Duration::from_millis(milliseconds)), "{random}");
        };
        check(0, 3600);
        check(51, 3760);
        check(255, 4400);
    }

    #[test]
    fn an_answer_ends_it_and_more_can_be_asked() {
        let begin = Instant::now();
        let check = |answered: u64, again: u64, expected: u64| {
            let at = |seconds| begin + Duration::from_secs(seconds);
            let mut solicitation = Solicitation::new(begin);
            solicitation.sent(begin, MIDDLE);
            solicitation.answered();
            assert_eq!(solicitation.due(), None, "{answered}");
            solicitation.again(at(again));
            assert_eq!(solicitation.due(), Some(at(expected)));
        };
        check(1, 1, 4);
        check(1, 3, 4);
        check(1, 5, 5);
        check(1, 600, 600);
    }
}
