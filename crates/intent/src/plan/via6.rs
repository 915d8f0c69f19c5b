//! `via6`: IPv4 by way of an IPv6 next hop, and the way back.

mod end;
mod router;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::DUMMY4;
use crate::model::{Model, NextHop, Router, Via6};
use crate::object::{Address, Hop, MAIN, Object, Origin, Route, Sysctl, SysctlKey, Wanted};
use crate::words;

use super::translate::{self, host, object};
use super::{Bridge, Facts, Plan, Routes, Via};

/// Where a host's own addresses are: no link that goes down takes them along, and leaving it they take no
/// route along, as the last address of another device does.
const LO: &str = "lo";

pub(super) fn add(plan: &mut Plan, model: &Model, via6: &Via6, facts: &Facts<'_>) {
    if plan.host == via6.host {
        end::add(plan, model, via6, facts);
    }
    if let Some(router) = via6.router.as_ref().filter(|router| router.host == plan.host) {
        router::add(plan, model, (via6, router), facts);
    }
}

/// A route by those next hops whose devices are up: by others none can be made. A global next hop is taken as
/// on the link: its network's own route may be gone with the link, and come back later.
fn by(dst: IpNet, hops: &[NextHop], facts: &Facts<'_>) -> Option<Route> {
    let hops: Vec<&NextHop> = hops.iter().filter(|hop| is_up(&hop.dev.value, facts)).collect();
    let onlink = |hop: &NextHop| !hop.address.is_unicast_link_local();
    match hops.as_slice() {
        [] => None,
        [hop] => Some(Route {
            gateway: Some(hop.address.into()),
            onlink: onlink(hop),
            ..Route::through(MAIN, dst, &hop.dev.value)
        }),
        several => {
            let one = |hop: &&NextHop| Hop {
                dev: Some(hop.dev.value.clone()),
                gateway: Some(hop.address.into()),
                weight: hop.weight,
                onlink: onlink(hop),
            };
            Some(Route {
                dev: None,
                hops: several.iter().map(one).collect(),
                ..Route::through(MAIN, dst, "")
            })
        }
    }
}

fn is_up(dev: &str, facts: &Facts<'_>) -> bool {
    facts.live.link(dev).is_some_and(|link| link.up)
}

/// Errors of routers without an address come by these next hops. A reverse-path filter drops what it finds no
/// way back to: it gets one, by which nothing is ever sent. It is one for the whole host, so a filter must
/// not be strict about the device.
fn heard_from_nowhere(wanted: &mut Vec<Wanted>, hops: &[NextHop], metric: u32, facts: &Facts<'_>) {
    let errors = by(host(DUMMY4), hops, facts).map(|route| Route { metric, ..route });
    wanted.extend(errors.map(translate::route));
    loose(wanted, hops, facts);
}

/// What comes by these devices may have its way back by another.
fn loose(wanted: &mut Vec<Wanted>, hops: &[NextHop], facts: &Facts<'_>) {
    let there = devices(hops).into_iter().filter(|dev| facts.live.link(dev).is_some());
    wanted.extend(there.map(|dev| Wanted::LooseReversePath { dev: dev.into() }));
}

/// What the next hops need to be told: those whose link is dead are passed over.
fn several(wanted: &mut Vec<Wanted>, hops: &[NextHop], facts: &Facts<'_>) {
    if hops.len() > 1 {
        for dev in devices(hops).into_iter().filter(|dev| facts.live.link(dev).is_some()) {
            let key = SysctlKey::ipv4_conf(dev, "ignore_routes_with_linkdown");
            wanted.push(Wanted::Sysctl(Sysctl { key, value: "1".into() }));
        }
    }
}

/// The devices of next hops, each once.
fn devices(hops: &[NextHop]) -> Vec<&str> {
    let mut devices: Vec<&str> = Vec::new();
    for hop in hops {
        if !devices.contains(&hop.dev.value.as_str()) {
            devices.push(&hop.dev.value);
        }
    }
    devices
}

/// The link-local address that the other end of a link calls one by. One that the device has by itself is
/// as good; and as long as it has none, its link may not be up yet, and the kernel be about to make this one.
fn called(plan: &mut Plan, dev: &str, address: Ipv6Addr, facts: &Facts<'_>) {
    let held = facts.live.addresses.iter().filter(|held| held.dev == dev && held.origin != Origin::Straddle);
    let own: Vec<IpAddr> = held.map(|held| held.net.addr()).filter(is_link_local).collect();
    if !address.is_unicast_link_local() || own.contains(&address.into()) {
        return;
    }
    if !own.is_empty() {
        plan.wanted.push(object(Object::Address(Address::ours(dev, host(address)))));
    } else if is_up(dev, facts) {
        plan.remarks.push(format!(
            "{dev} has no link-local address of its own, so its link seems not to be up: it gets {address}, \
             which its neighbour calls it by, once it has one"
        ));
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V6(address) => address.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    }
}

/// Both ends of each link, where the file tells which belong together.
fn links<'a>(via6: &'a Via6, router: &'a Router) -> impl Iterator<Item = (&'a NextHop, &'a NextHop)> {
    let paired = via6.gateways.len() == router.hops.len();
    via6.gateways.iter().zip(&router.hops).filter(move |_| paired)
}

/// An address of this host's own; one that somebody else gave it is as good.
fn held(wanted: &mut Vec<Wanted>, address: Ipv4Addr, facts: &Facts<'_>) {
    if !facts.live.holder(address.into()).any(|held| held.origin != Origin::Straddle) {
        wanted.push(object(Object::Address(Address::ours(LO, host(address)))));
    }
}

/// Whether this host has an IPv4 address to send from, by the file or by itself.
fn can_send(model: &Model, name: &str, facts: &Facts<'_>) -> bool {
    let usable = |address: &Address| match address.net.addr() {
        IpAddr::V4(ip) => address.origin != Origin::Straddle && !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(_) => false,
    };
    !model.given(name).is_empty() || facts.live.addresses.iter().any(usable)
}

/// Why routes are not there yet.
fn waits(hops: &[NextHop], facts: &Facts<'_>) -> Option<String> {
    let down: Vec<&str> = devices(hops).into_iter().filter(|dev| !is_up(dev, facts)).collect();
    let are = if down.len() == 1 { "is" } else { "are" };
    (!down.is_empty()).then(|| format!("waits until {} {are} up", down.join(" and ")))
}

fn bridge(via6: &Via6, part: String, routes: &[Route], devices: &[&str], waits: Option<String>) -> Bridge {
    let routes = routes.iter().map(words::route).collect();
    let devices = devices.iter().map(ToString::to_string).collect();
    Bridge {
        name: via6.name.clone(),
        recipe: "via6",
        part,
        via: Via::Routes(Routes { devices, routes, waits }),
    }
}

/// `fe80::1 on eth0 and fe80::2 on eth1`.
fn by_words(hops: &[NextHop]) -> String {
    let words: Vec<String> = hops.iter().map(|hop| format!("{} on {}", hop.address, hop.dev.value)).collect();
    words.join(" and ")
}

fn listed(addresses: &[Ipv4Addr]) -> String {
    match addresses {
        [one] => one.to_string(),
        [one, other] => format!("{one} and {other}"),
        several => format!("{} addresses", several.len()),
    }
}
