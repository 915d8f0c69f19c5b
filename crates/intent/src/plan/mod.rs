//! Third station: what shall be on one host, in order. A total function of the model.

mod backend;
mod borrow;
mod mtu;
mod notes;
mod order;

pub use backend::{Backend, Make, Offers};
pub use mtu::Mtu;

use std::net::Ipv6Addr;

use serde::Serialize;
use straddle_encap::Kind;

use crate::memory::Memory;
use crate::model::Model;
use crate::object::{SysctlKey, Wanted};
use crate::snapshot::Snapshot;

/// What shall be on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The host's name in the file.
    pub host: String,
    /// The bridges that end here.
    pub bridges: Vec<Bridge>,
    /// What they need: what must exist first stands first.
    pub wanted: Vec<Wanted>,
}

/// One entry of a recipe, seen from this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its recipe.
    pub recipe: &'static str,
    /// What this host does in it, one sentence.
    pub part: String,
    /// The carrier that ends here.
    pub carrier: Carrier,
}

/// A carrier's end on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Carrier {
    /// Its device.
    pub device: String,
    /// Its format on the wire.
    #[serde(serialize_with = "kind_name")]
    pub kind: Kind,
    /// Our outer address.
    pub local: Ipv6Addr,
    /// The peer's.
    pub remote: Ipv6Addr,
    /// Largest inner packet, and why.
    pub mtu: Mtu,
    /// Which make, and why.
    pub backend: Backend,
}

/// What a plan must know of the host beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The live kernel.
    pub live: &'a Snapshot,
    /// What we displaced there.
    pub memory: &'a Memory,
    /// Which tunnel devices the kernel makes.
    pub offers: &'a Offers,
}

impl Facts<'_> {
    /// A device's MTU; what Ethernet has where the device is missing (a mistake reported elsewhere).
    fn mtu(&self, dev: &str) -> u32 {
        self.live.mtu(dev).unwrap_or(1500)
    }

    /// Whether the host forwarded IPv4 from this device before we came.
    fn forwards(&self, dev: &str) -> bool {
        let key = SysctlKey::ipv4_conf(dev, "forwarding");
        let before = self.memory.settings.get(&key).map(|remembered| remembered.before.as_str());
        before.or(self.live.sysctls.get(&key).map(String::as_str)) == Some("1")
    }
}

/// What shall be on `host`.
pub fn plan(model: &Model, host: &str, facts: &Facts<'_>) -> Plan {
    let mut plan = Plan { host: host.into(), ..Plan::default() };
    for (index, borrow) in model.borrows.iter().enumerate() {
        borrow::add(&mut plan, model, borrow, index, facts);
    }
    plan.wanted = order::sorted(order::merged(plan.wanted));
    plan
}

impl Plan {
    /// The sysctls that its diff looks at.
    pub fn sysctls(&self) -> Vec<SysctlKey> {
        let mut keys = Vec::new();
        for wanted in &self.wanted {
            match wanted {
                Wanted::Sysctl(sysctl) => keys.push(sysctl.key.clone()),
                Wanted::LooseReversePath { dev } => {
                    keys.extend([dev, "all"].map(|dev| SysctlKey::ipv4_conf(dev, "rp_filter")));
                }
                Wanted::Object(_) | Wanted::Vacant { .. } | Wanted::Pinned { .. } => {}
            }
        }
        let inherited: Vec<SysctlKey> = keys.iter().filter_map(SysctlKey::inherits).collect();
        keys.extend(inherited);
        keys
    }

    /// Whether a process must serve a device of this plan.
    pub fn needs_serving(&self) -> bool {
        self.served().next().is_some()
    }

    /// The bridges whose carriers are served by a process.
    pub fn served(&self) -> impl Iterator<Item = &Bridge> {
        self.bridges.iter().filter(|bridge| bridge.carrier.backend.make == Make::Tun)
    }
}

/// The sysctls that a plan looks at before it exists.
pub fn sysctls_before(model: &Model, host: &str) -> Vec<SysctlKey> {
    let uplinks = model.hosts.iter().filter(|known| known.name == host).map(|known| &known.uplink.value);
    uplinks.map(|uplink| SysctlKey::ipv4_conf(uplink, "forwarding")).collect()
}

/// The word of the file for a kind of carrier.
pub fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Ip6gre { .. } => "ip6gre",
        Kind::Ip4ip6 => "ip4ip6",
        Kind::Sit => "sit",
    }
}

fn kind_name<S: serde::Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind_word(*kind))
}
