//! The host that has the public address.

use std::net::IpAddr;

use crate::model::{Publish, Share, Transport};
use crate::object::{Chain, Filter, MAIN, Match, Object, Route, SysctlKey, Verdict};
use crate::plan::translate::{object, route, sysctl};
use crate::plan::{Facts, Plan};

use super::{Here, host4};

pub(super) fn add(plan: &mut Plan, here: &Here<'_>) {
    plan.wanted.push(object(Object::Filter(filter(here))));
    for dev in [here.publish.device.as_str(), here.uplink] {
        plan.wanted.push(sysctl(SysctlKey::ipv4_conf(dev, "forwarding"), "1"));
    }
    for target in here.publish.share.targets() {
        plan.wanted.push(route(Route::through(MAIN, host4(target), &here.publish.device)));
    }
}

fn filter(here: &Here<'_>) -> Filter {
    let (dev, uplink) = (|| here.dev(), || here.uplink.to_string());
    let address = here.publish.address;
    let targets = here.publish.share.targets();
    let mut rules = here.redirections(None);
    rules.extend(here.clamps());
    let mut forward = |matches: Vec<Match>| rules.push(here.rule(Chain::Forward, matches, Verdict::Accept));
    // Errors about these connections come from whoever is on the way.
    forward(vec![Match::Out(dev()), Match::Redirected]);
    forward(vec![Match::In(dev()), Match::Redirected]);
    if let Share::Whole(target) = here.publish.share {
        forward(vec![Match::In(dev()), Match::Out(uplink()), Match::Source(target)]);
        forward(vec![Match::In(uplink()), Match::Out(dev()), Match::Destination(target), Match::Known]);
        rules.push(here.rule(
            Chain::Snat,
            vec![Match::Out(uplink()), Match::Source(target)],
            Verdict::Snat(address),
        ));
        // It reaches this host's other addresses as any client does.
        rules.push(here.rule(Chain::Input, vec![Match::In(dev()), Match::Source(target)], Verdict::Accept));
    }
    for target in targets {
        // What this host itself has called, a relay of it for one.
        let answers = vec![Match::In(dev()), Match::Source(target), Match::Known];
        rules.push(here.rule(Chain::Input, answers, Verdict::Accept));
        // A server that calls its own public address.
        let matches = vec![Match::Out(dev()), Match::Source(target), Match::Redirected];
        rules.push(here.rule(Chain::Snat, matches, Verdict::Snat(address)));
    }
    rules.extend(here.nothing_else());
    if !here.facts.forwards(here.uplink) {
        rules.push(here.rule(Chain::Forward, vec![Match::In(uplink()), Match::Ipv4], Verdict::Drop));
    }
    Filter { rules }
}

/// The port at which people log in.
const SSH: u16 = 22;

/// What has to be known before, also where the other end is not known yet.
pub(super) fn remarks(publish: &Publish, facts: &Facts<'_>) -> Vec<String> {
    let address = publish.address;
    let mut remarks = Vec::new();
    if let Share::Whole(target) = publish.share {
        let other = facts.live.addresses.iter().any(|held| {
            let ip = held.net.addr();
            ip.is_ipv4() && held.dev != "lo" && ip != IpAddr::V4(address)
        });
        let left = if other { "at its other addresses" } else { "over IPv6" };
        remarks.push(format!(
            "EVERYTHING that arrives at {address}, SSH too, goes on to {target}: this host itself is reached \
             {left} only; list `ports` to publish less"
        ));
    }
    if let Share::Ports(list) = &publish.share
        && list.iter().any(|one| one.transport == Transport::Tcp && one.outer.contains(&SSH))
    {
        remarks.push(format!(
            "SSH at {address} goes to a server behind {}: this host's own is reached by its other addresses only",
            publish.to.host
        ));
    }
    if facts.live.holder(address.into()).next().is_none() {
        remarks.push(format!(
            "no device of this host has {address}: somebody must route it here, since nobody answers for it"
        ));
    }
    if let Some(update) = &publish.update {
        let port = update.port;
        remarks.push(format!("updates arrive at UDP port {port} over IPv6: a firewall must let them in"));
    }
    remarks
}
