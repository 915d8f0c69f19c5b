//! Things with a number and a deadline.

use std::time::Duration;

/// When something is to be looked at, in milliseconds of the loop's clock.
pub(super) type Due = u64;
const NEVER: Due = Due::MAX;

/// A duration of the loop's clock.
pub(super) fn milliseconds(duration: Duration) -> Due {
    Due::try_from(duration.as_millis()).unwrap_or(Due::MAX / 2)
}

/// A number that is not given again to another thing while an event of the former may be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) index: u32,
    pub(super) generation: u16,
}

/// Keeps things by number. Deadlines stand densely beside them: to look for the next one reads nothing else.
#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<(u16, Option<T>)>,
    due: Vec<Due>,
    free: Vec<u32>,
    next: Due,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab { entries: Vec::new(), due: Vec::new(), free: Vec::new(), next: NEVER }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Takes a thing in, which knows its number.
    pub(super) fn insert(&mut self, due: Due, thing: impl FnOnce(Id) -> T) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push((0, None));
            self.due.push(NEVER);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        let mut id = Id { index, generation: 0 };
        if let Some((generation, entry)) = self.entries.get_mut(index as usize) {
            *generation = generation.wrapping_add(1);
            id.generation = *generation;
            *entry = Some(thing(id));
        }
        self.set_due(id, due);
        id
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let (generation, entry) = self.entries.get_mut(id.index as usize)?;
        if *generation == id.generation { entry.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
        let (generation, entry) = self.entries.get_mut(id.index as usize)?;
        let thing = if *generation == id.generation { entry.take()? } else { return None };
        self.free.push(id.index);
        if let Some(due) = self.due.get_mut(id.index as usize) {
            *due = NEVER;
        }
        Some(thing)
    }

    pub(super) fn set_due(&mut self, id: Id, due: Due) {
        if let Some(held) = self.due.get_mut(id.index as usize) {
            *held = due;
            self.next = self.next.min(due);
        }
    }

    /// When to ask for [`Slab::over`] at the latest.
    pub(super) fn next(&self) -> Due {
        self.next
    }

    /// Those whose deadline is over.
    pub(super) fn over(&mut self, now: Due) -> Vec<Id> {
        if now < self.next {
            return Vec::new();
        }
        let over = self.due.iter().enumerate().filter(|(_, due)| **due <= now);
        let found = over.filter_map(|(index, _)| self.id(index)).collect();
        self.next = self.due.iter().copied().filter(|due| *due > now).min().unwrap_or(NEVER);
        found
    }

    /// All there are.
    pub(super) fn ids(&self) -> Vec<Id> {
        (0..self.entries.len()).filter_map(|index| self.id(index)).collect()
    }

    fn id(&self, index: usize) -> Option<Id> {
        let (generation, entry) = self.entries.get(index)?;
        entry.as_ref()?;
        Some(Id { index: u32::try_from(index).ok()?, generation: *generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_given_again_is_another() {
        let mut slab = Slab::new();
        let first = slab.insert(10, |_| 'a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert(20, |_| 'b');
        assert_eq!(second.index, first.index);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut 'b'));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn deadlines_are_found_when_they_are_over() {
        let mut slab = Slab::new();
        let [early, late] = [10, 30].map(|due| slab.insert(due, |_| ()));
        let mut check = |now, next, expected: &[Id]| {
            assert_eq!(slab.over(now), expected, "{now}");
            assert_eq!(slab.next(), next, "{now}");
        };
        check(9, 10, &[]);
        check(10, 30, &[early]);
        check(30, NEVER, &[early, late]);
    }
}
