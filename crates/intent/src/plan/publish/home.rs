//! The host that the server is behind, or that is the server.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::model::Share;
use crate::object::{
    Chain, Filter, FilterRule, MAIN, Match, Object, Origin, Route, RouteKind, Rule, Selector, SysctlKey,
    Verdict,
};
use crate::plan::translate::{object, route, sysctl};
use crate::plan::{Facts, Plan};

use super::{Here, RULE, everywhere, host4};

/// Where a server is, seen from here.
enum Place {
    /// This host has its address.
    Here,
    /// It is reached by this device.
    Behind(String),
    /// There is no way to it but a default route.
    Nowhere,
}

pub(super) fn add(plan: &mut Plan, here: &Here<'_>) {
    let targets: Vec<(Ipv4Addr, Place)> =
        here.publish.share.targets().into_iter().map(|target| (target, place(here.facts, target))).collect();
    plan.wanted.push(object(Object::Filter(filter(here, &targets))));
    for dev in behind(&targets).into_iter().chain([here.publish.device.as_str()]) {
        plan.wanted.push(sysctl(SysctlKey::ipv4_conf(dev, "forwarding"), "1"));
    }
    plan.wanted.push(route(Route::through(here.number, everywhere(), &here.publish.device)));
    plan.wanted.extend(default(here, &targets).map(route));
    plan.wanted.extend(rules(here, &targets).into_iter().map(|rule| object(Object::Rule(rule))));
    plan.remarks.extend(remarks(here, &targets));
}

fn place(facts: &Facts<'_>, target: Ipv4Addr) -> Place {
    if facts.live.holder(target.into()).next().is_some() {
        return Place::Here;
    }
    let leads = |route: &&Route| {
        route.table == MAIN
            && route.kind == RouteKind::Unicast
            && route.origin != Origin::Straddle
            && route.dst.prefix_len() > 0
            && route.dst.contains(&host4(target))
    };
    let best = facts.live.routes.iter().filter(leads).max_by_key(|route| route.dst.prefix_len());
    best.and_then(|route| route.dev.clone()).map_or(Place::Nowhere, Place::Behind)
}

/// The devices that servers are behind, each once.
fn behind(targets: &[(Ipv4Addr, Place)]) -> Vec<&str> {
    let mut devices = Vec::new();
    for (_, place) in targets {
        if let Place::Behind(dev) = place
            && !devices.contains(&dev.as_str())
        {
            devices.push(dev);
        }
    }
    devices
}

/// What a server whose whole address is published sends leaves by the carrier, its own networks excepted.
/// Of one with published ports, only connections that came by the carrier do; all, where there is no other
/// way. This host's own ICMP errors about a connection go where it goes.
fn rules(here: &Here<'_>, targets: &[(Ipv4Addr, Place)]) -> Vec<Rule> {
    let rule = |selector: Selector, priority: u32, table: u32, no_default: bool| Rule {
        priority,
        selector,
        table,
        no_default,
        origin: Origin::Straddle,
    };
    let whole = matches!(here.publish.share, Share::Whole(_));
    let mut rules = Vec::new();
    if whole || !has_default(here) {
        for (target, _) in targets {
            let from = || Selector::From(host4(*target));
            rules.push(rule(from(), RULE, MAIN, true));
            rules.push(rule(from(), RULE + 1, here.number, false));
        }
    }
    rules.push(rule(Selector::Marked(here.number), RULE + 1, here.number, false));
    rules
}

/// What this host sends from no particular address leaves from the server's, where it is the server and has no
/// other way.
fn default(here: &Here<'_>, targets: &[(Ipv4Addr, Place)]) -> Option<Route> {
    let own = targets.iter().find(|(_, place)| matches!(place, Place::Here));
    let whole = matches!(here.publish.share, Share::Whole(_));
    own.filter(|_| whole).map(|(target, _)| Route {
        source: Some(IpAddr::V4(*target)),
        metric: here.number,
        ..Route::through(MAIN, everywhere(), &here.publish.device)
    })
}

/// Whether what this host sends has a way to the internet besides the carrier.
fn has_default(here: &Here<'_>) -> bool {
    here.by_via6
        || here.facts.live.routes.iter().any(|route| {
            route.table == MAIN
                && route.dst == everywhere()
                && route.kind == RouteKind::Unicast
                && route.origin != Origin::Straddle
        })
}

fn filter(here: &Here<'_>, targets: &[(Ipv4Addr, Place)]) -> Filter {
    let dev = || here.dev();
    let mut rules: Vec<FilterRule> = marks(here).to_vec();
    for dev in behind(targets) {
        // Neighbours of a server that call the public address.
        rules.extend(here.redirections(Some(Match::In(dev.into()))));
        let hairpin = vec![Match::In(dev.into()), Match::Out(dev.into()), Match::Redirected];
        rules.push(here.rule(Chain::Forward, hairpin, Verdict::Accept));
    }
    rules.extend(here.clamps());
    for (target, place) in targets {
        let chain = match place {
            Place::Here => Chain::Input,
            Place::Behind(_) | Place::Nowhere => Chain::Forward,
        };
        let open = |what: Option<Match>| {
            let matches = [Match::In(dev()), Match::Destination(*target)].into_iter().chain(what).collect();
            here.rule(chain, matches, Verdict::Accept)
        };
        rules.extend(openings(here, *target).into_iter().map(open));
        if let Place::Behind(lan) = place {
            let back = vec![Match::In(lan.clone()), Match::Out(dev()), Match::Source(*target)];
            rules.push(here.rule(Chain::Forward, back, Verdict::Accept));
            // Else its answer would go past us, from an address that its neighbour did not call.
            for net in connected(here.facts, lan) {
                let near = [Match::Within(net), Match::Destination(*target), Match::Redirected];
                let matches = [Match::Out(lan.clone())].into_iter().chain(near).collect();
                rules.push(here.rule(Chain::Snat, matches, Verdict::Masquerade));
            }
        }
    }
    if let Share::Whole(target) = here.publish.share {
        // It keeps its address, whatever else here hides what leaves its network.
        let leaves = vec![Match::Out(dev()), Match::Source(target)];
        rules.push(here.rule(Chain::Snat, leaves, Verdict::Snat(target)));
    }
    rules.extend(here.nothing_else());
    for lan in behind(targets) {
        if !here.facts.forwards(lan) {
            rules.push(here.rule(Chain::Forward, vec![Match::In(lan.into()), Match::Ipv4], Verdict::Drop));
        }
    }
    Filter { rules }
}

/// The networks whose hosts are neighbours on a device.
fn connected(facts: &Facts<'_>, dev: &str) -> Vec<Ipv4Net> {
    let near =
        facts.live.routes.iter().filter(|route| {
            route.table == MAIN && route.dev.as_deref() == Some(dev) && route.gateway.is_none()
        });
    let nets = near.filter_map(|route| match route.dst {
        IpNet::V4(net) if net.prefix_len() > 0 => Some(net),
        IpNet::V4(_) | IpNet::V6(_) => None,
    });
    nets.collect()
}

/// What may come by the carrier for a server: everything (none), or these.
fn openings(here: &Here<'_>, target: Ipv4Addr) -> Vec<Option<Match>> {
    match &here.publish.share {
        Share::Whole(_) => vec![None],
        Share::Ports(list) => {
            let mine = list.iter().filter(|forwarding| forwarding.target == target);
            let ports = mine.map(|forwarding| {
                let inners = forwarding.inners();
                Some(Match::Ports(forwarding.transport, *inners.start(), *inners.end()))
            });
            ports.chain([Some(Match::Known)]).collect()
        }
    }
}

/// Connections that came by the carrier go back by it, and so do errors about them: what this host says of a
/// packet from there has none of the servers' addresses.
fn marks(here: &Here<'_>) -> [FilterRule; 3] {
    let (mark, dev) = (here.number, || here.dev());
    [
        (Chain::Mark, vec![Match::In(dev())], Verdict::MarkConnection(mark)),
        (Chain::Mark, vec![Match::NotIn(dev()), Match::Marked(mark)], Verdict::MarkPacket(mark)),
        (Chain::Reroute, vec![Match::Marked(mark)], Verdict::MarkPacket(mark)),
    ]
    .map(|(chain, matches, verdict)| here.rule(chain, matches, verdict))
}

fn remarks(here: &Here<'_>, targets: &[(Ipv4Addr, Place)]) -> Vec<String> {
    let lost = targets.iter().filter(|(_, place)| matches!(place, Place::Nowhere));
    let lost = lost.map(|(target, _)| {
        format!("this host has no route to {target} but a default one: is the server's network up?")
    });
    let whole = matches!(here.publish.share, Share::Whole(_));
    let all = whole.then(|| {
        let targets: Vec<String> = targets.iter().map(|(target, _)| target.to_string()).collect();
        format!(
            "all that {} sends to the internet leaves by {} then, from {}",
            targets.join(" and "),
            here.publish.from.host,
            here.publish.address
        )
    });
    let elsewhere = !whole || has_default(here);
    let own = targets.iter().filter(|(_, place)| elsewhere && matches!(place, Place::Here));
    let own = own.map(|(target, _)| {
        format!(
            "a service of this host that answers datagrams must listen at {target} itself: from no particular \
             address it would answer by the host's own default route, if by any"
        )
    });
    all.into_iter().chain(lost).chain(own).collect()
}
