//! Filters at a device's egress hook: `clsact` and `bpf` of tc(8) (`linux/pkt_cls.h`, `linux/pkt_sched.h`).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcHandle, TcMessage};

use crate::Error;
use crate::netlink::{Socket, raw};

const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
/// `TC_H_CLSACT`, and `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)`.
const CLSACT: u32 = 0xffff_fff1;
const EGRESS: u32 = 0xffff_fff3;
/// The qdisc's own handle: `TC_H_MAKE(TC_H_CLSACT, 0)`.
const CLSACT_HANDLE: u32 = 0xffff_0000;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
/// `TCA_BPF_FLAG_ACT_DIRECT`.
const DIRECT: u32 = 1;
/// Our place in the row of filters, and our handle there. Who comes earlier sees packets before us.
const PREFERENCE: u32 = 46;
const HANDLE: u32 = 1;
/// `ETH_P_ALL` in the order of the network.
const ALL: u32 = 0x0003_u16.to_be() as u32;

/// A filter that is a program.
pub(super) struct Filter {
    /// Its name, which whoever made it chose.
    pub(super) name: String,
    /// The program's number.
    pub(super) program: u32,
}

/// Those at a device's egress hook.
pub(super) fn dump(socket: &mut Socket, index: u32) -> Result<Vec<Filter>, Error> {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.header.parent = TcHandle::from(EGRESS);
    let found = socket.dump("list filters", &RouteNetlinkMessage::GetTrafficFilter(message))?;
    Ok(found.iter().filter_map(|object| read(&object.payload)).collect())
}

/// `struct tcmsg` and attributes.
fn read(payload: &[u8]) -> Option<Filter> {
    let attributes = raw::attributes(payload.get(20..)?);
    let options = attributes.iter().find(|(kind, _)| *kind == TCA_OPTIONS)?.1;
    let options = raw::attributes(options);
    let value = |wanted| options.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let name = String::from_utf8_lossy(value(TCA_BPF_NAME)?).trim_end_matches('\0').to_string();
    Some(Filter { name, program: u32::from_ne_bytes(value(TCA_BPF_ID)?.try_into().ok()?) })
}

/// Puts our filter there, in the place of one that is there already: each packet sees one of the two.
pub(super) fn put(
    socket: &mut Socket,
    dev: &str,
    index: u32,
    program: BorrowedFd<'_>,
    name: &str,
) -> Result<(), Error> {
    let what = format!("tc qdisc add dev {dev} clsact");
    let mut payload = header(index, CLSACT_HANDLE, CLSACT, 0);
    raw::push(&mut payload, TCA_KIND, b"clsact\0");
    match socket.replay(&what, RTM_NEWQDISC, &payload, NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if !error.is(libc::EEXIST) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let what = format!("tc filter replace dev {dev} egress bpf direct-action");
    let mut options = Vec::new();
    raw::push(&mut options, TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes());
    raw::push(&mut options, TCA_BPF_NAME, &[name.as_bytes(), &[0]].concat());
    raw::push(&mut options, TCA_BPF_FLAGS, &DIRECT.to_ne_bytes());
    socket.replay(&what, RTM_NEWTFILTER, &filter(index, &options), NLM_F_CREATE)
}

/// Takes our filter away. The qdisc stays: others may have filters there.
pub(super) fn delete(socket: &mut Socket, dev: &str, index: u32) -> Result<(), Error> {
    let what = format!("tc filter del dev {dev} egress pref {PREFERENCE}");
    socket.replay(&what, RTM_DELTFILTER, &filter(index, &[]), 0)
}

fn filter(index: u32, options: &[u8]) -> Vec<u8> {
    let mut payload = header(index, HANDLE, EGRESS, PREFERENCE << 16 | ALL);
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
