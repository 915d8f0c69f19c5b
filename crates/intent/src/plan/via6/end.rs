//! The host that has IPv4 by way of IPv6.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::model::{Model, Via6};
use crate::object::{MAIN, Origin, Route, RouteKind};
use crate::plan::translate;
use crate::plan::{Facts, Plan};
use crate::words;

use super::{
    bridge, by, by_words, called, can_send, heard_from_nowhere, held, links, listed, loose, several, waits,
};

pub(super) fn add(plan: &mut Plan, model: &Model, via6: &Via6, facts: &Facts<'_>) {
    for (gateway, seen) in via6.router.iter().flat_map(|router| links(via6, router)) {
        called(plan, &gateway.dev.value, seen.address, facts);
    }
    let wanted = &mut plan.wanted;
    for address in &via6.addresses {
        held(wanted, *address, facts);
    }
    several(wanted, &via6.gateways, facts);
    let routes: Vec<Route> = via6.routes.iter().filter_map(|net| route(via6, *net, facts)).collect();
    if !via6.routes.contains(&Ipv4Net::default()) {
        heard_from_nowhere(wanted, &via6.gateways, via6.metric, facts);
    } else if model.via6s.iter().filter(|other| other.host == via6.host).count() > 1 {
        // Each router leads everything back, whichever way it went out.
        loose(wanted, &via6.gateways, facts);
    }
    wanted.extend(routes.iter().cloned().map(translate::route));
    plan.remarks.extend(remarks(model, via6, facts));
    plan.bridges.push(bridge(via6, part(via6), &routes, &[], waits(&via6.gateways, facts)));
}

fn route(via6: &Via6, net: Ipv4Net, facts: &Facts<'_>) -> Option<Route> {
    let route = by(net.into(), &via6.gateways, facts)?;
    let source = via6.addresses.first().map(|address| IpAddr::from(*address));
    Some(Route { source, metric: via6.metric, mtu: via6.mtu, ..route })
}

fn part(via6: &Via6) -> String {
    let nets: Vec<String> = via6.routes.iter().map(ToString::to_string).collect();
    let what = match via6.routes.as_slice() {
        [net] if net.prefix_len() == 0 => "IPv4".into(),
        [_] | [_, _] => nets.join(" and "),
        several => format!("{} IPv4 networks", several.len()),
    };
    let by = by_words(&via6.gateways);
    match via6.addresses.as_slice() {
        [] => format!("reaches {what} by {by}"),
        some => format!("has {}, and reaches {what} by {by}", listed(some)),
    }
}

fn remarks(model: &Model, via6: &Via6, facts: &Facts<'_>) -> Vec<String> {
    let mut remarks = Vec::new();
    // What is to be said of a router stands at the entry that it is the router of.
    let routes = model.via6s.iter().any(|other| other.leads_by(&via6.host));
    if !routes && !can_send(model, &via6.host, facts) {
        remarks.push(format!(
            "no IPv4 address is on this host: it sends nothing of its own that way; give it one, as in \
             address = \"10.0.8.42\" of {}",
            via6.name
        ));
    }
    if via6.routes.contains(&Ipv4Net::default()) {
        let behind = facts.live.routes.iter().filter(|route| {
            route.table == MAIN
                && route.dst == IpNet::V4(Ipv4Net::default())
                && route.kind == RouteKind::Unicast
                && route.origin != Origin::Straddle
                && route.metric > via6.metric
        });
        let told = behind.map(|route| {
            format!("`{}` is not ours and stays behind: nothing goes by it", words::route(route))
        });
        remarks.extend(told);
    }
    remarks
}
