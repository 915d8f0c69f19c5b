//! What must exist first stands first.

use crate::object::{Key, Object, Verdict, Wanted};

/// One wish for each key: bridges share a sysctl, a pinned gateway, the filter.
pub(super) fn merged(all: Vec<Wanted>) -> Vec<Wanted> {
    let mut merged: Vec<Wanted> = Vec::new();
    for wanted in all {
        match merged.iter_mut().find(|known| known.key() == wanted.key()) {
            None => merged.push(wanted),
            Some(known) => join(known, wanted),
        }
    }
    for wanted in &mut merged {
        if let Wanted::Object(Object::Filter(filter)) = wanted {
            // As the kernel lists them: chain by chain. Those that drop stand last.
            filter.rules.sort_by_key(|rule| (rule.chain, rule.verdict == Verdict::Drop));
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
pub(super) fn sorted(mut waiting: Vec<Wanted>) -> Vec<Wanted> {
    let mut sorted: Vec<Wanted> = Vec::new();
    while !waiting.is_empty() {
        let free = |wanted: &Wanted| !waiting.iter().any(|other| other != wanted && before(other, wanted));
        // The relation has three levels (links, vacancies, the rest), so something is always free.
        let next = waiting.iter().position(free).unwrap_or(0);
        sorted.push(waiting.remove(next));
    }
    sorted
}

fn before(first: &Wanted, second: &Wanted) -> bool {
    match first {
        Wanted::Object(Object::Link(link)) => {
            second.device() == Some(&link.name)
                || matches!(second, Wanted::Vacant { .. } | Wanted::Object(Object::Rule(_)))
        }
        Wanted::Vacant { dev, .. } => second.device() == Some(dev) && !matches!(second.key(), Key::Sysctl(_)),
        Wanted::Object(_) | Wanted::Sysctl(_) | Wanted::LooseReversePath { .. } | Wanted::Pinned { .. } => {
            false
        }
    }
}
