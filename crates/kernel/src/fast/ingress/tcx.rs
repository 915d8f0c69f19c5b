//! The tcx hook of a device (Linux 6.6), by bpf(2).

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use aya::maps::{Array, Map, MapData};
use aya::programs::tc::SchedClassifier;
use aya::programs::{ProgramInfo, TcAttachType};

use crate::Error;
use crate::fast::counts::info;
use crate::fast::program::{MARK_ROOM, MARKED, refused};

use super::{Mark, Present};

/// `BPF_PROG_ATTACH`, `BPF_PROG_DETACH`, `BPF_TCX_INGRESS`, `BPF_F_REPLACE` (`linux/bpf.h`).
const ATTACH: libc::c_long = 8;
const DETACH: libc::c_long = 9;
const TCX_INGRESS: u32 = 46;
const REPLACE: u32 = 4;

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

/// Why there is no such hook, asked of `lo` in a network namespace of one's own; none where there is.
pub(in crate::fast) fn refusal() -> Option<String> {
    let asked = SchedClassifier::query_tcx("lo", TcAttachType::Ingress);
    asked.err().map(|error| format!("no tcx hook, which Linux has since 6.6 ({})", refused(error)))
}

/// The programs of ours behind this device; a kernel without the hook has none.
pub(super) fn present(dev: &str) -> Vec<Present> {
    let found = SchedClassifier::query_tcx(dev, TcAttachType::Ingress);
    found.map(|(_, programs)| programs.into_iter().filter_map(ours).collect()).unwrap_or_default()
}

/// Puts a program there, in the place of another where that is given by its number.
pub(super) fn attach(uplink: u32, program: BorrowedFd<'_>, former: Option<u32>) -> Result<(), Error> {
    let former = former.and_then(info).map(|former| former.fd().map_err(refused)).transpose()?;
    let attr = Attr {
        target: uplink,
        program: number(program),
        kind: TCX_INGRESS,
        flags: if former.is_some() { REPLACE } else { 0 },
        replaced: former.as_ref().map_or(0, |former| number(former.as_fd())),
        ..Attr::default()
    };
    call(ATTACH, &attr, "attaching a program to the uplink")
}

/// Takes a program away that is given by its number.
pub(super) fn detach(uplink: u32, program: u32) -> Result<(), Error> {
    let Some(held) = info(program) else { return Ok(()) };
    let held = held.fd().map_err(refused)?;
    let attr = Attr { target: uplink, program: number(held.as_fd()), kind: TCX_INGRESS, ..Attr::default() };
    call(DETACH, &attr, "detaching a program from the uplink")
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
        let mark = Mark::read(text.trim_end_matches('\0'))?;
        return Some(Present { program: info.id(), mark, handle: None });
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
