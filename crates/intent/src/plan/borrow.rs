//! `borrow`: the lender gives an IPv4 address up and hands its packets on; the borrower has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use straddle_encap::Kind;

use crate::DUMMY4;
use crate::model::{Borrow, End};
use crate::object::{
    Address, Filter, FilterRule, Link, LinkKind, MAIN, Match, Neighbour, NeighbourKind, Object, Origin, Raw,
    Route, Rule, Selector, Sysctl, SysctlKey, Verdict, Wanted,
};

use super::{Bridge, Carrier, Facts, Mtu, Plan, kind_word};

/// Our default routes stand behind whatever the host has by itself; a lender's, which serves its
/// ICMP errors alone, one further.
const METRIC: u32 = 4600;
/// The first of our tables and rules; each bridge of the file has its own table.
const TABLE: u32 = 4600;

pub(super) fn add(plan: &mut Plan, borrow: &Borrow, index: usize, facts: &Facts<'_>) {
    let table = TABLE + 1 + u32::try_from(index).unwrap_or(0);
    if plan.host == borrow.lender.host {
        let mtu = Mtu::of(borrow.kind, &borrow.lender, &borrow.borrower, facts);
        lend(&mut plan.wanted, borrow, table, &mtu, facts);
        let part = format!("lends {} to {}", borrow.address.addr(), borrow.borrower.host);
        plan.bridges.push(bridge(borrow, part, &borrow.lender, &borrow.borrower, mtu));
    }
    if plan.host == borrow.borrower.host {
        let mtu = Mtu::of(borrow.kind, &borrow.borrower, &borrow.lender, facts);
        take(&mut plan.wanted, borrow, table, &mtu);
        let part = format!("borrows {} from {}", borrow.address.addr(), borrow.lender.host);
        plan.bridges.push(bridge(borrow, part, &borrow.borrower, &borrow.lender, mtu));
    }
}

fn bridge(borrow: &Borrow, part: String, here: &End, there: &End, mtu: Mtu) -> Bridge {
    let carrier = Carrier {
        device: borrow.device.clone(),
        kind: borrow.kind,
        local: here.endpoint,
        remote: there.endpoint,
        mtu,
    };
    let part = format!("{part} over {}", kind_word(borrow.kind));
    Bridge { name: borrow.name.clone(), recipe: "borrow", part, carrier }
}

fn lend(wanted: &mut Vec<Wanted>, borrow: &Borrow, table: u32, mtu: &Mtu, facts: &Facts<'_>) {
    let (dev, uplink) = (borrow.device.as_str(), borrow.lender.uplink.as_str());
    let address = borrow.address.addr();
    wanted.push(object(Object::Filter(filter(borrow, mtu, facts))));
    carrier(wanted, borrow, 1, mtu);
    for sysctl in [
        (SysctlKey::ipv4_conf(dev, "forwarding"), "1"),
        (SysctlKey::ipv4_conf(uplink, "forwarding"), "1"),
        (SysctlKey::ipv4_neigh(uplink, "proxy_delay"), "0"),
    ] {
        wanted.push(Wanted::Sysctl(Sysctl { key: sysctl.0, value: sysctl.1.into() }));
    }
    wanted.push(Wanted::LooseReversePath { dev: dev.into() });
    wanted.push(Wanted::LooseReversePath { dev: uplink.into() });
    wanted.push(object(Object::Route(Route::through(MAIN, host(address), dev))));
    wanted.push(object(Object::Rule(rule(Selector::Incoming(dev.into()), TABLE, table, false))));
    wanted.push(Wanted::Vacant { address, dev: uplink.into() });
    wanted.push(Wanted::Pinned { dev: uplink.into(), address: borrow.gateway.into() });
    wanted.push(object(Object::Route(by_gateway(table, uplink, borrow.gateway, 0))));
    wanted.push(object(Object::Route(by_gateway(MAIN, uplink, borrow.gateway, METRIC + 1))));
    let kind = NeighbourKind::Proxy;
    let neighbour = Neighbour {
        dev: uplink.into(),
        address: address.into(),
        kind,
        origin: Origin::Straddle,
        raw: Raw::default(),
    };
    wanted.push(object(Object::Neighbour(neighbour)));
}

fn take(wanted: &mut Vec<Wanted>, borrow: &Borrow, table: u32, mtu: &Mtu) {
    let dev = borrow.device.as_str();
    let address = borrow.address.addr();
    let source = Some(IpAddr::from(address));
    carrier(wanted, borrow, 2, mtu);
    wanted.push(Wanted::LooseReversePath { dev: dev.into() });
    wanted.push(object(on(dev, host(address))));
    // What is sent from the address leaves by the carrier whatever other default the host has; its
    // own networks stay reachable from it.
    let from = || Selector::From(host(address));
    wanted.push(object(Object::Route(Route { source, ..Route::through(table, everywhere(), dev) })));
    wanted.push(object(Object::Rule(rule(from(), TABLE, MAIN, true))));
    wanted.push(object(Object::Rule(rule(from(), TABLE + 1, table, false))));
    wanted.push(object(Object::Route(Route {
        source,
        metric: METRIC,
        ..Route::through(MAIN, everywhere(), dev)
    })));
}

/// The device, with link-local addresses of its own choosing: random ones can't be next hops.
fn carrier(wanted: &mut Vec<Wanted>, borrow: &Borrow, end: u16, mtu: &Mtu) {
    let link = Link {
        name: borrow.device.clone(),
        kind: LinkKind::Tun,
        mtu: mtu.value,
        up: true,
        bridge: Some(borrow.name.clone()),
    };
    wanted.push(object(Object::Link(link)));
    match borrow.kind {
        Kind::Ip6gre { .. } | Kind::Sit => {
            let local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, end);
            let net = Ipv6Net::new(local, 64).unwrap_or_else(|_| local.into());
            wanted.push(object(on(&borrow.device, net.into())));
        }
        Kind::Ip4ip6 => {}
    }
}

/// Forwarding is on for the uplink and the carrier: for exactly this traffic, and nothing else that
/// the host did not forward before.
fn filter(borrow: &Borrow, mtu: &Mtu, facts: &Facts<'_>) -> Filter {
    let (dev, uplink) = (|| borrow.device.clone(), || borrow.lender.uplink.clone());
    let address = borrow.address.addr();
    let inwards = || vec![Match::In(uplink()), Match::Out(dev()), Match::Destination(address)];
    let outwards = || vec![Match::In(dev()), Match::Out(uplink()), Match::Source(address)];
    let errors = vec![Match::In(dev()), Match::Out(uplink()), Match::Source(DUMMY4), Match::Icmp];
    let with = |mut matches: Vec<Match>, more: Match| {
        matches.push(more);
        matches
    };
    let mut rules = vec![
        (with(inwards(), Match::TcpSyn), Verdict::ClampMss(mtu.mss4())),
        (with(outwards(), Match::TcpSyn), Verdict::ClampMss(mtu.mss4())),
        (inwards(), Verdict::Accept),
        (outwards(), Verdict::Accept),
        (errors, Verdict::Accept),
        (vec![Match::Out(dev())], Verdict::Drop),
        (vec![Match::In(dev())], Verdict::Drop),
    ];
    if !facts.forwards(&uplink()) {
        rules.push((vec![Match::In(uplink()), Match::Ipv4], Verdict::Drop));
    }
    let rule = |(matches, verdict)| FilterRule { bridge: borrow.name.clone(), matches, verdict };
    Filter { rules: rules.into_iter().map(rule).collect() }
}

fn by_gateway(table: u32, uplink: &str, gateway: Ipv4Addr, metric: u32) -> Route {
    Route {
        gateway: Some(gateway.into()),
        onlink: true,
        metric,
        ..Route::through(table, everywhere(), uplink)
    }
}

fn on(dev: &str, net: IpNet) -> Object {
    Object::Address(Address { dev: dev.into(), net, origin: Origin::Straddle, raw: Raw::default() })
}

fn rule(selector: Selector, priority: u32, table: u32, no_default: bool) -> Rule {
    Rule { priority, selector, table, no_default, origin: Origin::Straddle }
}

fn host(address: Ipv4Addr) -> IpNet {
    IpNet::V4(Ipv4Net::from(address))
}

fn everywhere() -> IpNet {
    IpNet::V4(Ipv4Net::default())
}

fn object(object: Object) -> Wanted {
    Wanted::Object(object)
}
