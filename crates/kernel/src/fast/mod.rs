//! The fast path: a program at the egress hook of a translator's or carrier's tun device (`bpf/tun_egress.c`,
//! `bpf/carrier_egress.c`), and behind uplinks one more: for a carrier (`bpf/uplink_ingress.c`), past a lender's
//! device (`bpf/lender_ingress.c`), and past a translator's (`bpf/direct_ingress.c`).
//!
//! The first hangs on the device by a filter of a `clsact` qdisc and is pinned nowhere: it lives as long as the
//! device does, whoever serves that, and goes with it. The filter's name is the mark, and tells what the program
//! was told. Another table is another program, put in the former's place in one step, so that each packet sees
//! either the one or the other. For the second see `ingress.rs`.

mod clients;
mod counts;
mod filter;
mod ingress;
mod perfect;
mod program;
mod watch;

pub use counts::{Carried, Counts, Past, SLOW, SLOW_CARRIER, SLOW_DIRECT, SLOW_LENDER, Together, Traffic};
#[doc(hidden)]
pub use program::Loaded;
pub use watch::Watch;

use std::collections::BTreeMap;

use ipnet::Ipv6Net;
use straddle_intent::object::{Client, Ends, FastPath, Hook, Link, LinkKind, Tables, Task};

use crate::Error;
use crate::netlink::{Names, Socket, index};

use clients::Clients;
use counts::Kept;
use filter::{At, Filter, Place};

/// How the name of a filter of ours begins.
const MARK: &str = "straddle:";

/// Why this kernel does not take the program; `None` when it does.
#[must_use]
pub fn refusal() -> Option<String> {
    // With what makes the program do all that it can.
    Loaded::new(&Tables::example(), 0).err().map(|error| error.to_string())
}

/// Why this kernel takes no program that encapsulates; `None` when it does.
#[must_use]
pub fn outward_refusal() -> Option<String> {
    let refusal = |ends: Ends| Loaded::outward(&ends, 0).err().map(|error| error.to_string());
    refusal(Ends::example()).or_else(|| refusal(Ends::shared_example()))
}

/// Why this kernel takes no program that decapsulates; `None` when it does.
#[must_use]
pub fn inward_refusal() -> Option<String> {
    ingress::refusal()
}

/// Why this kernel takes no program past a translator's device; `None` when it does.
#[must_use]
pub fn direct_refusal() -> Option<String> {
    ingress::direct_refusal()
}

/// Why this kernel takes no program for a lender; `None` when it does.
#[must_use]
pub fn lender_refusal() -> Option<String> {
    ingress::lender_refusal()
}

/// Why this kernel has no tcx hook; `None` when it has.
#[must_use]
pub(crate) fn tcx_refusal() -> Option<String> {
    ingress::tcx_refusal()
}

/// The programs of ours at these devices.
pub(crate) fn dump(socket: &mut Socket, links: &[Link], names: &Names) -> Result<Vec<FastPath>, Error> {
    let mut found = Vec::new();
    for link in links.iter().filter(|link| link.bridge.is_some() && link.kind == LinkKind::Tun) {
        let Ok(index) = index(names, &link.name) else { continue };
        let ours =
            filter::dump(socket, index, At::Egress)?.into_iter().find_map(|filter| Name::read(&filter.name));
        let hook = Hook::Egress;
        found.extend(ours.map(|name| FastPath {
            dev: link.name.clone(),
            hook,
            told: name.told(),
            task: None,
        }));
    }
    let others = links.iter().filter(|link| link.bridge.is_none() && link.name != "lo");
    found.extend(ingress::dump(socket, others, names)?);
    Ok(found)
}

/// Puts a program where there is none, or in the place of the one that is there. One that comes back without
/// what it was told (a step that is undone) stays away: all packets go the slow path.
pub(crate) fn put(socket: &mut Socket, wanted: &FastPath, names: &Names) -> Result<(), Error> {
    let Some(task) = wanted.task.as_deref() else { return remove(socket, wanted, names) };
    let name = Name { plan: wanted.told.clone(), program: program::digest(task), discovered: None };
    let loaded = match task {
        Task::Translate(tables) => Loaded::new(tables, 0)?,
        Task::Encapsulate(ends) => Loaded::outward(ends, 0)?,
        Task::Decapsulate(ends) => {
            return ingress::put(socket, wanted, name, names, |into, mark| Loaded::inward(ends, into, mark));
        }
        Task::Lend(ends, address) => {
            return ingress::put(socket, wanted, name, names, |into, mark| {
                Loaded::lending(ends, *address, into, mark)
            });
        }
        Task::Direct(tables) => {
            return ingress::put(socket, wanted, name, names, |into, mark| {
                Loaded::direct(tables, into, mark)
            });
        }
    };
    attach(socket, &wanted.dev, index(names, &wanted.dev)?, loaded, &name)
}

/// Takes a program away.
pub(crate) fn remove(socket: &mut Socket, unwanted: &FastPath, names: &Names) -> Result<(), Error> {
    if unwanted.hook != Hook::Egress {
        return ingress::remove(socket, unwanted, names);
    }
    let place = place(&unwanted.dev, index(names, &unwanted.dev)?);
    let present = filter::dump(socket, place.index, At::Egress)?;
    if present.iter().any(|filter| Name::read(&filter.name).is_some()) {
        return filter::delete(socket, place);
    }
    Ok(())
}

/// Has the program at a device translate by what was discovered since the plan was made. Where there is none
/// there is nothing to tell. No packet is lost.
pub(crate) fn tell(socket: &mut Socket, names: &Names, known: &FastPath) -> Result<(), Error> {
    let FastPath { dev, told, .. } = known;
    let Some(Task::Translate(tables)) = known.task.as_deref() else { return Ok(()) };
    let index = index(names, dev)?;
    let Some(present) =
        filter::dump(socket, index, At::Egress)?.iter().find_map(|filter| Name::read(&filter.name))
    else {
        return Ok(());
    };
    let wanted = Name { discovered: Some(told.clone()), ..present.clone() };
    if wanted == present {
        return Ok(());
    }
    attach(socket, dev, index, Loaded::new(tables, 0)?, &wanted)
}

/// What the program in front of a translator's device has counted; none where there is none.
pub(crate) fn counts(socket: &mut Socket, dev: &str, names: &Names) -> Result<Option<Counts>, Error> {
    let kept = egress(socket, dev, names)?;
    kept.map(|kept| kept.counts()).transpose()
}

/// What the program behind `uplink` that goes past a translator's device has counted; none where there is none.
pub(crate) fn direct_counts(
    socket: &mut Socket,
    served: (&str, &str),
    names: &Names,
) -> Result<Option<Counts>, Error> {
    ingress::kept(socket, served, names)?.map(|kept| kept.counts()).transpose()
}

/// Tells such a program what is so of the host. Where there is none there is nothing to tell.
pub(crate) fn watched(
    socket: &mut Socket,
    program: &FastPath,
    watch: &Watch,
    names: &Names,
) -> Result<(), Error> {
    let watch = watch.to(program.task.as_deref());
    ingress::watched(socket, (&program.dev, program.serves()), &watch, names)
}

/// What a carrier's programs have counted, that at its device and that behind its uplink; none where there is
/// neither. Beside it, of each client that shares the device what went outward and inward, by one network of
/// each.
pub(crate) fn carried(
    socket: &mut Socket,
    (dev, uplink): (&str, &str),
    clients: &[Ipv6Net],
    names: &Names,
) -> Result<Option<Together>, Error> {
    let both = [egress(socket, dev, names)?, ingress::kept(socket, (uplink, dev), names)?];
    if both.iter().all(Option::is_none) {
        return Ok(None);
    }
    let [outward, inward] = both.each_ref().map(Option::as_ref);
    let outward_all = outward.map(Kept::read).transpose()?.map(|raw| Carried::outward(&raw));
    // Read before that of which it is a part, which goes on meanwhile.
    let past = inward.map(Kept::read_past).transpose()?.flatten();
    let mut inward_all = inward.map(Kept::read).transpose()?.map(|raw| Carried::inward(&raw));
    if let Some(past) = past {
        let now = inward.map(Kept::now).transpose()?.flatten();
        inward_all = inward_all.map(|inward| inward.past(&past, now));
    }
    let known = [outward, inward].map(|kept| kept.and_then(|kept| kept.clients.as_ref()));
    let [out, back] = known.map(|known| known.map_or_else(|| Ok(BTreeMap::new()), Clients::read));
    let (out, back) = (out?, back?);
    let one = |net: &Ipv6Net| {
        let name = Client::name(net);
        [&out, &back].map(|each| each.get(&name).copied().unwrap_or_default())
    };
    let each = clients.iter().map(one).collect();
    Ok(Some((outward_all.unwrap_or_default().with(inward_all.unwrap_or_default()), each)))
}

fn egress(socket: &mut Socket, dev: &str, names: &Names) -> Result<Option<Kept>, Error> {
    let filters = filter::dump(socket, index(names, dev)?, At::Egress)?;
    let ours = filters.iter().find(|filter| Name::read(&filter.name).is_some());
    ours.map(|filter| Kept::of(filter.program)).transpose()
}

/// Where the program stands at a device of ours.
fn place(dev: &str, index: u32) -> Place<'_> {
    Place { dev, index, at: At::Egress, handle: filter::ONLY }
}

fn attach(socket: &mut Socket, dev: &str, index: u32, mut loaded: Loaded, name: &Name) -> Result<(), Error> {
    let former = filter::dump(socket, index, At::Egress)?
        .into_iter()
        .find(|filter| Name::read(&filter.name).is_some());
    // Held, so that what it counts until its last packet can be read afterwards.
    let former = former.and_then(|Filter { program, .. }| Kept::of(program).ok());
    filter::put_with_qdisc(socket, place(dev, index), loaded.fd()?, &name.to_string())?;
    match former {
        Some(former) => loaded.inherit(&former),
        None => Ok(()),
    }
}

/// The name of a filter: `straddle:PLAN-PROGRAM`, and `:DISCOVERED` where something was discovered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    /// What the plan said.
    plan: String,
    /// Which program it is.
    program: String,
    /// What it was told beyond that.
    discovered: Option<String>,
}

impl Name {
    fn read(text: &str) -> Option<Name> {
        let mut parts = text.strip_prefix(MARK)?.split(':');
        let (plan, program) = parts.next()?.split_once('-')?;
        Some(Name {
            plan: plan.into(),
            program: program.into(),
            discovered: parts.next().map(str::to_string),
        })
    }

    /// What the program was told; another version's program was told nothing that we know of.
    fn told(&self) -> String {
        if program::is_own(&self.program) { self.plan.clone() } else { String::new() }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{MARK}{}-{}", self.plan, self.program)?;
        self.discovered.as_ref().map_or(Ok(()), |discovered| write!(f, ":{discovered}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_program_was_told() {
        let check = |text: &str, plan: &str, discovered: Option<&str>| {
            let name = Name::read(text).unwrap();
            assert_eq!((name.plan.as_str(), name.discovered.as_deref()), (plan, discovered), "{text}");
            assert_eq!(name.to_string(), text);
            assert_eq!(name.told(), "", "another program's");
        };
        check("straddle:01ab-02", "01ab", None);
        check("straddle:01ab-02:03", "01ab", Some("03"));
        for foreign in ["", "straddle", "straddle:", "straddle:01", "other:01-02"] {
            assert_eq!(Name::read(foreign), None, "{foreign}");
        }
        let own = Name {
            plan: "01".into(),
            program: program::digest(&Task::Translate(Tables::default())),
            discovered: None,
        };
        assert_eq!(Name::read(&own.to_string()).unwrap().told(), "01");
    }
}
