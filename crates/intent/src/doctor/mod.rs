//! The known traps of this field that a host is in, found by looking at its kernel. Needs no file: what it
//! looks at may have been typed by hand, or be the work of another program.

mod forwarding;
mod proxy;
mod reverse;
mod tunnels;

use serde::Serialize;

use crate::object::{Link, SysctlKey};
use crate::snapshot::Snapshot;

/// A trap, and the way out of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trap {
    /// Its name, the same for everybody who is in it.
    pub trap: &'static str,
    /// The device that it is about; none where it is the whole host.
    pub device: Option<String>,
    /// What is wrong, with what it does to packets.
    pub wrong: String,
    /// What was seen that tells so.
    pub seen: String,
    /// Commands that mend it until the next boot, in this order.
    pub cure: Vec<String>,
}

/// The sysctls that tell, on a host with these devices.
pub fn sysctls(devices: &[&str]) -> Vec<SysctlKey> {
    let every = || devices.iter().copied().chain(["all"]);
    let six = ["forwarding", "force_forwarding", "accept_ra", "proxy_ndp", "disable_ipv6"];
    let four = ["forwarding", "rp_filter", "proxy_arp"];
    let mut keys: Vec<SysctlKey> = Vec::new();
    keys.extend(every().flat_map(|dev| six.map(|name| SysctlKey::ipv6_conf(dev, name))));
    keys.extend(every().flat_map(|dev| four.map(|name| SysctlKey::ipv4_conf(dev, name))));
    keys.extend(devices.iter().map(|dev| SysctlKey::ipv6_neigh(dev, "proxy_delay")));
    keys.extend(devices.iter().map(|dev| SysctlKey::ipv4_neigh(dev, "proxy_delay")));
    keys
}

/// Every trap that this host is in, the same ones together.
pub fn examine(live: &Snapshot) -> Vec<Trap> {
    let exams: [fn(&Snapshot) -> Vec<Trap>; 10] = [
        forwarding::of_one_device,
        forwarding::without_advertisements,
        proxy::unheard,
        proxy::late,
        proxy::for_everybody,
        tunnels::from_nowhere,
        tunnels::too_large,
        tunnels::inherited_hop_limit,
        reverse::errors_without_an_address,
        tunnels::too_small_for_ipv6,
    ];
    exams.iter().flat_map(|exam| exam(live)).collect()
}

/// A sysctl that was asked for, as a number; none where this kernel has no such key.
fn number(live: &Snapshot, key: &SysctlKey) -> Option<u32> {
    live.sysctls.get(key)?.parse().ok()
}

fn is_on(live: &Snapshot, key: &SysctlKey) -> bool {
    number(live, key).is_some_and(|value| value > 0)
}

/// The command that sets it.
fn set(key: &SysctlKey, value: u32) -> String {
    format!("sysctl -w {key}={value}")
}

/// Up, and none of the host's own.
fn links(live: &Snapshot) -> impl Iterator<Item = &Link> {
    live.links.iter().filter(|link| link.up && link.name != "lo")
}

#[cfg(test)]
mod tests;
