//! The host that gets IPv6.

use ipnet::{IpNet, Ipv6Net};

use crate::model::{End, End4, Model, Tunnel6};
use crate::object::{
    Chain, Filter, FilterRule, MAIN, Match, Object, Origin, Route, Rule, Selector, SysctlKey, Verdict,
};
use crate::plan::translate::{address, devices, forwarding6, host, object, route, sysctl};
use crate::plan::{Awaited, Carrier, Facts, Plan, Via, carrier, forces};

use super::{bridge, clamps, here, owned, rule, there};

/// Behind whatever IPv6 default route the host gets by itself.
const METRIC: u32 = 4600;
/// The first of our rules, and the table before the first of these tunnels'.
const RULE: u32 = 4600;
const TABLE: u32 = 4800;

pub(super) fn add(plan: &mut Plan, model: &Model, tunnel: &Tunnel6, number: u32, facts: &Facts<'_>) {
    let part = format!("has IPv6 from {}: {}, over sit", tunnel.server.host, owned(tunnel));
    let local = here(&tunnel.client, facts);
    if let (None, Some(http)) = (&tunnel.update, &tunnel.http) {
        plan.remarks.push(format!(
            "this host's address changes, and straddle does not tell it: something else must ask for {}, as user \
             {} with its key; or add `key-file` for straddle to tell it signed",
            http.url, http.user
        ));
    }
    // Until there is an endpoint, there is nothing to tell.
    plan.updates.extend(local.and_then(|local| super::updates(tunnel, Some(local))));
    let Some((local, remote)) = local.zip(there(&tunnel.server, &tunnel.name, facts)) else {
        let why = format!("waits until {} has an IPv4 address", tunnel.client.uplink);
        let awaited = Awaited { device: tunnel.device.clone(), why };
        plan.bridges.push(bridge(tunnel, part, Via::Awaited(awaited)));
        return;
    };
    let end = |end: &End4, endpoint: std::net::Ipv4Addr| End {
        host: end.host.clone(),
        uplink: end.uplink.clone(),
        endpoint: endpoint.into(),
        mtu: end.mtu,
    };
    let ends = (end(&tunnel.client, local), end(&tunnel.server, remote));
    let kind = straddle_encap::Kind::Sit;
    let carrier = carrier::between(model, (&tunnel.device, kind.into()), &ends.0, &ends.1, facts);
    let carrier = Carrier { inner6: Some(tunnel.client6()), ..carrier };
    plan.remarks.extend(super::absent(carrier.local, facts));
    plan.wanted.push(object(Object::Filter(filter(tunnel, &carrier, facts))));
    carrier::device(&mut plan.wanted, &tunnel.name, 2, &carrier);
    carrier::fast(&mut plan.wanted, model, &plan.host, &carrier, facts);
    plan.wanted.push(address(&tunnel.device, tunnel.client_net()));
    leading(plan, tunnel, TABLE + 1 + number);
    if let Some((lan, net)) = tunnel.lan.as_ref().zip(tunnel.lan_network()) {
        living(plan, (tunnel, &carrier), (lan, net), facts);
    }
    plan.bridges.push(bridge(tunnel, part, Via::Carrier(Box::new(carrier))));
}

/// A default route behind the host's own, and before all others what is sent from the client's addresses
/// (other than to its own networks): it would be dropped elsewhere.
fn leading(plan: &mut Plan, tunnel: &Tunnel6, table: u32) {
    let dev = tunnel.device.as_str();
    let default = |table, metric| Route { metric, ..Route::through(table, everywhere(), dev) };
    plan.wanted.push(route(default(table, METRIC)));
    plan.wanted.push(route(default(MAIN, METRIC)));
    for net in tunnel.owned() {
        let rule = |priority, table, no_default| Rule {
            priority,
            selector: Selector::From(net.into()),
            table,
            no_default,
            origin: Origin::Straddle,
        };
        plan.wanted.push(object(Object::Rule(rule(RULE, MAIN, true))));
        plan.wanted.push(object(Object::Rule(rule(RULE + 1, table, false))));
    }
    // What nobody has of the client's networks does not go back to the server.
    let unassigned = tunnel.routed.iter().filter(|net| net.prefix_len() < 128);
    plan.wanted.extend(unassigned.map(|net| route(Route::unreachable((*net).into()))));
}

/// Hosts of the client's LAN have addresses of its network, once a daemon advertises it.
fn living(
    plan: &mut Plan,
    (tunnel, carrier): (&Tunnel6, &Carrier),
    (lan, net): (&str, Ipv6Net),
    facts: &Facts<'_>,
) {
    let first = std::net::Ipv6Addr::from(u128::from(net.network()) | 1);
    let own = Ipv6Net::new(first, 64).unwrap_or(net);
    plan.wanted.push(address(lan, own.into()));
    let dev = tunnel.device.as_str();
    if forces(facts, lan) {
        for dev in [lan, dev] {
            plan.wanted.push(sysctl(SysctlKey::ipv6_conf(dev, "force_forwarding"), "1"));
        }
    } else {
        forwarding6(&mut plan.wanted, &devices(facts), facts);
    }
    plan.remarks.push(format!(
        "hosts on {lan} get addresses once a daemon of yours advertises them; for radvd.conf(5): interface \
         {lan} {{ AdvSendAdvert on; AdvLinkMTU {}; prefix {net} {{ }}; }};",
        carrier.mtu.value
    ));
}

fn filter(tunnel: &Tunnel6, carrier: &Carrier, facts: &Facts<'_>) -> Filter {
    let dev = tunnel.device.as_str();
    let mut rules: Vec<FilterRule> = clamps(&tunnel.name, dev, &carrier.mtu).to_vec();
    let Some(lan) = &tunnel.lan else { return Filter { rules } };
    let forward = |matches, verdict| rule(&tunnel.name, Chain::Forward, matches, verdict);
    let (from, to) = (|dev: &str| Match::In(dev.into()), |dev: &str| Match::Out(dev.into()));
    rules.push(forward(vec![from(lan), to(dev)], Verdict::Accept));
    rules.push(forward(vec![from(dev), to(lan)], Verdict::Accept));
    if !facts.forwards6() {
        let newly = if forces(facts, lan) { vec![lan.as_str()] } else { devices(facts) };
        let newly = newly.into_iter().chain([dev]);
        rules.extend(newly.map(|dev| forward(vec![from(dev), Match::Ipv6], Verdict::Drop)));
    }
    Filter { rules }
}

fn everywhere() -> IpNet {
    IpNet::V6(Ipv6Net::default())
}

impl Tunnel6 {
    fn client_net(&self) -> IpNet {
        Ipv6Net::new(self.client6(), 127).map_or_else(|_| host(self.client6()), IpNet::V6)
    }
}
