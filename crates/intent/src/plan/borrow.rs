//! `borrow`: the lender gives an IPv4 address up and hands its packets on; the borrower has it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::DUMMY4;
use crate::model::{Borrow, Model};
use crate::object::{
    Chain, Filter, FilterRule, MAIN, Match, Neighbour, NeighbourKind, Object, Origin, Raw, Route, Rule,
    Selector, Sysctl, SysctlKey, Verdict, Wanted,
};

use super::translate::{host, object};
use super::{Bridge, Carrier, Ending, Facts, Mtu, Plan, Via, carrier, kind_word, translate};

/// Our default routes stand behind whatever the host has by itself; a lender's, which serves its
/// ICMP errors alone, one further.
const METRIC: u32 = 4600;
/// The first of our tables and rules; each bridge of the file has its own table.
const TABLE: u32 = 4600;

pub(super) fn add(plan: &mut Plan, model: &Model, borrow: &Borrow, index: usize, facts: &Facts<'_>) {
    let table = TABLE + 1 + u32::try_from(index).unwrap_or(0);
    let address = borrow.address.addr();
    if plan.host == borrow.lender.host {
        let ending = Ending { kind: borrow.kind, direct: borrow.direct.is_some() };
        let carrier =
            carrier::between(model, (&borrow.device, ending), &borrow.lender, &borrow.borrower, facts);
        lend(&mut plan.wanted, borrow, table, &carrier, facts);
        carrier::lending(&mut plan.wanted, (model, &plan.host), &carrier, address, facts);
        let part = format!("lends {address} to {}", borrow.borrower.host);
        plan.bridges.push(bridge(borrow, &part, carrier));
    }
    if plan.host == borrow.borrower.host {
        let ending = borrow.kind.into();
        let carrier =
            carrier::between(model, (&borrow.device, ending), &borrow.borrower, &borrow.lender, facts);
        take(&mut plan.wanted, borrow, table, &carrier);
        carrier::fast(&mut plan.wanted, model, &plan.host, &carrier, facts);
        let part = format!("borrows {address} from {}", borrow.lender.host);
        plan.bridges.push(bridge(borrow, &part, carrier));
    }
}

fn bridge(borrow: &Borrow, part: &str, carrier: Carrier) -> Bridge {
    let part = format!("{part} over {}", kind_word(borrow.kind));
    Bridge { name: borrow.name.clone(), recipe: "borrow", part, via: Via::Carrier(Box::new(carrier)) }
}

fn lend(wanted: &mut Vec<Wanted>, borrow: &Borrow, table: u32, ending: &Carrier, facts: &Facts<'_>) {
    let (dev, uplink) = (borrow.device.as_str(), borrow.lender.uplink.as_str());
    let address = borrow.address.addr();
    wanted.push(object(Object::Filter(filter(borrow, &ending.mtu, facts))));
    carrier::device(wanted, &borrow.name, 1, ending);
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

fn take(wanted: &mut Vec<Wanted>, borrow: &Borrow, table: u32, ending: &Carrier) {
    let dev = borrow.device.as_str();
    let address = borrow.address.addr();
    let source = Some(IpAddr::from(address));
    carrier::device(wanted, &borrow.name, 2, ending);
    wanted.push(Wanted::LooseReversePath { dev: dev.into() });
    wanted.push(translate::address(dev, host(address)));
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

/// What a lender's packets are told by, those to the address and those from it.
pub(super) fn lent(dev: &str, uplink: &str, address: Ipv4Addr) -> [Vec<Match>; 2] {
    let between = |from: &str, to: &str| [Match::In(from.into()), Match::Out(to.into())];
    let with = |way: [Match; 2], end: Match| way.into_iter().chain([end]).collect();
    [
        with(between(uplink, dev), Match::Destination(address)),
        with(between(dev, uplink), Match::Source(address)),
    ]
}

/// Forwarding is on for the uplink and the carrier: for exactly this traffic, and nothing else that
/// the host did not forward before.
fn filter(borrow: &Borrow, mtu: &Mtu, facts: &Facts<'_>) -> Filter {
    let (dev, uplink) = (|| borrow.device.clone(), || borrow.lender.uplink.clone());
    let address = borrow.address.addr();
    let [inwards, outwards] = lent(&borrow.device, &borrow.lender.uplink, address);
    let errors = vec![Match::In(dev()), Match::Out(uplink()), Match::Source(DUMMY4), Match::Icmp];
    let with = |mut matches: Vec<Match>, more: Match| {
        matches.push(more);
        matches
    };
    let mut rules = vec![
        (with(inwards.clone(), Match::TcpSyn), Verdict::ClampMss(mtu.mss4())),
        (with(outwards.clone(), Match::TcpSyn), Verdict::ClampMss(mtu.mss4())),
        (inwards, Verdict::Accept),
        (outwards, Verdict::Accept),
        (errors, Verdict::Accept),
        (vec![Match::Out(dev())], Verdict::Drop),
        (vec![Match::In(dev())], Verdict::Drop),
    ];
    if !facts.forwards(&uplink()) {
        rules.push((vec![Match::In(uplink()), Match::Ipv4], Verdict::Drop));
    }
    let rule = |(matches, verdict)| FilterRule {
        bridge: borrow.name.clone(),
        chain: Chain::Forward,
        matches,
        verdict,
    };
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

fn rule(selector: Selector, priority: u32, table: u32, no_default: bool) -> Rule {
    Rule { priority, selector, table, no_default, origin: Origin::Straddle }
}

fn everywhere() -> IpNet {
    IpNet::V4(Ipv4Net::default())
}
