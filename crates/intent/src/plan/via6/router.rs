//! The next hop: it leads back to the host, and lets its packets pass.

use std::net::Ipv4Addr;

use crate::DUMMY4;
use crate::model::{Model, Router, Via6};
use crate::object::{Chain, Filter, FilterRule, Match, Object, Route, SysctlKey, Verdict};
use crate::plan::translate::{self, host, object, sysctl};
use crate::plan::{Facts, Plan, uplink};

use super::{
    bridge, by, by_words, called, can_send, devices, heard_from_nowhere, held, links, listed, several, waits,
};

pub(super) fn add(plan: &mut Plan, model: &Model, (via6, router): (&Via6, &Router), facts: &Facts<'_>) {
    let addresses = model.behind(via6);
    let between = between(model, router);
    let wanted = &mut plan.wanted;
    wanted.push(object(Object::Filter(filter(model, (via6, router), &addresses, facts))));
    for dev in between.iter().filter(|dev| facts.live.link(dev).is_some()) {
        wanted.push(sysctl(SysctlKey::ipv4_conf(dev, "forwarding"), "1"));
    }
    if has_nameless(model, via6) {
        heard_from_nowhere(wanted, &router.hops, 0, facts);
    }
    for (gateway, seen) in links(via6, router) {
        called(plan, &seen.dev.value, gateway.address, facts);
    }
    let wanted = &mut plan.wanted;
    if let Some(address) = router.address {
        held(wanted, address, facts);
    }
    several(wanted, &router.hops, facts);
    let routes: Vec<Route> =
        addresses.iter().filter_map(|address| by(host(*address), &router.hops, facts)).collect();
    wanted.extend(routes.iter().cloned().map(translate::route));
    if !can_send(model, &router.host, facts) {
        plan.remarks.push(format!(
            "this host has no IPv4 address: its ICMP errors, of traceroute and of packets too large, come from \
             {DUMMY4}, and strict reverse-path filters on the way drop them; add router-address = \
             \"10.255.0.1\", one that is its own, to {}",
            via6.name
        ));
    }
    let part = format!("leads {} to {}, {}", listed(&addresses), via6.host, by_words(&router.hops));
    plan.bridges.push(bridge(via6, part, &routes, &between, waits(&router.hops, facts)));
}

/// The devices that packets come in by: from the host, and back from wherever it sends to.
fn between<'a>(model: &'a Model, router: &'a Router) -> Vec<&'a str> {
    let upwards = model.via6s.iter().filter(|other| other.host == router.host);
    let upwards = upwards.flat_map(|other| devices(&other.gateways));
    let mut between = devices(&router.hops);
    for dev in upwards.chain([uplink(model, &router.host)]) {
        if !between.contains(&dev) {
            between.push(dev);
        }
    }
    between
}

/// Whether a router behind this one has no address that its errors could come from.
fn has_nameless(model: &Model, via6: &Via6) -> bool {
    let routes = |host: &str| model.via6s.iter().any(|other| other.leads_by(host));
    let by_itself = |name: &str| model.hosts.iter().any(|host| host.name == name && !host.ipv4.is_empty());
    let nameless = |host: &str| model.given(host).is_empty() && !by_itself(host);
    model.hosts_behind(via6).into_iter().any(|host| routes(host) && nameless(host))
}

/// What is forwarded that was not before: what is from or for those behind, and nothing else.
fn filter(
    model: &Model,
    (via6, router): (&Via6, &Router),
    addresses: &[Ipv4Addr],
    facts: &Facts<'_>,
) -> Filter {
    let mut rules = Vec::new();
    for dev in devices(&router.hops) {
        let (comes, leaves) = (|| Match::In(dev.into()), || Match::Out(dev.into()));
        for address in addresses {
            rules.push((vec![leaves(), Match::Destination(*address)], Verdict::Accept));
            rules.push((vec![comes(), Match::Source(*address)], Verdict::Accept));
        }
        if has_nameless(model, via6) {
            rules.push((vec![comes(), Match::Source(DUMMY4), Match::Icmp], Verdict::Accept));
        }
    }
    for dev in between(model, router).into_iter().filter(|dev| !facts.forwards(dev)) {
        rules.push((vec![Match::In(dev.into()), Match::Ipv4], Verdict::Drop));
    }
    let rule = |(matches, verdict)| FilterRule {
        bridge: via6.name.clone(),
        chain: Chain::Forward,
        matches,
        verdict,
    };
    Filter { rules: rules.into_iter().map(rule).collect() }
}
