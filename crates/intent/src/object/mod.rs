//! What a plan is made of and what a snapshot finds: the same types for both.

mod address;
mod displaced;
mod fast_path;
mod filter;
mod link;
mod neighbour;
mod raw;
mod route;
mod rule;
mod sysctl;

pub use address::Address;
pub use displaced::Displaced;
pub use fast_path::{Client, Ends, FastPath, Hook, OWNER, Peers, Tables, Task, digest};
pub use filter::{Chain, Diversion, Filter, FilterRule, MARK, MAX_COMMENT, Match, Verdict};
pub use link::{Format, Link, LinkKind, Tunnel};
pub use neighbour::{LinkAddress, Neighbour, NeighbourKind};
pub use raw::Raw;
pub use route::{Hop, MAIN, Route, RouteKind};
pub use rule::{Rule, Selector};
pub use sysctl::{Sysctl, SysctlKey};

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Who made an object, as its mark tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It bears our mark.
    #[default]
    Straddle,
    /// The kernel made it by itself.
    Kernel,
    /// Somebody else did; the number is the protocol of the mark.
    Other(u8),
}

/// An object that bears a mark of ours once it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A device.
    Link(Link),
    /// An address on a device.
    Address(Address),
    /// A route.
    Route(Route),
    /// A policy rule.
    Rule(Rule),
    /// A permanent or proxy neighbour entry.
    Neighbour(Neighbour),
    /// Our nft table as a whole.
    Filter(Filter),
    /// A program of the fast path.
    FastPath(FastPath),
}

/// What makes two objects the same one, whatever their fields say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A device, by its name.
    Link(String),
    /// An address on a device.
    Address(String, IpNet),
    /// Table, destination, metric.
    Route(u32, IpNet, u32),
    /// Priority and selector.
    Rule(u32, Selector),
    /// Device and address; true for a proxy entry.
    Neighbour(String, IpAddr, bool),
    /// There is one table of ours.
    Filter,
    /// The program at a device, and where there.
    FastPath(String, Hook),
    /// A sysctl.
    Sysctl(SysctlKey),
    /// An address that no device may have.
    Vacant(IpAddr),
}

impl Object {
    /// What makes it the same object.
    pub fn key(&self) -> Key {
        match self {
            Object::Link(link) => Key::Link(link.name.clone()),
            Object::Address(address) => Key::Address(address.dev.clone(), address.net),
            Object::Route(route) => Key::Route(route.table, route.dst, route.metric),
            Object::Rule(rule) => Key::Rule(rule.priority, rule.selector.clone()),
            Object::Neighbour(n) => Key::Neighbour(n.dev.clone(), n.address, n.kind == NeighbourKind::Proxy),
            Object::Filter(_) => Key::Filter,
            Object::FastPath(fast) => Key::FastPath(fast.dev.clone(), fast.hook.clone()),
        }
    }

    /// The device that it stands on, if any.
    pub fn device(&self) -> Option<&str> {
        match self {
            Object::Address(address) => Some(&address.dev),
            Object::Route(route) => route.dev.as_deref(),
            Object::Neighbour(neighbour) => Some(&neighbour.dev),
            Object::FastPath(fast) => Some(&fast.dev),
            Object::Link(_) | Object::Rule(_) | Object::Filter(_) => None,
        }
    }
}

/// One line of a plan: what shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// An object of ours.
    Object(Object),
    /// A sysctl with this value.
    Sysctl(Sysctl),
    /// The reverse-path filter of this device is off or loose (`rp_filter`, RFC 3704).
    LooseReversePath {
        /// The device.
        dev: String,
    },
    /// No device has this address; `dev` is where the file expects it.
    Vacant {
        /// The address.
        address: std::net::Ipv4Addr,
        /// The lender's uplink.
        dev: String,
    },
    /// The link-layer address of this neighbour, as learnt, stays for good.
    Pinned {
        /// The device.
        dev: String,
        /// The neighbour.
        address: IpAddr,
    },
}

impl Wanted {
    /// What makes it the same wish.
    pub fn key(&self) -> Key {
        match self {
            Wanted::Object(object) => object.key(),
            Wanted::Sysctl(sysctl) => Key::Sysctl(sysctl.key.clone()),
            Wanted::LooseReversePath { dev } => Key::Sysctl(SysctlKey::ipv4_conf(dev, "rp_filter")),
            Wanted::Vacant { address, .. } => Key::Vacant((*address).into()),
            Wanted::Pinned { dev, address } => Key::Neighbour(dev.clone(), *address, false),
        }
    }

    /// The device that must exist first.
    pub fn device(&self) -> Option<&str> {
        match self {
            Wanted::Object(object) => object.device(),
            Wanted::Sysctl(sysctl) => sysctl.key.device(),
            Wanted::LooseReversePath { dev } | Wanted::Pinned { dev, .. } => Some(dev),
            Wanted::Vacant { .. } => None,
        }
    }
}
