//! Tables that programs only read (`bpf/perfect.h`): each key has a place of its own, found without a search. Groups of
//! keys, the largest first, are shifted until each of their places is free (Belazzougui, Botelho, Dietzfelbinger, "Hash,
//! displace, and compress", 2009).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::Ebpf;
use aya::maps::{Map, MapData};
use rustix::mm;

use crate::Error;

use super::program::refused;

/// Keys that share a shift, on the average. With four, 256 shifts are mostly too few.
const GROUP: usize = 3;
/// How many arrangements are tried, each with other hashes and more room. The first one nearly always holds.
const ATTEMPTS: u64 = 32;

/// All bytes of a place where no key stands: no network is so long.
pub(super) const NONE: u8 = u8::MAX;

/// The array of a table, each element as long as a key and what belongs to it.
pub(super) struct Table {
    size: usize,
    bytes: Vec<u8>,
}

/// `struct layout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    seed: u64,
    shifts: u32,
    before: u32,
    places: u32,
}

/// Which shift each group has, and which key stands at each place.
struct Arrangement {
    shifts: Vec<u8>,
    places: Vec<Option<usize>>,
}

impl Table {
    /// Lays out a table; of the same key, the last counts. Keys are whole words of 8 bytes, and elements begin with them.
    ///
    /// # Errors
    /// When no arrangement is found: not to be expected of any keys.
    pub(super) fn new<const K: usize, const V: usize>(
        entries: impl Iterator<Item = ([u8; K], [u8; V])>,
    ) -> Result<Table, Error> {
        let entries: Vec<_> = entries.collect::<BTreeMap<_, _>>().into_iter().collect();
        let size = K + V;
        let seed = RandomState::new().build_hasher().finish();
        let (layout, arrangement) = (0..ATTEMPTS)
            .find_map(|attempt| {
                let layout = Layout::new(entries.len(), size, seed, attempt);
                let hashes: Vec<u64> = entries.iter().map(|(key, _)| layout.hash(key)).collect();
                Some((layout, arranged(&layout, &hashes)?))
            })
            .ok_or_else(|| refused("a table can't be laid out"))?;
        let mut bytes = layout.raw();
        bytes.resize(size, 0);
        bytes.extend(arrangement.shifts);
        for key in arrangement.places {
            match key.and_then(|key| entries.get(key)) {
                Some((key, value)) => bytes.extend(key.iter().chain(value)),
                None => bytes.resize(bytes.len() + size, NONE),
            }
        }
        Ok(Table { size, bytes })
    }

    /// How many elements the array has.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.bytes.len() / self.size).unwrap_or(u32::MAX)
    }

    /// Fills the array of this name in one go: a call for each element of 100,000 takes a while.
    pub(super) fn put(&self, ebpf: &mut Ebpf, name: &str) -> Result<(), Error> {
        match ebpf.map_mut(name) {
            Some(Map::Array(map)) => self.written(map),
            _ => Err(refused("a table is missing")),
        }
    }

    fn written(&self, map: &MapData) -> Result<(), Error> {
        let fd: BorrowedFd<'_> = map.fd().as_fd();
        let length = self.bytes.len();
        let failed = Error::call("mapping a table");
        // SAFETY: at an address that the kernel chooses nothing is in the way.
        let room = unsafe {
            mm::mmap(std::ptr::null_mut(), length, mm::ProtFlags::WRITE, mm::MapFlags::SHARED, fd, 0)
        };
        let room = room.map_err(|errno| failed(errno.into()))?;
        // SAFETY: the room is as long as was asked for, nobody else knows of it, and no reference into it is left.
        unsafe {
            std::ptr::copy_nonoverlapping(self.bytes.as_ptr(), room.cast(), length);
            mm::munmap(room, length)
        }
        .map_err(|errno| Error::call("unmapping a table")(errno.into()))
    }
}

impl Layout {
    /// Room for so many keys, in elements of `size` bytes.
    fn new(keys: usize, size: usize, seed: u64, attempt: u64) -> Layout {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let blocks = (keys / GROUP + 1).div_ceil(size);
        Layout {
            seed: seed.wrapping_add(attempt),
            shifts: number(blocks * size),
            before: number(1 + blocks),
            places: number(keys + keys * (4 + attempt as usize) / 16 + 1),
        }
    }

    fn raw(&self) -> Vec<u8> {
        let words = [self.shifts, self.before, self.places].map(u32::to_ne_bytes);
        [&self.seed.to_ne_bytes()[..], &words.concat()].concat()
    }

    /// As the program computes it.
    fn hash(&self, key: &[u8]) -> u64 {
        key.as_chunks().0.iter().fold(self.seed, |hash, word| {
            let mixed = (hash ^ u64::from_ne_bytes(*word)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed ^ mixed >> 32
        })
    }

    /// The number of a shift. Both halves of the last product are in these bits: of keys in a row, either alone makes
    /// groups of unequal size.
    fn shift(&self, hash: u64) -> usize {
        below(self.shifts, hash as u32)
    }

    fn place(&self, hash: u64, shift: u8) -> usize {
        let moved = hash ^ u64::from(shift).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        below(self.places, (moved.wrapping_mul(0x94d0_49bb_1331_11eb) >> 32) as u32)
    }
}

/// Of the numbers below `count`, the one that a random one leads to.
fn below(count: u32, random: u32) -> usize {
    ((u64::from(count) * u64::from(random)) >> 32) as usize
}

/// The number of an array's first place, by its first element.
pub(super) fn before(first: &[u8]) -> Option<u32> {
    first.get(12..16)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Finds a place for each key; none where one group has no shift that fits.
fn arranged(layout: &Layout, hashes: &[u64]) -> Option<Arrangement> {
    let mut keys: Vec<(usize, usize, u64)> =
        (0..).zip(hashes).map(|(key, hash)| (layout.shift(*hash), key, *hash)).collect();
    keys.sort_unstable();
    let mut groups: Vec<&[(usize, usize, u64)]> = keys.chunk_by(|one, other| one.0 == other.0).collect();
    groups.sort_by_key(|group| Reverse(group.len()));
    let mut shifts = vec![0; layout.shifts as usize];
    let mut places = vec![None; layout.places as usize];
    for group in groups {
        let shift = (0..=u8::MAX).find(|shift| settled(layout, group, *shift, &mut places))?;
        *shifts.get_mut(group.first()?.0)? = shift;
    }
    Some(Arrangement { shifts, places })
}

/// Gives each key of a group its place, if all are free; else none.
fn settled(layout: &Layout, group: &[(usize, usize, u64)], shift: u8, places: &mut [Option<usize>]) -> bool {
    for (at, (_, key, hash)) in group.iter().enumerate() {
        match places.get_mut(layout.place(*hash, shift)) {
            Some(place @ None) => *place = Some(*key),
            _ => {
                for (_, _, hash) in group.iter().take(at) {
                    places.get_mut(layout.place(*hash, shift)).map(Option::take);
                }
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entry = ([u8; 8], [u8; 24]);

    fn entry(key: u64) -> Entry {
        let value = [key.wrapping_mul(3); 3].map(u64::to_ne_bytes).concat();
        (key.to_ne_bytes(), value.try_into().unwrap())
    }

    /// The element that a program looks at for a key.
    fn looked_at<'a>(table: &'a Table, key: &[u8]) -> &'a [u8] {
        let number = |at: usize| u32::from_ne_bytes(table.bytes[at..at + 4].try_into().unwrap());
        let seed = u64::from_ne_bytes(table.bytes[..8].try_into().unwrap());
        let layout = Layout { seed, shifts: number(8), before: number(12), places: number(16) };
        assert_eq!(before(&table.bytes), Some(layout.before));
        assert_eq!(layout.before + layout.places, table.len());
        let hash = layout.hash(key);
        let at = layout.before as usize + layout.place(hash, table.bytes[table.size + layout.shift(hash)]);
        &table.bytes[at * table.size..][..table.size]
    }

    fn check(what: &str, keys: impl Iterator<Item = u64>) {
        let keys: Vec<u64> = keys.collect();
        let table = Table::new(keys.iter().copied().map(entry)).unwrap();
        let elements = 2 * keys.len() + 4;
        assert!((table.len() as usize) < elements, "{what}: {} elements", table.len());
        for key in &keys {
            let (key, value) = entry(*key);
            assert_eq!(looked_at(&table, &key), [&key[..], &value].concat(), "{what}");
        }
        for other in keys.iter().map(|key| key ^ 1 << 63) {
            assert_ne!(looked_at(&table, &other.to_ne_bytes())[..8], other.to_ne_bytes(), "{what}");
        }
    }

    #[test]
    fn each_key_has_a_place() {
        for count in (0..200).chain([4_096, 100_000]) {
            check(&format!("{count} in a row"), 0..count);
        }
        check("hosts of a network", (0x0a00_0000_u64..0x0a01_0000).map(|net| 32 << 32 | net));
        check("networks in a row", (0..65_536_u64).map(|net| 24 << 32 | net << 8));
        check("of many lengths", (0..20_000_u64).map(|number| (number % 33) << 32 | number << 12));
        check("the upper bits alone", (0..20_000_u64).map(|number| number.rotate_right(16)));
    }

    #[test]
    fn networks_of_ipv6_differ_in_any_of_their_words() {
        let key = |number: u64| {
            let words = [(0x2001_0db8 << 32) + number % 50, (number / 50 % 50) << 40, number / 2_500];
            words.map(u64::to_ne_bytes).concat().try_into().unwrap()
        };
        let entries: Vec<([u8; 24], [u8; 40])> = (0..50_000).map(|number| (key(number), [7; 40])).collect();
        let table = Table::new(entries.iter().copied()).unwrap();
        for (key, value) in entries {
            assert_eq!(looked_at(&table, &key), [&key[..], &value].concat());
        }
    }

    #[test]
    fn of_the_same_key_the_last_counts() {
        let (key, value) = entry(7);
        let table = Table::new([(key, [1; 24]), (key, value)].into_iter()).unwrap();
        assert_eq!(looked_at(&table, &key), [&key[..], &value].concat());
    }

    /// What arrangements are for: a first one that does not hold is rare, and the next has more room.
    #[test]
    fn the_first_arrangement_nearly_always_holds() {
        let hold = |attempt| {
            let holds = |seed: &u64| {
                let layout = Layout::new(20_000, 32, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), attempt);
                let hashes: Vec<u64> = (0..20_000_u64).map(|key| layout.hash(&key.to_ne_bytes())).collect();
                arranged(&layout, &hashes).is_some()
            };
            (0..20).filter(holds).count()
        };
        assert!(hold(0) >= 18, "{}", hold(0));
        assert_eq!(hold(4), 20);
        assert!(Layout::new(20_000, 32, 0, 4).places > Layout::new(20_000, 32, 0, 0).places);
    }
}
