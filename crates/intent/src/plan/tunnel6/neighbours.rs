//! Who answers neighbours that ask for addresses of clients: the kernel for single ones, a process of ours for
//! whole networks, which the kernel's proxy does not take.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use crate::model::{Model, NeighbourSource};
use crate::object::{MAIN, Neighbour, NeighbourKind, Object, Origin, Raw, SysctlKey, Wanted};
use crate::plan::translate::{object, sysctl};
use crate::plan::{Answers, Facts, Plan};

use super::server::Client;

/// The networks whose addresses are asked for on the uplink: those of its routes, and those that the file names.
pub(super) fn near(model: &Model, host: &str, uplink: &str, facts: &Facts<'_>) -> Vec<Ipv6Net> {
    let told = model.hosts.iter().filter(|known| known.name == host).flat_map(|host| &host.on_link);
    facts.live.on_link(uplink).chain(told.copied()).collect()
}

/// For each address that somebody has there is an answer, from a router. The kernel's comes from a link-local
/// address; where another is wished for, the process answers for all of them.
pub(super) fn add(
    plan: &mut Plan,
    model: &Model,
    clients: &[Client<'_>],
    (uplink, near): (&str, &[Ipv6Net]),
    facts: &Facts<'_>,
) {
    let asked = |net: &Ipv6Net| near.iter().any(|near| near.contains(net));
    let ends = |client: &Client<'_>| [client.tunnel.server6(), client.tunnel.client6()].map(Ipv6Net::from);
    let all = clients.iter().flat_map(|client| ends(client).into_iter().chain(client.tunnel.routed.clone()));
    let (single, wide): (Vec<Ipv6Net>, Vec<Ipv6Net>) =
        all.filter(asked).partition(|net| net.prefix_len() == 128);
    let host = model.hosts.iter().find(|host| host.name == plan.host);
    let source = host.map(|host| host.neighbour_source).unwrap_or_default();
    let assigned = if source == NeighbourSource::LinkLocal {
        proxied(&mut plan.wanted, &single, uplink, facts);
        wide
    } else {
        [single, wide].concat()
    };
    if !assigned.is_empty() {
        plan.remarks.push(remark(&assigned, uplink));
        plan.answers = Some(Answers { device: uplink.into(), source, assigned, own: own(uplink, facts) });
    }
}

fn proxied(wanted: &mut Vec<Wanted>, single: &[Ipv6Net], uplink: &str, facts: &Facts<'_>) {
    if single.is_empty() {
        return;
    }
    // A router does not listen to others of its kind (`ipv6_accept_ra`) unless told so.
    let listens = facts.before(&SysctlKey::ipv6_conf(uplink, "forwarding")) != Some("1");
    let key = SysctlKey::ipv6_conf(uplink, "accept_ra");
    if listens && facts.before(&key) == Some("1") {
        wanted.push(sysctl(key, "2"));
    }
    wanted.push(sysctl(SysctlKey::ipv6_conf(uplink, "forwarding"), "1"));
    wanted.push(sysctl(SysctlKey::ipv6_conf(uplink, "proxy_ndp"), "1"));
    wanted.push(sysctl(SysctlKey::ipv6_neigh(uplink, "proxy_delay"), "0"));
    let proxy = |net: &Ipv6Net| Neighbour {
        dev: uplink.into(),
        address: net.addr().into(),
        kind: NeighbourKind::Proxy,
        origin: Origin::Straddle,
        raw: Raw::default(),
    };
    wanted.extend(single.iter().map(|net| object(Object::Neighbour(proxy(net)))));
}

/// What the kernel answers for there by itself.
fn own(uplink: &str, facts: &Facts<'_>) -> Vec<Ipv6Addr> {
    let held = facts.live.addresses.iter().filter(|held| held.dev == uplink);
    let own: BTreeSet<Ipv6Addr> = held.filter_map(|held| six(held.net.addr())).collect();
    own.into_iter().collect()
}

fn six(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) if !address.is_unicast_link_local() => Some(address),
        IpAddr::V6(_) | IpAddr::V4(_) => None,
    }
}

fn remark(assigned: &[Ipv6Net], uplink: &str) -> String {
    let what = match assigned {
        [net] => net.to_string(),
        [one, other] => format!("{one} and {other}"),
        several => format!("{} networks", several.len()),
    };
    format!(
        "neighbours on {uplink} that ask for {what} are answered by `straddle run`, which hears every multicast \
         frame there meanwhile; a switch that keeps multicast back (MLD snooping) may have to be told"
    )
}

impl crate::snapshot::Snapshot {
    /// The networks of a device whose addresses are asked for there.
    pub(crate) fn on_link<'a>(&'a self, dev: &'a str) -> impl Iterator<Item = Ipv6Net> + 'a {
        let near = self.routes.iter().filter(move |route| {
            route.dev.as_deref() == Some(dev)
                && route.table == MAIN
                && route.gateway.is_none()
                && route.origin != Origin::Straddle
                && route.dst.prefix_len() > 0
        });
        near.filter_map(|route| match route.dst {
            IpNet::V6(net) if !net.addr().is_unicast_link_local() && !net.addr().is_multicast() => Some(net),
            IpNet::V6(_) | IpNet::V4(_) => None,
        })
    }
}
