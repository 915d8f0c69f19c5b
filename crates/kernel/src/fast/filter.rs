//! Filters at a device's hooks: `clsact` and `bpf` of tc(8) (`linux/pkt_cls.h`, `linux/pkt_sched.h`).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use crate::Error;
use crate::netlink::{Socket, raw};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
/// `TC_H_CLSACT`.
const CLSACT: u32 = 0xffff_fff1;
/// The qdisc's own handle: `TC_H_MAKE(TC_H_CLSACT, 0)`. One of the kind `ingress` has the same.
const CLSACT_HANDLE: u32 = 0xffff_0000;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
/// `TCA_BPF_FLAG_ACT_DIRECT`.
const DIRECT: u32 = 1;
/// `ETH_P_ALL` in the order of the network.
const ALL: u32 = 0x0003_u16.to_be() as u32;

/// Which of a device's two hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// What is sent into a device of ours.
    Egress,
    /// What comes in by somebody else's.
    Ingress,
}

impl At {
    /// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)`, or `TC_H_MIN_INGRESS`.
    fn parent(self) -> u32 {
        match self {
            At::Egress => 0xffff_fff3,
            At::Ingress => 0xffff_fff2,
        }
    }

    fn word(self) -> &'static str {
        match self {
            At::Egress => "egress",
            At::Ingress => "ingress",
        }
    }

    /// Our place in the row of filters. Who comes earlier sees packets before us; at somebody else's device all do.
    fn preference(self) -> u32 {
        match self {
            At::Egress => 46,
            At::Ingress => 0xffff,
        }
    }
}

/// Where a filter of ours stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The device, and its number.
    pub(super) dev: &'a str,
    pub(super) index: u32,
    pub(super) at: At,
    /// What tells it from others of ours there; zero for one that the kernel is to choose.
    pub(super) handle: u32,
}

/// The handle of a filter that stands at a device of ours: the only one.
pub(super) const ONLY: u32 = 1;

/// A filter that is a program.
pub(super) struct Filter {
    /// Its name, which whoever made it chose.
    pub(super) name: String,
    /// The program's number.
    pub(super) program: u32,
    pub(super) handle: u32,
}

/// Those at a device's hook that are programs.
pub(super) fn dump(socket: &mut Socket, index: u32, at: At) -> Result<Vec<Filter>, Error> {
    Ok(all(socket, index, at)?.iter().filter_map(|payload| read(payload)).collect())
}

/// Those at a device's hook, of any kind and as the kernel tells them: a row of filters shows itself and each of its own.
/// Where there is no qdisc there are none.
fn all(socket: &mut Socket, index: u32, at: At) -> Result<Vec<Vec<u8>>, Error> {
    let mut found = Vec::new();
    let request = header(index, 0, at.parent(), 0);
    socket.each("list filters", (RTM_GETTFILTER, &request), &mut |kind, payload| {
        found.extend((kind == RTM_NEWTFILTER).then(|| payload.to_vec()));
    })?;
    Ok(found)
}

/// `struct tcmsg` and attributes.
fn read(payload: &[u8]) -> Option<Filter> {
    let options = raw::attributes(value(payload, TCA_OPTIONS)?);
    let value = |wanted| options.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let name = String::from_utf8_lossy(value(TCA_BPF_NAME)?).trim_end_matches('\0').to_string();
    let program = u32::from_ne_bytes(value(TCA_BPF_ID)?.try_into().ok()?);
    Some(Filter { name, program, handle: number(payload, 8)? })
}

fn number(payload: &[u8], at: usize) -> Option<u32> {
    payload.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The numbers of the devices that have a qdisc which filters can stand at. Where devices come and go meanwhile, the kernel
/// may leave one out.
pub(super) fn devices(socket: &mut Socket) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    socket.each("list qdiscs", (RTM_GETQDISC, &header(0, 0, 0, 0)), &mut |kind, payload| {
        let of = number(payload, 4).filter(|_| kind == RTM_NEWQDISC);
        let named = value(payload, TCA_KIND);
        let fits = named.is_some_and(|named| [&b"clsact\0"[..], b"ingress\0"].contains(&named));
        found.extend(of.filter(|_| fits && number(payload, 8) == Some(CLSACT_HANDLE)));
    })?;
    Ok(found)
}

/// An attribute behind a `struct tcmsg`.
fn value(payload: &[u8], wanted: u16) -> Option<&[u8]> {
    let attributes = raw::attributes(payload.get(20..)?);
    attributes.into_iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Puts our filter there, in the place of one that is there already: each packet sees one of the two. The qdisc must be
/// there.
pub(super) fn put(
    socket: &mut Socket,
    place: Place<'_>,
    program: BorrowedFd<'_>,
    name: &str,
) -> Result<(), Error> {
    let what = put_words(place);
    socket.replay(&what, RTM_NEWTFILTER, &put_payload(place, program, name), NLM_F_CREATE)
}

/// As [`put`], with the qdisc in the same breath: false where that was there already, and so the filter's name may say
/// what is not so.
pub(super) fn put_with_qdisc(
    socket: &mut Socket,
    place: Place<'_>,
    program: BorrowedFd<'_>,
    name: &str,
) -> Result<bool, Error> {
    let payload = clsact(place.index);
    let words = format!("tc qdisc add dev {} clsact", place.dev);
    let qdisc = (words.as_str(), RTM_NEWQDISC, payload, NLM_F_CREATE | NLM_F_EXCL);
    let what = put_words(place);
    let filter = (what.as_str(), RTM_NEWTFILTER, put_payload(place, program, name), NLM_F_CREATE);
    let [made, put] = socket.replay_all([qdisc, filter])?;
    let made = match made {
        Err(error) if error.is(libc::EEXIST) => false,
        made => made.map(|()| true)?,
    };
    if made && put.is_err() {
        let words = format!("tc qdisc del dev {} clsact", place.dev);
        let undone = socket.replay(&words, RTM_DELQDISC, &clsact(place.index), 0);
        return put.and(undone).map(|()| made);
    }
    put.map(|()| made)
}

fn put_words(place: Place<'_>) -> String {
    format!("tc filter replace dev {} {} bpf direct-action", place.dev, place.at.word())
}

fn put_payload(place: Place<'_>, program: BorrowedFd<'_>, name: &str) -> Vec<u8> {
    let mut options = Vec::new();
    raw::push(&mut options, TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes());
    raw::push(&mut options, TCA_BPF_NAME, &[name.as_bytes(), &[0]].concat());
    raw::push(&mut options, TCA_BPF_FLAGS, &DIRECT.to_ne_bytes());
    filter(place, &options)
}

/// Takes our filter away. The qdisc stays: others may have filters there.
pub(super) fn delete(socket: &mut Socket, place: Place<'_>) -> Result<(), Error> {
    socket.replay(&delete_words(place), RTM_DELTFILTER, &filter(place, &[]), 0)
}

/// As [`delete`], with the qdisc in the same breath, unless somebody else has a filter there.
pub(super) fn delete_with_qdisc(socket: &mut Socket, place: Place<'_>) -> Result<(), Error> {
    for at in [At::Ingress, At::Egress] {
        let ours = |payload: &Vec<u8>| {
            let row = number(payload, 16).is_some_and(|info| info >> 16 == place.at.preference());
            let chain = value(payload, TCA_CHAIN).is_some_and(|chain| chain != [0; 4]);
            let handle = number(payload, 8).unwrap_or(u32::MAX);
            at == place.at && row && !chain && [0, place.handle].contains(&handle)
        };
        if !all(socket, place.index, at)?.iter().all(ours) {
            return delete(socket, place);
        }
    }
    let what = delete_words(place);
    let words = format!("tc qdisc del dev {} clsact", place.dev);
    let gone = (what.as_str(), RTM_DELTFILTER, filter(place, &[]), 0);
    let qdisc = (words.as_str(), RTM_DELQDISC, clsact(place.index), 0);
    socket.replay_all([gone, qdisc])?.into_iter().collect()
}

/// A `clsact` qdisc, to be made or taken away: one of another kind in its place is not meant.
fn clsact(index: u32) -> Vec<u8> {
    let mut payload = header(index, CLSACT_HANDLE, CLSACT, 0);
    raw::push(&mut payload, TCA_KIND, b"clsact\0");
    payload
}

fn delete_words(place: Place<'_>) -> String {
    format!("tc filter del dev {} {} pref {}", place.dev, place.at.word(), place.at.preference())
}

fn filter(place: Place<'_>, options: &[u8]) -> Vec<u8> {
    let Place { index, at, handle, .. } = place;
    let mut payload = header(index, handle, at.parent(), at.preference() << 16 | ALL);
    raw::push(&mut payload, TCA_KIND, b"bpf\0");
    if !options.is_empty() {
        raw::push(&mut payload, TCA_OPTIONS, options);
    }
    payload
}

/// `struct tcmsg`.
fn header(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, index, handle, parent, info].iter().flat_map(|word| word.to_ne_bytes()).collect()
}
