//! Third station: what shall be on one host, in order. A total function of the model.

mod backend;
mod borrow;
mod carrier;
mod clat;
mod firewall;
mod mtu;
mod notes;
mod order;
mod past;
mod publish;
mod relay;
mod siit;
mod translate;
mod tunnel6;
mod via6;

pub use backend::{Backend, Make, Offers};
pub use mtu::Mtu;

pub(crate) use backend::Ending;
pub(crate) use carrier::HOP_LIMIT;
pub(crate) use clat::{present, rooms};

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4};

use ipnet::Ipv6Net;
use serde::Serialize;
use straddle_encap::Kind;
use straddle_xlat::rfc6052::Prefix;

use crate::memory::Memory;
use crate::model::{Model, NeighbourSource, Relay};
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
    /// What a user should know of them.
    pub remarks: Vec<String>,
    /// The endpoints that change, and how that is told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<Updates>,
    /// Where endpoints are heard of by HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpUpdates>,
    /// The neighbours that a process answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Answers>,
}

/// Endpoints that are told by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpUpdates {
    /// The beginning of what clients ask for.
    pub url: String,
    /// The name or the address in it.
    pub name: String,
    /// Where this host listens.
    pub listen: Vec<SocketAddr>,
    /// The files of the certificate and its key; none where requests come without TLS.
    pub certificate: Option<(String, String)>,
    /// Whoever may tell where it is.
    pub clients: Vec<HttpClient>,
}

/// A client that tells where it is by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpClient {
    /// Its bridge.
    pub bridge: String,
    /// What it calls that.
    pub hostname: String,
    /// The user that it names.
    pub user: String,
    /// The file with the key that goes with the user.
    pub key_file: String,
}

/// Neighbours that a process answers, on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// The device.
    pub device: String,
    /// Where answers come from.
    pub source: NeighbourSource,
    /// What neighbours are answered for.
    pub assigned: Vec<Ipv6Net>,
    /// Addresses of this host there: for those the kernel answers.
    pub own: Vec<Ipv6Addr>,
}

/// How the endpoint of a bridge's carrier is told to the other host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Updates {
    /// The bridge.
    pub bridge: String,
    /// The file with the shared key.
    pub key_file: String,
    /// Where the endpoint is told to, or heard at.
    pub server: SocketAddr,
    /// This host's endpoint, where it is the one that tells; none where it hears.
    pub tells: Option<IpAddr>,
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
    /// What its packets go through here.
    #[serde(flatten)]
    pub via: Via,
}

/// What the packets of a bridge go through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// A carrier that ends here.
    Carrier(Box<Carrier>),
    /// A translator.
    Translator(Box<Translator>),
    /// Sockets of a relay.
    Relay(Box<Relay>),
    /// Nothing yet.
    Awaited(Awaited),
    /// Routes of the kernel's, without a device of our own.
    Routes(Routes),
}

/// What a bridge without a device of its own is made of here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Routes {
    /// The devices that it has packets passed between, where this host is a router of its.
    pub devices: Vec<String>,
    /// Each route in one line, as ip(8) takes it.
    pub routes: Vec<String>,
    /// Why some of them are not there yet, a sentence without a full stop.
    pub waits: Option<String>,
}

/// A bridge that waits for something that its file does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Awaited {
    /// The device that there will be.
    pub device: String,
    /// What it waits for, a sentence without a full stop.
    pub why: String,
}

/// A translator on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Translator {
    /// Its tun device.
    pub device: String,
    /// The device's MTU in bytes.
    pub mtu: u32,
    /// What it is told. Where the prefix is discovered, there is none in it.
    #[serde(skip)]
    pub config: straddle_xlat::Config,
    /// How its prefix is found, where the file has none.
    pub discovers: Option<Discovers>,
    /// Why new connections don't go through it.
    pub aside: Option<String>,
    /// Why the kernel does not translate plain packets by itself; none when it does.
    pub slow: Option<String>,
    /// Where packets shall go out at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct: Option<Direct>,
}

/// What shall go past a device of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Direct {
    /// What comes in by these devices.
    pub devices: Vec<String>,
    /// Why it does not; none when it does.
    pub slow: Option<String>,
}

/// What the discovery of a NAT64's prefix is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Discovers {
    /// The device whose routers are listened to.
    pub uplink: String,
    /// The resolvers that are asked; the host's own where there is none.
    pub dns64: Vec<Ipv6Addr>,
    /// A service that is tried through each of several prefixes.
    pub probe4: Option<SocketAddrV4>,
    /// Prefixes that lead into translators of this host's own: a NAT64 of the network that has one of them is not reached.
    #[serde(skip)]
    pub taken: Vec<Prefix>,
}

impl Bridge {
    /// Its device here, if it has one.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        match &self.via {
            Via::Carrier(carrier) => Some(&carrier.device),
            Via::Translator(translator) => Some(&translator.device),
            Via::Awaited(awaited) => Some(&awaited.device),
            Via::Relay(_) | Via::Routes(_) => None,
        }
    }

    /// The devices whose packets it lets pass: its own, or those that it routes between.
    fn passes(&self) -> Vec<&str> {
        match &self.via {
            Via::Routes(routes) => routes.devices.iter().map(String::as_str).collect(),
            Via::Carrier(_) | Via::Translator(_) | Via::Relay(_) | Via::Awaited(_) => {
                self.device().into_iter().collect()
            }
        }
    }

    /// Whether a process must serve it.
    #[must_use]
    pub fn is_served(&self) -> bool {
        match &self.via {
            Via::Carrier(carrier) => carrier.backend.make == Make::Tun,
            Via::Translator(_) | Via::Relay(_) => true,
            Via::Awaited(_) | Via::Routes(_) => false,
        }
    }
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
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// Largest inner packet, and why.
    pub mtu: Mtu,
    /// Which make, and why.
    pub backend: Backend,
    /// Our own address in the tunnel, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner6: Option<Ipv6Addr>,
    /// What the peer may send from, where others share the device. Empty: the device is its alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owned: Vec<Ipv6Net>,
    /// The device that leads to the peer.
    pub uplink: String,
    /// Where the kernel carries no plain packets by itself; none for the kernel's own device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// Where packets shall go out at once, at a lender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct: Option<Direct>,
}

/// Why the kernel does not carry plain packets by itself, each way; none when it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Slow {
    /// Those that go to the peer.
    pub outward: Option<String>,
    /// Those that come from it.
    pub inward: Option<String>,
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
    /// A number that is this host's, and stays: addresses that are chosen are made of it.
    pub seed: u64,
    /// The endpoints that other hosts have told, by bridge.
    pub endpoints: &'a Endpoints,
}

/// Endpoints of carriers that were told, by bridge.
pub type Endpoints = BTreeMap<String, IpAddr>;

impl Facts<'_> {
    /// A device's MTU; what Ethernet has where the device is missing (a mistake reported elsewhere).
    fn mtu(&self, dev: &str) -> u32 {
        self.live.mtu(dev).unwrap_or(1500)
    }

    /// Whether the host forwards IPv4 from this device without us.
    fn forwards(&self, dev: &str) -> bool {
        self.forwards_by(&SysctlKey::ipv4_conf(dev, "forwarding"))
    }

    /// Whether the host forwarded by this key before we came, or somebody has made a router of it since.
    fn forwards_by(&self, key: &SysctlKey) -> bool {
        self.memory.is_overruled(key, self.live) || self.before(key) == Some("1")
    }

    /// Whether the host forwarded IPv6 before we came.
    fn forwards6(&self) -> bool {
        self.before(&SysctlKey::ipv6_conf("all", "forwarding")) == Some("1")
    }

    /// What a sysctl was before we came.
    fn before(&self, key: &SysctlKey) -> Option<&str> {
        let before = self.memory.settings.get(key).map(|remembered| remembered.before.as_str());
        before.or(self.live.sysctls.get(key).map(String::as_str))
    }
}

/// What shall be on `host`.
pub fn plan(model: &Model, host: &str, facts: &Facts<'_>) -> Plan {
    let mut plan = Plan { host: host.into(), ..Plan::default() };
    for (index, borrow) in model.borrows.iter().enumerate() {
        borrow::add(&mut plan, model, borrow, index, facts);
    }
    for (index, publish) in model.publishes.iter().enumerate() {
        publish::add(&mut plan, model, publish, index, facts);
    }
    for siit in &model.siits {
        siit::add(&mut plan, model, siit, facts);
    }
    for clat in &model.clats {
        clat::add(&mut plan, model, clat, facts);
    }
    for relay in &model.relays {
        relay::add(&mut plan, model, relay);
    }
    for via6 in &model.via6s {
        via6::add(&mut plan, model, via6, facts);
    }
    tunnel6::add(&mut plan, model, facts);
    plan.wanted = order::sorted(order::merged(plan.wanted));
    plan
}

impl Updates {
    /// Whether the endpoint is an IPv4 address, and told over IPv4.
    #[must_use]
    pub fn over_v4(&self) -> bool {
        self.server.is_ipv4()
    }
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

    /// Whether it is no host's plan, but that of nothing: everything is taken back.
    pub(crate) fn is_the_way_down(&self) -> bool {
        self.host.is_empty() && self.wanted.is_empty()
    }

    /// Whether a process must serve a bridge of this plan, tell or hear endpoints, or answer neighbours.
    pub fn needs_serving(&self) -> bool {
        let heard = !self.updates.is_empty() || self.http.is_some();
        self.served().next().is_some() || heard || self.answers.is_some()
    }

    /// The bridges that are served by a process.
    pub fn served(&self) -> impl Iterator<Item = &Bridge> {
        self.bridges.iter().filter(|bridge| bridge.is_served())
    }
}

/// The sysctls that a plan looks at before it exists, for a host with these devices.
pub fn sysctls_before(model: &Model, host: &str, devices: &[&str]) -> Vec<SysctlKey> {
    let mut keys = vec![SysctlKey::ipv6_conf("all", "forwarding")];
    for dev in devices.iter().copied().chain([uplink(model, host)]) {
        keys.push(SysctlKey::ipv4_conf(dev, "forwarding"));
        let six = ["forwarding", "accept_ra", "force_forwarding"];
        keys.extend(six.map(|name| SysctlKey::ipv6_conf(dev, name)));
    }
    keys
}

/// Whether the kernel forwards IPv6 from a device alone, where told so (since 6.17).
fn forces(facts: &Facts<'_>, dev: &str) -> bool {
    facts.live.sysctls.contains_key(&SysctlKey::ipv6_conf(dev, "force_forwarding"))
}

/// A host's device to the internet.
pub(crate) fn uplink<'a>(model: &'a Model, host: &str) -> &'a str {
    let host = model.hosts.iter().find(|known| known.name == host);
    host.map_or("", |host| &host.uplink.value)
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
