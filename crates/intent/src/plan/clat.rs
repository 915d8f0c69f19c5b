//! `clat`: IPv4 for the programs of an IPv6-only host (RFC 6877, draft-ietf-v6ops-claton).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use straddle_xlat::neutral;

use crate::model::{Address6, Clat, Model, Prefix64};
use crate::object::{
    MAIN, Neighbour, NeighbourKind, Object, Origin, Raw, Route, Rule, Selector, SysctlKey, Wanted,
};

use crate::snapshot::Snapshot;

use super::translate::{
    Families, address, device, forwarding6, host, narrow, object, on_link, only_translated, route, sysctl,
};
use super::{Bridge, Facts, Plan, Translator, Via};

/// Behind whatever IPv4 default route the host gets by itself.
const METRIC: u32 = 4700;
/// Table and rule of what comes from the CLAT's address.
const TABLE: u32 = 4700;
/// IPv6 header less IPv4 header, in bytes.
const LONGER: u32 = 20;

pub(super) fn add(plan: &mut Plan, model: &Model, clat: &Clat, facts: &Facts<'_>) {
    if plan.host != clat.host {
        return;
    }
    let uplink = super::uplink(model, &clat.host);
    // A file that leaves no address to choose is refused before (`site::check`).
    let Some(address6) = address6(clat, uplink, facts) else { return };
    let mtu = clat.mtu6.map_or_else(|| facts.mtu(uplink), u32::from);
    let prefixes = match clat.prefix64 {
        Prefix64::Given(prefix) => vec![prefix],
        Prefix64::Discover => Vec::new(),
    };
    let native = crate::native::native4(facts.live);
    ours(plan, clat, (uplink, address6), mtu, facts);
    leading(plan, clat, mtu, native.is_none().then(|| defaults(facts)));
    let aside = native.map(|via| format!("the host has IPv4 of its own ({via}): new connections go there"));
    plan.remarks.extend(aside.as_ref().map(|why| format!("{} stands aside: {why}", clat.name)));
    plan.bridges.push(Bridge {
        name: clat.name.clone(),
        recipe: "clat",
        part: part(clat, address6),
        via: Via::Translator(Box::new(Translator {
            device: clat.device.clone(),
            mtu,
            config: clat.config(address6, prefixes, narrow(mtu)),
            discovers: (clat.prefix64 == Prefix64::Discover).then(|| super::Discovers {
                uplink: uplink.into(),
                dns64: clat.dns64.clone(),
                probe4: clat.probe4,
            }),
            aside,
        })),
    });
}

fn part(clat: &Clat, address6: Ipv6Addr) -> String {
    let through = match clat.prefix64 {
        Prefix64::Given(prefix) => format!("the NAT64 of {prefix}"),
        Prefix64::Discover => "the network's NAT64".into(),
    };
    format!("reaches IPv4 from {address6} through {through}")
}

/// The IPv6 side: a way in for the address, and its neighbours' questions answered.
fn ours(plan: &mut Plan, clat: &Clat, six: (&str, Ipv6Addr), mtu: u32, facts: &Facts<'_>) {
    let (uplink, address6) = six;
    let dev = clat.device.as_str();
    let wanted = &mut plan.wanted;
    wanted.push(object(Object::Filter(only_translated(&clat.name, dev, (Families::Ipv6, &[uplink]), facts))));
    wanted.push(device(dev, &clat.name, mtu));
    wanted.push(Wanted::LooseReversePath { dev: dev.into() });
    forwarding6(wanted, &[uplink], facts);
    wanted.push(route(Route::through(MAIN, host(address6), dev)));
    if on_link(facts, uplink, address6) {
        // Only a router answers for others (`ndisc_recv_ns`).
        wanted.push(sysctl(SysctlKey::ipv6_conf(uplink, "forwarding"), "1"));
        wanted.push(sysctl(SysctlKey::ipv6_conf(uplink, "proxy_ndp"), "1"));
        wanted.push(sysctl(SysctlKey::ipv6_neigh(uplink, "proxy_delay"), "0"));
        let neighbour = Neighbour {
            dev: uplink.into(),
            address: address6.into(),
            kind: NeighbourKind::Proxy,
            origin: Origin::Straddle,
            raw: Raw::default(),
        };
        wanted.push(object(Object::Neighbour(neighbour)));
    }
}

/// The IPv4 side: the address and a default route, in a table of its own for connections that there are, in
/// the main one as long as the host has no other.
fn leading(plan: &mut Plan, clat: &Clat, mtu: u32, first: Option<Vec<(IpNet, u32)>>) {
    let (dev, address4) = (clat.device.as_str(), clat.address4);
    let default = |table, dst, metric| Route {
        source: Some(IpAddr::from(address4)),
        metric,
        mtu: Some(mtu.saturating_sub(LONGER)),
        ..Route::through(table, dst, dev)
    };
    plan.wanted.push(address(dev, host(address4)));
    plan.wanted.push(route(default(TABLE, everywhere(), 0)));
    plan.wanted.extend(rules(address4).map(|rule| object(Object::Rule(rule))));
    let first = first.into_iter().flatten();
    plan.wanted.extend(first.map(|(dst, metric)| route(default(MAIN, dst, metric))));
}

/// What leads everywhere, with its metric. Before a default route that leads nowhere, which may well have the
/// metric 0, go the two halves of everywhere.
fn defaults(facts: &Facts<'_>) -> Vec<(IpNet, u32)> {
    let dead = facts.live.routes.iter().any(|route| {
        let default = route.table == MAIN && route.dst.prefix_len() == 0 && route.dst.addr().is_ipv4();
        default && route.origin != Origin::Straddle && route.metric < METRIC
    });
    let half = |first| Ipv4Net::new(Ipv4Addr::new(first, 0, 0, 0), 1).ok().map(|net| (net.into(), METRIC));
    if dead { [half(0), half(128)].into_iter().flatten().collect() } else { vec![(everywhere(), METRIC)] }
}

fn everywhere() -> IpNet {
    IpNet::V4(Ipv4Net::default())
}

/// Networks of the host's own go first.
fn rules(address4: Ipv4Addr) -> [Rule; 2] {
    let rule = |priority, table, no_default| Rule {
        priority,
        selector: Selector::From(host(address4)),
        table,
        no_default,
        origin: Origin::Straddle,
    };
    [rule(TABLE, MAIN, true), rule(TABLE + 1, TABLE, false)]
}

/// The address that the host's IPv4 packets come from on the IPv6 side; none where there is nothing to
/// choose from.
fn address6(clat: &Clat, uplink: &str, facts: &Facts<'_>) -> Option<Ipv6Addr> {
    let prefix64 = match clat.prefix64 {
        Prefix64::Given(prefix) => Some(prefix),
        Prefix64::Discover => None,
    };
    let chosen = |net: Ipv6Net| neutral::choose(net, facts.seed, clat.address4, prefix64);
    match clat.address6 {
        Address6::Given(address) => Some(address),
        Address6::Within(net) => Some(chosen(net)),
        Address6::Auto => room(uplink, facts.live).map(chosen),
    }
}

/// The network of the uplink that has room for another address: the first global one of 64 bits or less.
pub(crate) fn room(uplink: &str, live: &Snapshot) -> Option<Ipv6Net> {
    let global = |net: &Ipv6Net| net.addr().segments()[0] & 0xe000 == 0x2000 || net.addr().is_unique_local();
    let connected = live.routes.iter().filter(|route| {
        route.table == MAIN && route.dev.as_deref() == Some(uplink) && route.gateway.is_none()
    });
    let nets = connected.filter_map(|route| match route.dst {
        IpNet::V6(net) => Some(net),
        IpNet::V4(_) => None,
    });
    nets.filter(|net| net.prefix_len() <= 64 && net.prefix_len() > 0 && global(net)).min()
}
