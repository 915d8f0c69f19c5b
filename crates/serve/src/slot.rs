//! Where loops find what they go by at present.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Holds a value that may be exchanged. Asking whether it was costs one load.
pub(crate) struct Slot<T> {
    /// Grows with each exchange, while `current` is locked.
    generation: AtomicU64,
    current: Mutex<Arc<T>>,
}

/// A loop's own hold on the value.
pub(crate) struct Held<T> {
    generation: u64,
    value: Arc<T>,
}

impl<T> Slot<T> {
    pub(crate) fn new(value: Arc<T>) -> Slot<T> {
        Slot { generation: AtomicU64::new(0), current: Mutex::new(value) }
    }

    /// Puts another value in the place of the present one.
    pub(crate) fn put(&self, value: Arc<T>) {
        let mut current = self.lock();
        self.generation.fetch_add(1, Ordering::Release);
        *current = value;
    }

    /// Takes hold of the present one.
    pub(crate) fn hold(&self) -> Held<T> {
        let current = self.lock();
        Held { generation: self.generation.load(Ordering::Acquire), value: current.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<T>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Held<T> {
    /// The present value, taken hold of anew where it was exchanged.
    pub(crate) fn refresh(&mut self, slot: &Slot<T>) -> &T {
        if self.generation != slot.generation.load(Ordering::Acquire) {
            *self = slot.hold();
        }
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hold_sees_the_latest_and_lets_the_former_go() {
        let (first, second) = (Arc::new(1), Arc::new(2));
        let slot = Slot::new(first.clone());
        let mut held = [slot.hold(), slot.hold()];
        let check = |held: &mut Held<u16>, value| assert_eq!(*held.refresh(&slot), value);
        held.iter_mut().for_each(|held| check(held, 1));
        assert_eq!(Arc::strong_count(&first), 4);
        slot.put(second.clone());
        held.iter_mut().for_each(|held| check(held, 2));
        assert_eq!([&first, &second].map(Arc::strong_count), [1, 4]);
        slot.put(first.clone());
        slot.put(Arc::new(3));
        held.iter_mut().for_each(|held| check(held, 3));
        assert_eq!([&first, &second].map(Arc::strong_count), [1, 1]);
    }
}
