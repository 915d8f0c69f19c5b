//! The live kernel as values, in the types that a plan is made of.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::object::{Address, Displaced, FastPath, Link, Neighbour, Object, Origin, Route, Rule, SysctlKey};

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Snapshot {
    /// Every device.
    pub links: Vec<Link>,
    /// Every address, each device's in the kernel's order.
    pub addresses: Vec<Address>,
    /// Every route of every table.
    pub routes: Vec<Route>,
    /// Every IPv4 policy rule, and those of IPv6 that are for a source.
    pub rules: Vec<Rule>,
    /// Every neighbour entry that knows a link-layer address, and every proxy entry.
    pub neighbours: Vec<Neighbour>,
    /// The comments of the rules in the nft table that bears our name, if there is one.
    pub filter: Option<Vec<String>>,
    /// The programs of ours at devices.
    pub fast: Vec<FastPath>,
    /// Others' nft chains that drop what they don't accept of passing packets, as `nft list chain` takes them.
    pub barriers: Vec<String>,
    /// The same of what is for this host itself.
    pub input_barriers: Vec<String>,
    /// The sysctls that were asked for and exist.
    pub sysctls: BTreeMap<SysctlKey, String>,
}

impl Snapshot {
    /// A device, by its name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The device that has an address, with it.
    pub fn holder(&self, address: IpAddr) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |held| held.net.addr() == address)
    }

    /// A device's IPv4 addresses, in order.
    pub fn ipv4_of(&self, dev: &str) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |address| address.dev == dev && address.net.addr().is_ipv4())
    }

    /// Every object that bears our mark; the filter is not among them.
    pub fn ours(&self) -> Vec<Object> {
        let mut ours: Vec<Object> = Vec::new();
        ours.extend(self.links.iter().filter(|l| l.bridge.is_some()).cloned().map(Object::Link));
        ours.extend(
            self.addresses.iter().filter(|a| a.origin == Origin::Straddle).cloned().map(Object::Address),
        );
        ours.extend(self.routes.iter().filter(|r| r.origin == Origin::Straddle).cloned().map(Object::Route));
        ours.extend(self.rules.iter().filter(|r| r.origin == Origin::Straddle).cloned().map(Object::Rule));
        let kept = self.neighbours.iter().filter(|n| n.origin == Origin::Straddle && n.lasts());
        ours.extend(kept.cloned().map(Object::Neighbour));
        ours.extend(self.fast.iter().cloned().map(Object::FastPath));
        ours
    }

    /// Takes a device out, with all that stands on it.
    pub fn forget(&mut self, dev: &str) {
        self.links.retain(|link| link.name != dev);
        self.addresses.retain(|address| address.dev != dev);
        self.routes.retain(|route| !route.leaves_by(dev));
        self.neighbours.retain(|neighbour| neighbour.dev != dev);
        self.fast.retain(|fast| fast.dev != dev && fast.serves() != dev);
        self.sysctls.retain(|key, _| key.device() != Some(dev));
    }

    /// The largest packet that a device takes, in bytes.
    pub fn mtu(&self, dev: &str) -> Option<u32> {
        self.link(dev).map(|link| link.mtu)
    }

    /// What must be remembered before an address leaves its device.
    pub fn about(&self, address: Ipv4Addr, dev: &str) -> Displaced {
        Displaced {
            address,
            dev: dev.into(),
            addresses: self.ipv4_of(dev).cloned().collect(),
            routes: self.routes.iter().filter(|route| route.dst.addr().is_ipv4()).cloned().collect(),
            neighbours: self
                .neighbours
                .iter()
                .filter(|n| n.dev == dev && n.address.is_ipv4())
                .cloned()
                .collect(),
        }
    }

    /// The routes that the kernel deletes with an address (`fib_sync_down_addr`, `fib_disable_ip`):
    /// those that prefer it as a source, its connected prefix with what is reached through it, and,
    /// with the last address of the device, all through the device.
    pub fn routes_lost_with(&self, address: &Address) -> Vec<&Route> {
        let others: Vec<IpNet> =
            self.ipv4_of(&address.dev).filter(|a| !a.same_as(address)).map(|a| a.net).collect();
        let through = |route: &Route| route.leaves_by(&address.dev);
        let stranded = |route: &Route| {
            route.gateway.is_some_and(|gateway| {
                !route.onlink
                    && address.net.contains(&gateway)
                    && !others.iter().any(|net| net.contains(&gateway))
            })
        };
        let lost = |route: &&Route| {
            route.dst.addr().is_ipv4()
                && (route.source == Some(address.net.addr())
                    || through(route) && (others.is_empty() || stranded(route)))
        };
        self.routes.iter().filter(lost).collect()
    }
}
