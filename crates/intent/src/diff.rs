//! The difference between what shall be and what is: the work.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::memory::{Memory, Remembered};
use crate::object::{
    Key, LinkAddress, MARK, Neighbour, NeighbourKind, Object, Origin, Raw, Route, RouteKind, Sysctl,
    SysctlKey, Wanted,
};
use crate::plan::Plan;
use crate::snapshot::Snapshot;
use crate::step::{Setting, Step};
use crate::words;

/// Something in the way that is not ours to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What is there.
    pub message: String,
    /// What the user can do.
    pub help: String,
}

/// The steps from `live` to `plan`: first what the plan does not want any more, last things first;
/// then what it wants, in its order. An empty plan takes everything back.
///
/// # Errors
/// Every conflict, if there is one.
pub fn diff(plan: &Plan, live: &Snapshot, memory: &Memory) -> Result<Vec<Step>, Vec<Conflict>> {
    let live = adopted(live, memory);
    let mut steps = taken_back(plan, &live, memory);
    let (replaced, live) = replaced(plan, live);
    steps.extend(replaced);
    let mut conflicts = Vec::new();
    let ours = Ours::of(&live);
    for wanted in &plan.wanted {
        match one(wanted, &ours, memory) {
            Ok(found) => steps.extend(found),
            Err(conflict) => conflicts.push(conflict),
        }
    }
    if conflicts.is_empty() { Ok(steps) } else { Err(conflicts) }
}

/// A device that we had begun to make is ours, though it bears no mark yet.
fn adopted(live: &Snapshot, memory: &Memory) -> Snapshot {
    let mut live = live.clone();
    for link in live.links.iter_mut().filter(|link| memory.begun.contains(&link.name)) {
        link.bridge.get_or_insert_default();
    }
    live
}

/// Devices of ours that can't become what they shall be go first; with them goes what stands on them.
fn replaced(plan: &Plan, mut live: Snapshot) -> (Vec<Step>, Snapshot) {
    let mut steps = Vec::new();
    for wanted in &plan.wanted {
        let Wanted::Object(Object::Link(link)) = wanted else { continue };
        let found = live.link(&link.name).filter(|found| found.bridge.is_some()).cloned();
        if let Some(found) = found.filter(|found| !found.kind.may_become(&link.kind)) {
            live.forget(&found.name);
            steps.push(Step::Remove(Object::Link(found)));
        }
    }
    (steps, live)
}

fn taken_back(plan: &Plan, live: &Snapshot, memory: &Memory) -> Vec<Step> {
    let keys: HashSet<Key> = plan.wanted.iter().map(Wanted::key).collect();
    let wants = |key: &Key| keys.contains(key);
    let mut unwanted: Vec<Object> = live.ours().into_iter().filter(|object| !wants(&object.key())).collect();
    if plan.is_the_way_down() {
        // With a device goes what stands on it, thousands of addresses at once.
        let going: HashSet<&str> =
            live.links.iter().filter(|l| l.bridge.is_some()).map(|l| l.name.as_str()).collect();
        unwanted.retain(|object| !object.device().is_some_and(|dev| going.contains(dev)));
    }
    unwanted.sort_by_key(removal_rank);
    let mut steps: Vec<Step> = unwanted.into_iter().map(Step::Remove).collect();
    for (key, remembered) in &memory.settings {
        if !wants(&Key::Sysctl(key.clone())) {
            steps.extend(restored(key, remembered, live, memory));
        }
    }
    // The filter guards what forwarding lets through: it goes after that.
    if let Some(filter) = filter_of(live)
        && !wants(&Key::Filter)
        && filter.iter().any(|rule| rule.starts_with(MARK))
    {
        steps.push(Step::Remove(Object::Filter(Default::default())));
    }
    // The last to go knew the fewest neighbours: it comes back first.
    for displaced in memory.absent().into_iter().rev() {
        if !wants(&Key::Vacant(displaced.address.into())) {
            steps.push(Step::Reinstate(displaced));
        }
    }
    steps
}

/// What stands on another object goes before it.
fn removal_rank(object: &Object) -> u8 {
    match object {
        Object::FastPath(_) | Object::Rule(_) => 0,
        Object::Route(_) => 1,
        Object::Neighbour(_) => 2,
        Object::Address(_) => 3,
        Object::Link(_) => 4,
        Object::Filter(_) => 5,
    }
}

/// A sysctl goes back to what it was if it still is what we made it, and nobody else has come to need it. What
/// belongs to a device of ours goes with the device.
fn restored(key: &SysctlKey, remembered: &Remembered, live: &Snapshot, memory: &Memory) -> Option<Step> {
    let value = live.sysctls.get(key)?;
    let on_ours = key.device().and_then(|dev| live.link(dev)).is_some_and(|link| link.bridge.is_some());
    let still_ours = remembered.ours.as_ref().is_none_or(|ours| ours == value);
    if on_ours || *value == remembered.before || !still_ours || memory.is_overruled(key, live) {
        return None;
    }
    Some(set(key, value, &remembered.before, live))
}

fn set(key: &SysctlKey, from: &str, to: &str, live: &Snapshot) -> Step {
    let devices: Vec<&str> = live.links.iter().map(|link| link.name.as_str()).collect();
    let before = |key: SysctlKey| live.sysctls.get(&key).map(|value| (key.clone(), value.clone()));
    let disturbed = key.disturbs(&devices).into_iter().filter_map(before).collect();
    let beside = key.witness().and_then(|witness| live.sysctls.get(&witness).cloned());
    Step::Set(Setting { key: key.clone(), from: from.into(), to: to.into(), disturbed, beside })
}

/// What is there, and by their keys what is ours of it and which routes are not.
struct Ours<'a> {
    live: &'a Snapshot,
    objects: HashMap<Key, Object>,
    foreign: HashMap<Key, &'a Route>,
}

impl Ours<'_> {
    fn of(live: &Snapshot) -> Ours<'_> {
        let mut objects = HashMap::new();
        for object in live.ours() {
            objects.entry(object.key()).or_insert(object);
        }
        let mut foreign = HashMap::new();
        for route in live.routes.iter().filter(|route| route.origin != Origin::Straddle) {
            foreign.entry(Key::Route(route.table, route.dst, route.metric)).or_insert(route);
        }
        Ours { live, objects, foreign }
    }
}

fn one(wanted: &Wanted, ours: &Ours<'_>, memory: &Memory) -> Result<Option<Step>, Conflict> {
    let live = ours.live;
    match wanted {
        Wanted::Object(object) => present(object, ours),
        Wanted::Sysctl(sysctl) => Ok(sysctl_step(sysctl, live)),
        Wanted::LooseReversePath { dev } => Ok(loosened(dev, live)),
        Wanted::Vacant { address, .. } => vacant(*address, live),
        Wanted::Pinned { dev, address } => pinned(dev, *address, live, memory),
    }
}

fn vacant(address: Ipv4Addr, live: &Snapshot) -> Result<Option<Step>, Conflict> {
    let held = live.holder(address.into());
    let held = held.into_iter().find(|held| live.link(&held.dev).is_none_or(|link| link.bridge.is_none()));
    let local = |route: &&Route| route.kind == RouteKind::Local && route.dst.addr() == address;
    match (held, live.routes.iter().find(local)) {
        (Some(held), _) => Ok(Some(Step::Vacate(live.about(address, &held.dev)))),
        (None, Some(route)) if live.holder(address.into()).next().is_none() => Err(Conflict {
            message: format!(
                "no device has {address}, but the route `{}` keeps it here",
                words::route(route)
            ),
            help: "delete that route from table 255 (local), then try again".into(),
        }),
        (None, _) => Ok(None),
    }
}

fn present(object: &Object, ours: &Ours<'_>) -> Result<Option<Step>, Conflict> {
    let Some(found) = found(object, ours)? else {
        return Ok(Some(Step::Create(object.clone())));
    };
    let in_step = match (object, &found) {
        (Object::Route(route), Object::Route(other)) => route.agrees(other),
        (Object::Address(_), _) => true,
        (Object::FastPath(mine), Object::FastPath(other)) => mine.agrees(other),
        (Object::Neighbour(mine), Object::Neighbour(other)) => mine.same_as(other),
        (
            Object::Link(_)
            | Object::Route(_)
            | Object::Rule(_)
            | Object::Neighbour(_)
            | Object::Filter(_)
            | Object::FastPath(_),
            other,
        ) => object == other,
    };
    Ok((!in_step).then(|| Step::Change { from: found, to: object.clone() }))
}

/// The object of the same key, if it is ours.
fn found(object: &Object, ours: &Ours<'_>) -> Result<Option<Object>, Conflict> {
    let (key, live) = (object.key(), ours.live);
    if let Object::Filter(filter) = object {
        return found_filter(filter, live);
    }
    if let Some(known) = ours.objects.get(&key) {
        return Ok(Some(known.clone()));
    }
    let foreign = match object {
        Object::Link(link) => live.link(&link.name).map(|_| format!("a device `{}` exists", link.name)),
        Object::Address(address) => {
            live.addresses.iter().find(|other| other.same_as(address)).map(words::address)
        }
        Object::Route(_) => {
            ours.foreign.get(&key).map(|route| format!("the route `{}` exists", words::route(route)))
        }
        Object::Rule(_) => {
            let same = |other: &&crate::object::Rule| Object::Rule((*other).clone()).key() == key;
            live.rules.iter().find(same).map(|rule| format!("the rule `{}` exists", words::rule(rule)))
        }
        Object::Neighbour(mine) => {
            // Somebody else's entry that does the same is as good; it stays theirs.
            if live.neighbours.iter().any(|other| other.same_as(mine)) {
                return Ok(Some(object.clone()));
            }
            None
        }
        // Whatever else hangs at the device, ours hangs beside it.
        Object::Filter(_) | Object::FastPath(_) => None,
    };
    match foreign {
        None => Ok(None),
        Some(what) => Err(Conflict {
            message: format!("{what}, and it is not ours"),
            help: "take it away yourself if nothing else needs it, then try again".into(),
        }),
    }
}

fn found_filter(wanted: &crate::object::Filter, live: &Snapshot) -> Result<Option<Object>, Conflict> {
    let Some(comments) = filter_of(live) else { return Ok(None) };
    if !comments.iter().any(|comment| comment.starts_with(MARK)) {
        return Err(Conflict {
            message: "an nft table `inet straddle` exists, and none of its rules is ours".into(),
            help: "give that table another name, or `nft delete table inet straddle`".into(),
        });
    }
    let in_step =
        comments.iter().eq(wanted.rules.iter().map(|rule| rule.to_string()).collect::<Vec<_>>().iter());
    Ok(Some(Object::Filter(if in_step { wanted.clone() } else { Default::default() })))
}

fn filter_of(live: &Snapshot) -> Option<&Vec<String>> {
    live.filter.as_ref()
}

fn sysctl_step(wanted: &Sysctl, live: &Snapshot) -> Option<Step> {
    let value = value(&wanted.key, live);
    (value != wanted.value).then(|| set(&wanted.key, value, &wanted.value, live))
}

/// A sysctl's value; that of a device which is yet to come is inherited.
fn value<'a>(key: &SysctlKey, live: &'a Snapshot) -> &'a str {
    let own = live.sysctls.get(key);
    let inherited = || key.inherits().and_then(|key| live.sysctls.get(&key));
    own.or_else(inherited).map_or("0", String::as_str)
}

/// The kernel takes the larger of `all` and the device's own; 1 is strict, 2 is loose.
fn loosened(dev: &str, live: &Snapshot) -> Option<Step> {
    let key = SysctlKey::ipv4_conf(dev, "rp_filter");
    let own = value(&key, live);
    let all = value(&SysctlKey::ipv4_conf("all", "rp_filter"), live);
    let strict = own.max(all) == "1";
    strict.then(|| set(&key, own, "2", live))
}

fn pinned(dev: &str, address: IpAddr, live: &Snapshot, memory: &Memory) -> Result<Option<Step>, Conflict> {
    let here = |entry: &&Neighbour| {
        entry.dev == dev && entry.address == address && entry.kind != NeighbourKind::Proxy
    };
    let entry = live.neighbours.iter().find(here);
    if entry.is_some_and(Neighbour::lasts) {
        return Ok(None);
    }
    let remembered = || memory.displaced.iter().flat_map(|displaced| &displaced.neighbours).find(here);
    let Some(known) = entry.or_else(remembered).and_then(Neighbour::link_address) else {
        return Err(unresolved(dev, address));
    };
    let kind = NeighbourKind::Permanent(LinkAddress(known.0.clone()));
    let neighbour =
        Neighbour { dev: dev.into(), address, kind, origin: Origin::Straddle, raw: Raw::default() };
    Ok(Some(Step::Create(Object::Neighbour(neighbour))))
}

fn unresolved(dev: &str, address: IpAddr) -> Conflict {
    Conflict {
        message: format!("the gateway {address} does not answer on {dev}: its link-layer address is unknown"),
        help: format!("is `gateway4` right? try `ping {address}`, then `ip neigh show dev {dev}`"),
    }
}
