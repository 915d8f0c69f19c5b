use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Origin, Raw};

/// The main table (`RT_TABLE_MAIN`).
pub const MAIN: u32 = 254;

/// The metric of an IPv6 route that names none (`IP6_RT_PRIO_USER`).
const USER6: u32 = 1024;

/// The metric of our `unreachable` routes.
const LAST: u32 = 4700;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its table.
    #[serde(default = "main_table")]
    pub table: u32,
    /// Where to.
    pub dst: IpNet,
    /// Lower goes first.
    #[serde(default)]
    pub metric: u32,
    /// What happens there.
    #[serde(default)]
    pub kind: RouteKind,
    /// The device it leaves by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// The next hop, of either family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Its next hops where it has several; device and next hop are none then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<Hop>,
    /// Whether the next hop is taken as reachable on the device without a route to it.
    #[serde(default)]
    pub onlink: bool,
    /// The preferred source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The largest packet that is sent by it in bytes, where that is less than its device takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Who made it.
    #[serde(default)]
    pub origin: Origin,
    /// As the kernel told it.
    #[serde(default, skip_serializing_if = "Raw::is_empty")]
    pub raw: Raw,
}

/// One of several next hops of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The device it leaves by; none where it has gone meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// The next hop, of either family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Its share of the connections, from 1 to 256, against those of the others.
    pub weight: u16,
    /// Whether the next hop is taken as reachable on the device without a route to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onlink: bool,
}

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// Sends it on.
    #[default]
    Unicast,
    /// Takes it in.
    Local,
    /// Answers its sender that nobody is there.
    Unreachable,
    /// Anything else, by the kernel's number.
    Other(u8),
}

impl Route {
    /// A route of ours through a device, with the metric that the kernel gives by itself.
    pub fn through(table: u32, dst: IpNet, dev: &str) -> Route {
        Route {
            table,
            dst,
            metric: if dst.addr().is_ipv6() { USER6 } else { 0 },
            kind: RouteKind::Unicast,
            dev: Some(dev.into()),
            gateway: None,
            hops: Vec::new(),
            onlink: false,
            source: None,
            mtu: None,
            origin: Origin::Straddle,
            raw: Raw::default(),
        }
    }

    /// The devices that it leaves by.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.dev.as_deref().into_iter().chain(self.hops.iter().filter_map(|hop| hop.dev.as_deref()))
    }

    /// A route of ours whose packets go no further, behind whatever else there is for the same network.
    pub fn unreachable(dst: IpNet) -> Route {
        let last = Route::through(MAIN, dst, "");
        Route { kind: RouteKind::Unreachable, dev: None, metric: LAST, ..last }
    }

    /// Whether it leaves by this device and no other.
    pub fn leaves_by(&self, dev: &str) -> bool {
        self.devices().next().is_some() && self.devices().all(|each| each == dev)
    }

    /// Whether the fields that are ours agree.
    pub fn agrees(&self, other: &Route) -> bool {
        Route { raw: Raw::default(), ..self.clone() } == Route { raw: Raw::default(), ..other.clone() }
    }
}

fn main_table() -> u32 {
    MAIN
}
