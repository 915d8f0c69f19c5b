//! What one thread remembers from packet to packet.

/// Rate limit of errors and the numbers of fragments; each thread has its own.
///
/// Errors: a bucket of 1,000 tokens that gains one each millisecond (RFC 4443 §2.4 (f)).
#[derive(Clone, Debug)]
pub struct State {
    seed: u64,
    /// How many identifications were handed out.
    count: u64,
    tokens: u64,
    /// When `tokens` was right, in milliseconds.
    filled: u64,
}

impl State {
    /// `seed` is any number, best a random one: IPv4 identifications are made of it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, count: 0, tokens: BURST, filled: 0 }
    }

    /// An IPv4 identification that can't be foretold without the seed (RFC 7739 §5.3): each run of 65,536 is
    /// all numbers in an order of its own.
    #[inline]
    pub(crate) fn identification(&mut self) -> u16 {
        let key = mix(self.seed ^ (self.count >> 16));
        let [k0, k1, k2, k3] = [key as u16, (key >> 16) as u16, (key >> 32) as u16, (key >> 48) as u16];
        let mut id = self.count as u16 ^ k0;
        self.count = self.count.wrapping_add(1);
        id = id.wrapping_mul(k1 | 1);
        id ^= id >> 7;
        id = id.wrapping_mul(k2 | 1);
        id ^= id >> 9;
        id ^ k3
    }

    /// Whether one more error may be sent.
    pub(crate) fn may_tell(&mut self, now: u64) -> bool {
        self.tokens = self.tokens.saturating_add(now.saturating_sub(self.filled)).min(BURST);
        self.filled = self.filled.max(now);
        let token = self.tokens.checked_sub(1);
        self.tokens = token.unwrap_or(0);
        token.is_some()
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
#[inline]
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

const BURST: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    #[test]
    fn identifications_do_not_repeat_within_a_run() {
        let mut state = State::new(7);
        for _ in 0..3 {
            let run: BTreeSet<u16> = (0..=u16::MAX).map(|_| state.identification()).collect();
            assert_eq!(run.len(), 65_536);
        }
    }

    #[test]
    fn identifications_depend_on_the_seed() {
        let first = |seed| {
            let mut state = State::new(seed);
            (0..100).map(|_| state.identification()).collect::<Vec<_>>()
        };
        assert_ne!(first(1), first(2));
        assert!(first(1).windows(2).any(|pair| pair[1] != pair[0].wrapping_add(1)));
    }

    fn check(state: &mut State, now: u64, asked: usize, granted: usize) {
        assert_eq!((0..asked).filter(|_| state.may_tell(now)).count(), granted, "at {now}");
    }

    #[test]
    fn errors_are_limited() {
        let mut state = State::new(0);
        check(&mut state, 5_000, 1500, 1000);
        check(&mut state, 5_001, 10, 1);
        check(&mut state, 5_001, 10, 0);
        check(&mut state, 5_011, 100, 10);
        check(&mut state, 5_000, 100, 0);
        check(&mut state, 9_000_000, 2000, 1000);
        check(&mut state, u64::MAX, 2000, 1000);
    }
}
