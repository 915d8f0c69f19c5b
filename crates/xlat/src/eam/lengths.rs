//! Longest match by one hash look-up for each length that occurs, the longest first.
//!
//! A table of mappings has few lengths, however long it is, so what a look-up costs hardly depends on the
//! number of mappings. A handful of them is compared one by one, which costs less than a hash.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::{BitAnd, Not};

/// How many prefixes are compared one by one.
const HANDFUL: usize = 4;
/// No prefix.
const NONE: u32 = u32::MAX;

/// The bits of an address.
pub(super) trait Key: Copy + Eq + BitAnd<Output = Self> + Not<Output = Self> {
    /// The bits behind a prefix of this length.
    fn suffix_mask(length: u8) -> Self;
    /// Spread over all 64 bits, those on the left above all.
    fn hash(self) -> u64;
}

/// An odd number without a pattern: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Key for u32 {
    fn suffix_mask(length: u8) -> Self {
        Self::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    fn hash(self) -> u64 {
        u64::from(self).wrapping_mul(SPREAD)
    }
}

impl Key for u128 {
    fn suffix_mask(length: u8) -> Self {
        Self::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    fn hash(self) -> u64 {
        let upper = ((self >> 64) as u64).wrapping_mul(SPREAD);
        (upper.rotate_left(32) ^ self as u64).wrapping_mul(SPREAD)
    }
}

/// Where in a list each prefix is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Lengths<K> {
    /// All of a handful, longest first: the bits before the length, the prefix, its place.
    few: Vec<(K, K, u32)>,
    /// Every length that occurs, longest first, and the bits before it.
    lengths: Vec<(u8, K)>,
    /// Places in the list, at the hash of the prefix or soon behind it; at least half hold none. A power of
    /// two of them.
    slots: Vec<u32>,
}

impl<K> Default for Lengths<K> {
    fn default() -> Self {
        Self { few: Vec::new(), lengths: Vec::new(), slots: Vec::new() }
    }
}

impl<K: Key> Lengths<K> {
    /// Of prefixes that are all different.
    pub(super) fn new(prefixes: impl ExactSizeIterator<Item = (K, u8)>) -> Self {
        if prefixes.len() <= HANDFUL { Self::handful(prefixes) } else { Self::hashed(prefixes) }
    }

    fn handful(prefixes: impl Iterator<Item = (K, u8)>) -> Self {
        let mut sorted: Vec<((K, u8), u32)> = prefixes.zip(0..NONE).collect();
        sorted.sort_by_key(|((_, length), _)| Reverse(*length));
        let few = sorted.into_iter();
        let few = few.map(|((prefix, length), place)| (!K::suffix_mask(length), prefix, place));
        Self { few: few.collect(), ..Self::default() }
    }

    fn hashed(prefixes: impl ExactSizeIterator<Item = (K, u8)>) -> Self {
        let slots = alloc::vec![NONE; (prefixes.len() * 2).next_power_of_two()];
        let mut made = Self { slots, ..Self::default() };
        let mut occurs = [false; 129];
        for ((prefix, length), place) in prefixes.zip(0..NONE) {
            occurs.iter_mut().skip(length.into()).take(1).for_each(|it| *it = true);
            let free = made.chain(prefix, length).find(|at| made.slots.get(*at) == Some(&NONE));
            if let Some(slot) = free.and_then(|at| made.slots.get_mut(at)) {
                *slot = place;
            }
        }
        let lengths = (0..=128).zip(occurs).filter(|(_, occurs)| *occurs).rev();
        made.lengths = lengths.map(|(length, _)| (length, !K::suffix_mask(length))).collect();
        made
    }

    /// The place in the list of the longest prefix that contains an address; `at` tells the prefix at a place.
    #[inline]
    pub(super) fn find(&self, address: K, at: impl Fn(usize) -> Option<(K, u8)>) -> Option<usize> {
        if let Some((_, _, place)) = self.few.iter().find(|(mask, prefix, _)| address & *mask == *prefix) {
            return Some(*place as usize);
        }
        self.lengths.iter().find_map(|&(length, mask)| {
            let prefix = address & mask;
            let places = self.chain(prefix, length).map_while(|at| self.slots.get(at));
            let mut places = places.take_while(|place| **place != NONE).map(|place| *place as usize);
            places.find(|place| at(*place) == Some((prefix, length)))
        })
    }

    /// Where a prefix may be, in the order of the search.
    #[inline]
    fn chain(&self, prefix: K, length: u8) -> impl Iterator<Item = usize> + use<K> {
        let last = self.slots.len().saturating_sub(1);
        let hash = prefix.hash().wrapping_add(u64::from(length).wrapping_mul(SPREAD));
        let first = (hash >> 32) as usize;
        (0..=last).map(move |step| first.wrapping_add(step) & last)
    }
}
