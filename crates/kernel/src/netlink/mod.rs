//! rtnetlink: what is there, and the objects of a plan as requests.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the library's enums grow; what we do not know is not ours"
)]

pub(crate) mod address;
pub(crate) mod conntrack;
pub(crate) mod counters;
pub(crate) mod link;
pub(crate) mod neighbour;
pub(crate) mod raw;
pub(crate) mod route;
pub(crate) mod rule;
mod socket;
mod tunnel;

pub(crate) use socket::{Found, Socket};

use std::collections::HashMap;

use netlink_packet_route::route::RouteProtocol;
use straddle_intent::object::Origin;

use crate::Error;

/// Our mark on routes, rules, neighbours and addresses: a protocol number that nobody has named
/// (`/etc/iproute2/rt_protos`, `IFAPROT_*`).
pub(crate) const MARK: u8 = 46;

/// `RTPROT_KERNEL`.
const KERNEL: u8 = 2;

pub(crate) fn origin(protocol: RouteProtocol) -> Origin {
    match u8::from(protocol) {
        MARK => Origin::Straddle,
        KERNEL => Origin::Kernel,
        other => Origin::Other(other),
    }
}

/// Device names by index, as of one moment.
pub(crate) type Names = HashMap<u32, String>;

/// The index of a device.
pub(crate) fn index(names: &Names, dev: &str) -> Result<u32, Error> {
    let found = names.iter().find(|(_, name)| *name == dev).map(|(index, _)| *index);
    found.ok_or_else(|| Error::NoDevice(dev.into()))
}
