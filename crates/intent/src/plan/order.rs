//! What must exist first stands first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::object::{Key, Object, Verdict, Wanted};
use crate::words;

/// One wish for each key: bridges share a sysctl, a pinned gateway, the filter.
pub(super) fn merged(all: Vec<Wanted>) -> Vec<Wanted> {
    let mut merged: Vec<Wanted> = Vec::new();
    let mut places: HashMap<Key, usize> = HashMap::new();
    for wanted in all {
        let place = *places.entry(wanted.key()).or_insert(merged.len());
        match merged.get_mut(place) {
            None => merged.push(wanted),
            Some(known) => join(known, wanted),
        }
    }
    for wanted in &mut merged {
        if let Wanted::Object(Object::Filter(filter)) = wanted {
            // As the kernel lists them: chain by chain. Those that drop stand last.
            let drops = |verdict: Verdict| matches!(verdict, Verdict::Drop | Verdict::Count);
            filter.rules.sort_by_key(|rule| (rule.chain, drops(rule.verdict)));
            // What two bridges wish alike is said once; each counts its own.
            let mut seen = HashSet::new();
            filter
                .rules
                .retain(|rule| rule.verdict == Verdict::Count || seen.insert(words::filter_rule(rule)));
        }
    }
    merged
}

/// Of two wishes with one key the first stands; the filter has the rules of both.
fn join(known: &mut Wanted, wanted: Wanted) {
    if let (Wanted::Object(Object::Filter(all)), Wanted::Object(Object::Filter(more))) = (known, wanted) {
        all.rules.extend(more.rules);
    }
}

/// Stable topological order: a device before what stands on it, and an address gone before what
/// its going would take along (the device's routes and neighbours, with the last address).
pub(super) fn sorted(all: Vec<Wanted>) -> Vec<Wanted> {
    let mut waiting = Waiting::default();
    all.iter().for_each(|wanted| waiting.expect(wanted));
    let mut all: Vec<Option<Wanted>> = all.into_iter().map(Some).collect();
    let mut free: BinaryHeap<Reverse<usize>> = (0..all.len()).map(Reverse).collect();
    let mut held: HashMap<Hold, Vec<usize>> = HashMap::new();
    let mut sorted = Vec::with_capacity(all.len());
    while let Some(Reverse(place)) = free.pop() {
        let Some(wanted) = all.get_mut(place).and_then(Option::take) else { continue };
        if let Some(hold) = waiting.hold(&wanted) {
            held.entry(hold).or_default().push(place);
            if let Some(room) = all.get_mut(place) {
                *room = Some(wanted);
            }
            continue;
        }
        // Whoever waited for it is looked at again, in the order of before.
        for hold in waiting.met(&wanted) {
            free.extend(held.remove(&hold).into_iter().flatten().map(Reverse));
        }
        sorted.push(wanted);
    }
    sorted
}

/// What something waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Hold {
    /// That this device is there.
    Device(String),
    /// That all devices are.
    Devices,
    /// That the addresses that leave this device have left it.
    Vacant(String),
}

/// How much of each is yet to come.
#[derive(Default)]
struct Waiting {
    devices: HashMap<String, usize>,
    all: usize,
    vacant: HashMap<String, usize>,
}

impl Waiting {
    fn expect(&mut self, wanted: &Wanted) {
        match wanted {
            Wanted::Object(Object::Link(link)) => {
                *self.devices.entry(link.name.clone()).or_default() += 1;
                self.all += 1;
            }
            Wanted::Vacant { dev, .. } => *self.vacant.entry(dev.clone()).or_default() += 1,
            Wanted::Object(_)
            | Wanted::Sysctl(_)
            | Wanted::LooseReversePath { .. }
            | Wanted::Pinned { .. } => {}
        }
    }

    fn hold(&self, wanted: &Wanted) -> Option<Hold> {
        let some = |count: Option<&usize>| count.is_some_and(|count| *count > 0);
        match wanted {
            Wanted::Object(Object::Link(_)) => return None,
            Wanted::Vacant { .. } | Wanted::Object(Object::Rule(_)) => {
                return (self.all > 0).then_some(Hold::Devices);
            }
            Wanted::Object(_)
            | Wanted::Sysctl(_)
            | Wanted::LooseReversePath { .. }
            | Wanted::Pinned { .. } => {}
        }
        let dev = match wanted {
            // One behind an uplink leads into a device of ours.
            Wanted::Object(Object::FastPath(fast)) => fast.serves(),
            Wanted::Object(_)
            | Wanted::Sysctl(_)
            | Wanted::LooseReversePath { .. }
            | Wanted::Vacant { .. }
            | Wanted::Pinned { .. } => wanted.device()?,
        };
        if some(self.devices.get(dev)) {
            return Some(Hold::Device(dev.into()));
        }
        let settings = matches!(wanted.key(), Key::Sysctl(_));
        (!settings && some(self.vacant.get(dev))).then(|| Hold::Vacant(dev.into()))
    }

    /// It is there: what that ends.
    fn met(&mut self, wanted: &Wanted) -> Vec<Hold> {
        let less = |count: Option<&mut usize>| {
            count.map_or(0, |count| {
                *count -= 1;
                *count
            })
        };
        match wanted {
            Wanted::Object(Object::Link(link)) => {
                self.all -= 1;
                let last = less(self.devices.get_mut(&link.name)) == 0;
                let device = last.then(|| Hold::Device(link.name.clone()));
                device.into_iter().chain((self.all == 0).then_some(Hold::Devices)).collect()
            }
            Wanted::Vacant { dev, .. } if less(self.vacant.get_mut(dev)) == 0 => {
                vec![Hold::Vacant(dev.clone())]
            }
            Wanted::Vacant { .. } => vec![],
            Wanted::Object(_)
            | Wanted::Sysctl(_)
            | Wanted::LooseReversePath { .. }
            | Wanted::Pinned { .. } => vec![],
        }
    }
}
