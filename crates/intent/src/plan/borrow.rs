//! `borrow`: the lender gives an IPv4 address up and hands its packets on; the borrower has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use straddle_encap::Kind;

use crate::DUMMY4;
use crate::model::{Borrow, End, Model};
use crate::object::{
    Address, Chain, Filter, FilterRule, MAIN, Match, Neighbour, NeighbourKind, Object, Origin, Raw, Route,
    Rule, Selector, Sysctl, SysctlKey, Tunnel, Verdict, Wanted,
};

use super::{Backend, Bridge, Carrier, Facts, Make, Mtu, Plan, Via, kind_word};

/// Our default routes stand behind whatever the host has by itself; a lender's, which serves its
/// ICMP errors alone, one further.
const METRIC: u32 = 4600;
/// Hop limit of outer packets.
const HOP_LIMIT: u8 = 64;
/// The first of our tables and rules; each bridge of the file has its own table.
const TABLE: u32 = 4600;

pub(super) fn add(plan: &mut Plan, model: &Model, borrow: &Borrow, index: usize, facts: &Facts<'_>) {
    let table = TABLE + 1 + u32::try_from(index).unwrap_or(0);
    let address = borrow.address.addr();
    if plan.host == borrow.lender.host {
        let carrier = ending(model, borrow, &borrow.lender, &borrow.borrower, facts);
        lend(&mut plan.wanted, borrow, table, &carrier, facts);
        let part = format!("lends {address} to {}", borrow.borrower.host);
        plan.bridges.push(bridge(borrow, &part, carrier));
    }
    if plan.host == borrow.borrower.host {
        let carrier = ending(model, borrow, &borrow.borrower, &borrow.lender, facts);
        take(&mut plan.wanted, borrow, table, &carrier);
        let part = format!("borrows {address} from {}", borrow.lender.host);
        plan.bridges.push(bridge(borrow, &part, carrier));
    }
}

fn ending(model: &Model, borrow: &Borrow, here: &End, there: &End, facts: &Facts<'_>) -> Carrier {
    Carrier {
        device: borrow.device.clone(),
        kind: borrow.kind,
        local: here.endpoint,
        remote: there.endpoint,
        mtu: Mtu::of(borrow.kind, here, there, facts),
        backend: Backend::choose(model, &here.host, borrow.kind, facts.offers),
    }
}

fn bridge(borrow: &Borrow, part: &str, carrier: Carrier) -> Bridge {
    let part = format!("{part} over {}", kind_word(borrow.kind));
    Bridge { name: borrow.name.clone(), recipe: "borrow", part, via: Via::Carrier(carrier) }
}

fn lend(wanted: &mut Vec<Wanted>, borrow: &Borrow, table: u32, ending: &Carrier, facts: &Facts<'_>) {
    let (dev, uplink) = (borrow.device.as_str(), borrow.lender.uplink.as_str());
    let address = borrow.address.addr();
    wanted.push(object(Object::Filter(filter(borrow, &ending.mtu, facts))));
    carrier(wanted, borrow, 1, ending);
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
    carrier(wanted, borrow, 2, ending);
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
fn carrier(wanted: &mut Vec<Wanted>, borrow: &Borrow, end: u16, ending: &Carrier) {
    let tunnel = Tunnel {
        format: ending.kind.into(),
        local: ending.local.into(),
        remote: ending.remote.into(),
        hop_limit: HOP_LIMIT,
        copy_class: true,
        encap_limit: None,
    };
    if ending.backend.make == Make::Tun {
        wanted.push(object(Object::Filter(quiet(borrow, ending))));
    }
    let link = ending.backend.link(&borrow.device, &borrow.name, ending.mtu.value, tunnel);
    wanted.push(object(Object::Link(link)));
    match borrow.kind {
        // A device below IPv6's least MTU has no IPv6 (RFC 8200 §5); the borrowed address needs none.
        Kind::Ip6gre { .. } | Kind::Sit if ending.mtu.value < 1280 => {}
        Kind::Ip6gre { .. } | Kind::Sit => {
            let local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, end);
            let net = Ipv6Net::new(local, 64).unwrap_or_else(|_| local.into());
            wanted.push(object(on(&borrow.device, net.into())));
        }
        Kind::Ip4ip6 => {}
    }
}

/// Where the kernel's own tunnel module is loaded it sees our outer packets too, knows no device for
/// them, and would tell the peer so.
fn quiet(borrow: &Borrow, ending: &Carrier) -> Filter {
    let protocol = ending.kind.protocol();
    let about = [Match::UnreachableAbout(protocol), Match::UnreachableBehindOptions(protocol)];
    let rule = |about: Match| FilterRule {
        bridge: borrow.name.clone(),
        chain: Chain::Output,
        matches: vec![Match::Destination6(ending.remote), about],
        verdict: Verdict::Drop,
    };
    Filter { rules: about.map(rule).to_vec() }
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

fn on(dev: &str, net: IpNet) -> Object {
    Object::Address(Address::ours(dev, net))
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
