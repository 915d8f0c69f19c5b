//! Where the loops find the translator that holds at present.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use straddle_xlat::Translator;

/// Holds a translator that may be exchanged. Asking whether it was costs one load.
pub(super) struct Slot {
    /// Grows with each exchange, while `current` is locked.
    generation: AtomicU64,
    current: Mutex<Arc<Translator>>,
}

/// A loop's own hold on the translator.
pub(super) struct Held {
    generation: u64,
    translator: Arc<Translator>,
}

impl Slot {
    pub(super) fn new(translator: Arc<Translator>) -> Slot {
        Slot { generation: AtomicU64::new(0), current: Mutex::new(translator) }
    }

    /// Puts another translator in the place of the present one.
    pub(super) fn put(&self, translator: Arc<Translator>) {
        let mut current = self.lock();
        self.generation.fetch_add(1, Ordering::Release);
        *current = translator;
    }

    /// Takes hold of the present one.
    pub(super) fn hold(&self) -> Held {
        let current = self.lock();
        Held { generation: self.generation.load(Ordering::Acquire), translator: current.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Translator>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The present translator, taken hold of anew where it was exchanged.
    pub(super) fn refresh(&mut self, slot: &Slot) -> &Translator {
        if self.generation != slot.generation.load(Ordering::Acquire) {
            *self = slot.hold();
        }
        &self.translator
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use straddle_xlat::Config;

    fn translator(mtu4: u16) -> Arc<Translator> {
        Arc::new(Translator::new(Config { mtu4, ..Config::default() }))
    }

    #[test]
    fn each_hold_sees_the_latest_and_lets_the_former_go() {
        let (first, second) = (translator(1), translator(2));
        let slot = Slot::new(first.clone());
        let mut held = [slot.hold(), slot.hold()];
        let check = |held: &mut Held, mtu4| assert_eq!(held.refresh(&slot).config().mtu4, mtu4);
        held.iter_mut().for_each(|held| check(held, 1));
        assert_eq!(Arc::strong_count(&first), 4);
        slot.put(second.clone());
        held.iter_mut().for_each(|held| check(held, 2));
        assert_eq!([&first, &second].map(Arc::strong_count), [1, 4]);
        slot.put(first.clone());
        slot.put(translator(3));
        held.iter_mut().for_each(|held| check(held, 3));
        assert_eq!([&first, &second].map(Arc::strong_count), [1, 1]);
    }
}
