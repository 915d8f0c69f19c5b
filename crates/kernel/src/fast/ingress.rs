//! Programs behind an uplink, which is somebody else's device: at its tcx hook where the kernel has one (Linux 6.6), else by
//! a filter of a `clsact` qdisc.
//!
//! Beside others' programs at a tcx hook ours stands by itself: no qdisc is made or shared. It is attached without a link, so
//! nothing is pinned and it lives as long as the uplink does or until it is taken away. A filter stands behind all others
//! of the qdisc, so that these see all packets; a qdisc that was not there goes with our last filter. The mark, in a map of
//! the program's or in the filter's name, is `straddle:PLAN-PROGRAM INDEX NAME`, the last two being the tun device's that
//! packets are led into, or past. Of filters whose qdisc is ours, too, ` made` follows.

mod tcx;

use std::fmt;
use std::net::Ipv4Addr;

use aya::maps::{Array, Map, MapData};
use straddle_intent::object::{Ends, FastPath, Hook, Link, Tables};

use crate::Error;
use crate::netlink::{Names, Socket, index};

use super::Name;
use super::counts::{Kept, info};
use super::filter::{self, At, Filter, Place};
use super::program::{Loaded, refused};
use super::watch::{self, Watch};

pub(super) use tcx::refusal as tcx_refusal;

/// `TC_ACT_REDIRECT`.
const REDIRECT: u32 = 7;
/// The word in a mark that the qdisc is ours, too.
const MADE: &str = " made";

/// A program of ours that is there.
struct Present {
    /// The program's number.
    program: u32,
    mark: Mark,
    /// Of one that is a filter's, the filter's handle.
    handle: Option<u32>,
}

/// What a program of ours is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    name: Name,
    /// The number that the device had that packets are led into, and its name.
    index: u32,
    into: String,
    /// Whether the qdisc is ours, too.
    made: bool,
}

impl Mark {
    fn read(text: &str) -> Option<Mark> {
        let made = text.strip_suffix(MADE);
        let mut words = made.unwrap_or(text).split(' ');
        let name = Name::read(words.next()?)?;
        let (index, into) = (words.next()?.parse().ok()?, words.next()?.to_string());
        Some(Mark { name, index, into, made: made.is_some() })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mark { name, index, into, made } = self;
        write!(f, "{name} {index} {into}{}", if *made { MADE } else { "" })
    }
}

impl Present {
    fn hook(&self) -> Hook {
        let into = self.mark.into.clone();
        if self.handle.is_some() { Hook::Clsact(into) } else { Hook::Tcx(into) }
    }
}

/// Asked in a network namespace of one's own: tried on a packet.
pub(super) fn refusal() -> Option<String> {
    let ends = Ends::example();
    tried(&ends, Loaded::inward(&ends, 1, ""))
        .or_else(|| Loaded::inward(&Ends::shared_example(), 1, "").err().map(|error| error.to_string()))
}

/// As [`refusal`], of a lender's program.
pub(super) fn lender_refusal() -> Option<String> {
    let ends = Ends::example();
    tried(&ends, Loaded::lending(&ends, Ipv4Addr::new(192, 0, 2, 1), 1, ""))
}

/// Whether a program can take an outer header off.
fn tried(ends: &Ends, loaded: Result<Loaded, Error>) -> Option<String> {
    // Which packet does not matter to a kernel that can.
    let inner = [&[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59][..], &[0; 10]].concat();
    let constants = ends.constants();
    let addresses = [constants.get(16..32), constants.get(..16)].into_iter().flatten().flatten().copied();
    let frame: Vec<u8> = [0; 12]
        .into_iter()
        .chain([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 4, 64])
        .chain(addresses)
        .chain(inner)
        .collect();
    match loaded.and_then(|loaded| loaded.test(&frame, &mut [0; 256]).map(|end| end.0)) {
        Err(error) => Some(error.to_string()),
        Ok(REDIRECT) => None,
        Ok(_) => Some("its programs can't take an outer header off (bpf_skb_adjust_room)".into()),
    }
}

/// As [`refusal`], of programs that go past a translator's device.
pub(super) fn direct_refusal() -> Option<String> {
    Loaded::direct(&Tables::example(), 1, "").err().map(|error| error.to_string())
}

/// The programs of ours behind these devices. Whoever may not ask sees none.
pub(super) fn dump<'a>(
    socket: &mut Socket,
    links: impl Iterator<Item = &'a Link>,
    names: &Names,
) -> Result<Vec<FastPath>, Error> {
    let filtered = filter::devices(socket)?;
    let mut found = Vec::new();
    for Link { name: dev, .. } in links {
        let Ok(number) = index(names, dev) else { continue };
        let mut here = tcx::present(dev);
        if filtered.contains(&number) {
            here.extend(filters(socket, number)?);
        }
        found.extend(here.into_iter().map(|present| {
            // A device that was made anew has another number.
            let leads = index(names, &present.mark.into).is_ok_and(|now| now == present.mark.index);
            let told = if leads { present.mark.name.told() } else { String::new() };
            FastPath { dev: dev.clone(), hook: present.hook(), told, task: None }
        }));
    }
    Ok(found)
}

/// Puts a program there, in the place of one for the same device: each packet sees one of the two. `load` is told the
/// number of the tun device, and the mark.
pub(super) fn put(
    socket: &mut Socket,
    wanted: &FastPath,
    name: Name,
    names: &Names,
    load: impl FnOnce(u32, &str) -> Result<Loaded, Error>,
) -> Result<(), Error> {
    let (dev, into) = (wanted.dev.as_str(), wanted.serves());
    let (uplink, target) = (index(names, dev)?, index(names, into)?);
    let mark = Mark { name, index: target, into: into.into(), made: false };
    let mut loaded = load(target, &mark.to_string())?;
    let former = here(socket, (dev, uplink))?.into_iter().find(|present| present.hook() == wanted.hook);
    let counted = former.as_ref().and_then(|former| Kept::of(former.program).ok());
    if let Hook::Clsact(_) = wanted.hook {
        put_filter(socket, (dev, uplink), former.and_then(|former| former.handle), &loaded, mark)?;
    } else {
        tcx::attach(uplink, loaded.fd()?, former.map(|former| former.program))?;
    }
    counted.map_or(Ok(()), |former| loaded.inherit(&former))
}

fn put_filter(
    socket: &mut Socket,
    (dev, uplink): (&str, u32),
    former: Option<u32>,
    loaded: &Loaded,
    mark: Mark,
) -> Result<(), Error> {
    // Where there is none, the kernel chooses a handle that nobody has.
    let place = Place { dev, index: uplink, at: At::Ingress, handle: former.unwrap_or(0) };
    let ours = filters(socket, uplink)?;
    if !ours.is_empty() || filter::devices(socket)?.contains(&uplink) {
        let made = ours.iter().any(|present| present.mark.made);
        return filter::put(socket, place, loaded.fd()?, &Mark { made, ..mark }.to_string());
    }
    let made = Mark { made: true, ..mark };
    if filter::put_with_qdisc(socket, place, loaded.fd()?, &made.to_string())? {
        return Ok(());
    }
    // Somebody was faster, and has made the qdisc.
    let hasty = filters(socket, uplink)?.into_iter().find(|present| present.mark == made);
    let place = Place { handle: hasty.and_then(|hasty| hasty.handle).unwrap_or(0), ..place };
    filter::put(socket, place, loaded.fd()?, &Mark { made: false, ..made }.to_string())
}

/// Takes the program away.
pub(super) fn remove(socket: &mut Socket, unwanted: &FastPath, names: &Names) -> Result<(), Error> {
    let (dev, uplink) = (unwanted.dev.as_str(), index(names, &unwanted.dev)?);
    for present in here(socket, (dev, uplink))?.into_iter().filter(|present| present.hook() == unwanted.hook)
    {
        let Some(handle) = present.handle else {
            tcx::detach(uplink, present.program)?;
            continue;
        };
        let place = Place { dev, index: uplink, at: At::Ingress, handle };
        let done = if present.mark.made {
            filter::delete_with_qdisc(socket, place)
        } else {
            filter::delete(socket, place)
        };
        // Whoever took it away with its qdisc meanwhile has done it.
        if done.is_err() && filters(socket, uplink)?.iter().any(|other| other.handle == Some(handle)) {
            return done;
        }
    }
    Ok(())
}

/// What the program behind a device counts that serves one of ours.
pub(super) fn kept(
    socket: &mut Socket,
    (dev, into): (&str, &str),
    names: &Names,
) -> Result<Option<Kept>, Error> {
    let ours = serving(socket, (dev, into), names)?.into_iter().next();
    ours.map(Kept::of).transpose()
}

/// Tells the program behind a device that serves one of ours what is so of the host.
pub(super) fn watched(
    socket: &mut Socket,
    served: (&str, &str),
    watch: &Watch,
    names: &Names,
) -> Result<(), Error> {
    for program in serving(socket, served, names)? {
        let maps = info(program).map(|info| info.map_ids()).transpose().map_err(refused)?.flatten();
        for id in maps.unwrap_or_default() {
            let data = MapData::from_id(id).map_err(refused)?;
            if data.info().map_err(refused)?.name_as_str() == Some(watch::MAP) {
                let map = Map::from_map_data(data).map_err(refused)?;
                let mut map: Array<MapData, watch::Raw> = map.try_into().map_err(refused)?;
                map.set(0, watch.raw(), 0).map_err(refused)?;
            }
        }
    }
    Ok(())
}

/// The numbers of the programs behind a device that serve one of ours. Behind none there are none.
fn serving(socket: &mut Socket, (dev, into): (&str, &str), names: &Names) -> Result<Vec<u32>, Error> {
    let Ok(uplink) = index(names, dev) else { return Ok(Vec::new()) };
    let found = here(socket, (dev, uplink))?;
    Ok(found.into_iter().filter(|present| present.mark.into == into).map(|present| present.program).collect())
}

/// All of ours behind a device.
fn here(socket: &mut Socket, (dev, uplink): (&str, u32)) -> Result<Vec<Present>, Error> {
    let mut found = tcx::present(dev);
    found.extend(filters(socket, uplink)?);
    Ok(found)
}

fn filters(socket: &mut Socket, uplink: u32) -> Result<Vec<Present>, Error> {
    let ours = |Filter { name, program, handle }| {
        Some(Present { program, mark: Mark::read(&name)?, handle: Some(handle) })
    };
    Ok(filter::dump(socket, uplink, At::Ingress)?.into_iter().filter_map(ours).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_say_whom_a_program_serves() {
        for (text, made) in [("straddle:01ab-02 7 st-made", false), ("straddle:01ab-02 7 st-made made", true)]
        {
            let mark = Mark::read(text).unwrap();
            assert_eq!((mark.index, mark.into.as_str(), mark.made), (7, "st-made", made));
            assert_eq!(mark.to_string(), text);
        }
        for foreign in ["straddle:01ab-02", "straddle:01ab-02 x st-a", "other:01ab-02 7 st-a", ""] {
            assert_eq!(Mark::read(foreign), None, "{foreign}");
        }
    }
}
