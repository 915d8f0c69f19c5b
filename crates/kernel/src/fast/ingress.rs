//! Programs behind an uplink: of its tcx hook (Linux 6.6), since the device is somebody else's.
//!
//! Beside others' programs there ours stands by itself: no qdisc is made or shared. It is attached without a link, so
//! nothing is pinned and it lives as long as the uplink does or until it is taken away. A map of the program's has
//! the mark: `straddle:PLAN-PROGRAM INDEX NAME`, the last two being the tun device's that packets are led into,
//! or past.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use aya::maps::{Array, Map, MapData};
use aya::programs::tc::SchedClassifier;
use aya::programs::{ProgramInfo, TcAttachType};
use straddle_intent::object::{Ends, FastPath, Hook, Tables};

use crate::Error;
use crate::netlink::{Names, index, link};

use super::Name;
use super::counts::Kept;
use super::program::{Loaded, MARK_ROOM, MARKED, refused};
use super::watch::{self, Watch};

/// `BPF_PROG_ATTACH`, `BPF_PROG_DETACH`, `BPF_TCX_INGRESS`, `BPF_F_REPLACE` (`linux/bpf.h`).
const ATTACH: libc::c_long = 8;
const DETACH: libc::c_long = 9;
const TCX_INGRESS: u32 = 46;
const REPLACE: u32 = 4;
/// `TC_ACT_REDIRECT`.
const REDIRECT: u32 = 7;

/// A program of ours that is there.
struct Present {
    info: ProgramInfo,
    name: Name,
    /// The number that the device had that packets are led into, and its name.
    index: u32,
    into: String,
}

/// `union bpf_attr` of these two commands.
#[repr(C)]
#[derive(Default)]
struct Attr {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
    relative: u32,
    revision: u64,
}

/// Asked in a network namespace of one's own: tried, on a packet and on `lo`.
pub(super) fn refusal() -> Option<String> {
    // Which packet does not matter to a kernel that can.
    let inner = [&[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59][..], &[0; 10]].concat();
    let ends = Ends::example();
    let constants = ends.constants();
    let addresses = [constants.get(16..32), constants.get(..16)].into_iter().flatten().flatten().copied();
    let frame: Vec<u8> = [0; 12]
        .into_iter()
        .chain([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 4, 64])
        .chain(addresses)
        .chain(inner)
        .collect();
    let tried =
        Loaded::inward(&ends, 1, "").and_then(|loaded| loaded.test(&frame, &mut [0; 256]).map(|end| end.0));
    match tried {
        Err(error) => return Some(error.to_string()),
        Ok(REDIRECT) => {}
        Ok(_) => {
            return Some(
                "its programs can't take an outer header off (BPF_F_ADJ_ROOM_DECAP_L3_IPV4, since Linux 6.3)"
                    .into(),
            );
        }
    }
    if let Err(error) = Loaded::inward(&Ends::shared_example(), 1, "") {
        return Some(error.to_string());
    }
    no_hook()
}

/// As [`refusal`], of programs that go past a translator's device.
pub(super) fn direct_refusal() -> Option<String> {
    let refused = Loaded::direct(&Tables::example(), 1, "").err().map(|error| error.to_string());
    no_hook().or(refused)
}

fn no_hook() -> Option<String> {
    let asked = SchedClassifier::query_tcx("lo", TcAttachType::Ingress);
    asked.err().map(|error| format!("no tcx hook, which Linux has since 6.6 ({})", refused(error)))
}

/// The programs of ours behind this device. Whoever may not ask sees none, and a kernel without the hook has none.
pub(super) fn dump(dev: &str, names: &Names) -> Vec<FastPath> {
    let found = present(dev).into_iter().map(|Present { name, index: then, into, .. }| {
        // A device that was made anew has another number.
        let leads = index(names, &into).is_ok_and(|now| now == then);
        let told = if leads { name.told() } else { String::new() };
        FastPath { dev: dev.into(), hook: Hook::Ingress(into), told, task: None }
    });
    found.collect()
}

/// Puts a program there, in the place of one for the same device: each packet sees one of the two. `load` is told the
/// number of the tun device, and the mark.
pub(super) fn put(
    wanted: &FastPath,
    name: &Name,
    load: impl FnOnce(u32, &str) -> Result<Loaded, Error>,
) -> Result<(), Error> {
    let (dev, into) = (wanted.dev.as_str(), wanted.serves());
    let target = link::index(into)?;
    let mut loaded = load(target, &format!("{name} {target} {into}"))?;
    let former = present(dev).into_iter().find(|present| present.into == into);
    let held = former.as_ref().map(|former| former.info.fd().map_err(refused)).transpose()?;
    let counted = former.and_then(|former| Kept::of(former.info.id()).ok());
    let attr = Attr {
        target: link::index(dev)?,
        program: number(loaded.fd()?),
        kind: TCX_INGRESS,
        flags: if held.is_some() { REPLACE } else { 0 },
        replaced: held.as_ref().map_or(0, |held| number(held.as_fd())),
        ..Attr::default()
    };
    call(ATTACH, &attr, "attaching a program to the uplink")?;
    counted.map_or(Ok(()), |former| loaded.inherit(&former))
}

/// Takes the program for this device of ours away.
pub(super) fn remove(dev: &str, into: &str) -> Result<(), Error> {
    for present in present(dev).into_iter().filter(|present| present.into == into) {
        let held = present.info.fd().map_err(refused)?;
        let attr = Attr {
            target: link::index(dev)?,
            program: number(held.as_fd()),
            kind: TCX_INGRESS,
            ..Attr::default()
        };
        call(DETACH, &attr, "detaching a program from the uplink")?;
    }
    Ok(())
}

/// What the program for this device of ours counts.
pub(super) fn kept(dev: &str, into: &str) -> Result<Option<Kept>, Error> {
    let ours = present(dev).into_iter().find(|present| present.into == into);
    ours.map(|present| Kept::of(present.info.id())).transpose()
}

/// Tells the program for this device of ours what is so of the host.
pub(super) fn watched(dev: &str, into: &str, watch: &Watch) -> Result<(), Error> {
    for present in present(dev).into_iter().filter(|present| present.into == into) {
        for id in present.info.map_ids().map_err(refused)?.unwrap_or_default() {
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

fn present(dev: &str) -> Vec<Present> {
    let found = SchedClassifier::query_tcx(dev, TcAttachType::Ingress);
    found.map(|(_, programs)| programs.into_iter().filter_map(ours).collect()).unwrap_or_default()
}

/// The mark of a program of ours.
fn ours(info: ProgramInfo) -> Option<Present> {
    for id in info.map_ids().ok()?? {
        let data = MapData::from_id(id).ok()?;
        let known = data.info().ok()?;
        if known.name_as_str() != Some(MARKED) || known.value_size() as usize != MARK_ROOM {
            continue;
        }
        let map: Array<MapData, [u8; MARK_ROOM]> = Map::from_map_data(data).ok()?.try_into().ok()?;
        let value = map.get(&0, 0).ok()?;
        let text = String::from_utf8_lossy(&value);
        let mut words = text.trim_end_matches('\0').split(' ');
        let name = Name::read(words.next()?)?;
        let (index, into) = (words.next()?.parse().ok()?, words.next()?.to_string());
        return Some(Present { info, name, index, into });
    }
    None
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn call(command: libc::c_long, attr: &Attr, what: &'static str) -> Result<(), Error> {
    // SAFETY: bpf(2) reads an attribute of this size, which lives until it returns.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<Attr>()) };
    if done < 0 { Err(Error::call(what)(std::io::Error::last_os_error())) } else { Ok(()) }
}
