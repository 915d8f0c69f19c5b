//! The host that has IPv6: one for all its clients.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use straddle_encap::Kind;

use crate::model::{Endpoint4, FastChoice, Model, Tunnel6};
use crate::object::{
    Chain, Filter, FilterRule, Link, LinkKind, MAIN, Match, Object, Origin, Peers, Route, SysctlKey, Verdict,
    Wanted,
};
use crate::plan::translate::{address, devices, forwarding6, object, route, sysctl};
use crate::plan::{Awaited, Backend, Bridge, Facts, Make, Plan, Via, carrier, forces};

use super::{Carrier, Mtu, bridge, clamps, hearing, here, mtu, neighbours, owned, rule, there, updates};

/// The tun device of all clients together. No bridge has such a name.
const SHARED: &str = "st-sit_clients";
/// The next hop of all networks behind that device, which has no neighbours. Without one the kernel makes a neighbour of each
/// address that it sends to, and of more than a thousand (`gc_thresh3`) it throws them away as fast.
const BEHIND: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The kernel's devices of all clients together.
const EACH: &str = "s6-*";
/// What the rules and the device of all clients together are marked with.
const MARK: &str = "tunnel6";

/// A client whose endpoint is known.
pub(super) struct Client<'a> {
    pub(super) tunnel: &'a Tunnel6,
    pub(super) carrier: Carrier,
}

pub(super) fn add(plan: &mut Plan, model: &Model, served: &[&Tunnel6], facts: &Facts<'_>) {
    let Some(first) = served.first() else { return };
    let Some(local) = here(&first.server, facts) else { return };
    let backend = Backend::choose(model, &plan.host, Kind::Sit.into(), facts.offers);
    let choice = carrier::choice(model, &plan.host);
    let slow = (backend.make == Make::Tun).then(|| carrier::slow(choice, facts.offers));
    let (mut clients, mut bridges) = (Vec::new(), Vec::new());
    let mut taken: HashMap<Ipv4Addr, &str> = served.iter().filter_map(|tunnel| fixed(tunnel)).collect();
    for tunnel in served {
        plan.updates.extend(updates(tunnel, None));
        let remote = there(&tunnel.client, &tunnel.name, facts);
        let other = remote.map(|remote| *taken.entry(remote).or_insert(&tunnel.name));
        match remote.filter(|_| other == Some(tunnel.name.as_str())) {
            Some(remote) => {
                let mtu = mtu(&tunnel.server, &tunnel.client, facts);
                let carrier = self::carrier(tunnel, &backend, (local, remote), mtu);
                let carrier = Carrier { slow: slow.clone(), ..carrier };
                bridges.push(bridge(tunnel, part(tunnel), Via::Carrier(Box::new(carrier.clone()))));
                clients.push(Client { tunnel, carrier });
            }
            None => bridges.push(awaited(&mut plan.wanted, tunnel, &backend, other)),
        }
    }
    let uplink = first.server.uplink.as_str();
    let widest = clients.iter().map(|client| &client.carrier.mtu).max_by_key(|mtu| mtu.value).cloned();
    if let Some(widest) = widest {
        let mut rules = filter(&clients, &widest, backend.make, uplink, facts);
        if backend.make == Make::Tun {
            rules.rules.push(quiet(local));
        }
        plan.wanted.push(object(Object::Filter(rules)));
        links(&mut plan.wanted, &clients, &widest, backend.make);
        fast(&mut plan.wanted, choice, &clients, facts);
        forwarding(&mut plan.wanted, &clients, uplink, facts);
        reached(&mut plan.wanted, &clients);
    }
    let near = neighbours::near(model, &plan.host, uplink, facts);
    neighbours::add(plan, model, &clients, (uplink, &near), facts);
    hearing::add(plan, model, served);
    unassigned(&mut plan.wanted, served, &near);
    plan.remarks.extend(heard(served));
    plan.remarks.extend(remarks(&clients, uplink, facts));
    plan.bridges.extend(bridges);
}

fn part(tunnel: &Tunnel6) -> String {
    format!("{} has IPv6 from here: {}, over sit", tunnel.client.host, owned(tunnel))
}

fn device(tunnel: &Tunnel6, make: Make) -> String {
    match make {
        Make::Tun => SHARED.into(),
        Make::Kernel => tunnel.server_device.clone(),
    }
}

fn carrier(tunnel: &Tunnel6, backend: &Backend, ends: (Ipv4Addr, Ipv4Addr), mtu: Mtu) -> Carrier {
    Carrier {
        device: device(tunnel, backend.make),
        kind: Kind::Sit,
        local: ends.0.into(),
        remote: ends.1.into(),
        mtu,
        backend: backend.clone(),
        inner6: Some(tunnel.server6()),
        owned: tunnel.owned(),
        uplink: tunnel.server.uplink.clone(),
        slow: None,
        direct: None,
    }
}

/// The kernel's programs, which know all clients.
fn fast(wanted: &mut Vec<Wanted>, choice: FastChoice, clients: &[Client<'_>], facts: &Facts<'_>) {
    let Some(first) = clients.first() else { return };
    let told = clients.iter().filter_map(|Client { carrier, .. }| {
        let IpAddr::V4(remote) = carrier.remote else { return None };
        Some(crate::object::Client { remote, mtu: carrier.mtu.value, owned: carrier.owned.clone() })
    });
    carrier::programs(wanted, choice, &first.carrier, (Peers::Clients(told.collect()), None), facts);
}

/// An endpoint that the file gives, and whose it is: nobody else can tell it.
fn fixed(tunnel: &Tunnel6) -> Option<(Ipv4Addr, &str)> {
    match tunnel.client.endpoint {
        Endpoint4::Fixed(address) => Some((address, &tunnel.name)),
        Endpoint4::Follows => None,
    }
}

/// Nothing leads to a client whose endpoint is unknown, and nothing but `unreachable` to its networks.
fn awaited(wanted: &mut Vec<Wanted>, tunnel: &Tunnel6, backend: &Backend, other: Option<&str>) -> Bridge {
    let host = &tunnel.client.host;
    let why = match other {
        None => format!("waits until {host} tells its endpoint"),
        Some(other) => format!(
            "waits until {host} tells an endpoint of its own: it has that of {other}, and protocol 41 knows no ports"
        ),
    };
    let awaited = Awaited { device: device(tunnel, backend.make), why };
    wanted.extend(tunnel.owned().into_iter().map(|net| route(Route::unreachable(net.into()))));
    bridge(tunnel, part(tunnel), Via::Awaited(awaited))
}

fn links(wanted: &mut Vec<Wanted>, clients: &[Client<'_>], widest: &Mtu, make: Make) {
    match make {
        Make::Tun => {
            let (name, mtu, bridge) = (SHARED.into(), widest.value, Some(MARK.into()));
            wanted.push(object(Object::Link(Link { name, kind: LinkKind::Tun, mtu, up: true, bridge })));
        }
        Make::Kernel => {
            for client in clients {
                carrier::device(wanted, &client.tunnel.name, 1, &client.carrier);
            }
        }
    }
}

/// Of what is newly forwarded, only what clients send or get passes. In the kernel's devices each may
/// send only from where the way back leads to it; in the shared one the loop sees to that.
fn filter(clients: &[Client<'_>], widest: &Mtu, make: Make, uplink: &str, facts: &Facts<'_>) -> Filter {
    let dev = match make {
        Make::Tun => SHARED,
        Make::Kernel => EACH,
    };
    let from = |dev: &str| Match::In(dev.into());
    let to = |dev: &str| Match::Out(dev.into());
    let forward = |matches, verdict| rule(MARK, Chain::Forward, matches, verdict);
    let mut rules: Vec<FilterRule> = clamps(MARK, dev, widest).to_vec();
    for Client { tunnel, carrier } in clients.iter().filter(|client| client.carrier.mtu.value < widest.value)
    {
        let mss = Verdict::ClampMss(carrier.mtu.mss6());
        for net in tunnel.owned() {
            let [source, destination] = [Match::Source6(net), Match::Destination6Net(net)];
            rules.push(forward(vec![from(dev), source, Match::TcpSyn], mss));
            rules.push(forward(vec![to(dev), destination, Match::TcpSyn], mss));
        }
    }
    match make {
        Make::Tun => {
            rules.push(forward(vec![from(dev)], Verdict::Accept));
            rules.push(forward(vec![to(dev)], Verdict::Accept));
        }
        Make::Kernel => {
            rules.push(forward(vec![from(dev), Match::WayBack], Verdict::Accept));
            rules.push(forward(vec![to(dev), Match::NotIn(dev.into())], Verdict::Accept));
            rules.push(rule(MARK, Chain::Input, vec![from(dev), Match::WayBack], Verdict::Accept));
            for Client { tunnel, carrier } in clients {
                for chain in [Chain::Forward, Chain::Input] {
                    rules.push(rule(&tunnel.name, chain, vec![from(&carrier.device)], Verdict::Count));
                }
            }
        }
    }
    if !facts.forwards6() {
        let newly = if forces(facts, uplink) { vec![uplink] } else { devices(facts) };
        rules.extend(newly.into_iter().map(|dev| forward(vec![from(dev), Match::Ipv6], Verdict::Drop)));
    }
    Filter { rules }
}

/// A kernel with the module loaded would tell clients of the shared device that they have no tunnel.
fn quiet(local: Ipv4Addr) -> FilterRule {
    let about = vec![Match::Source(local), Match::UnreachableAbout4(Kind::Sit.protocol())];
    rule(MARK, Chain::Output, about, Verdict::Drop)
}

/// IPv6 forwards for the whole host or not at all, unless the kernel can have it for a device alone.
fn forwarding(wanted: &mut Vec<Wanted>, clients: &[Client<'_>], uplink: &str, facts: &Facts<'_>) {
    if facts.forwards6() || !forces(facts, uplink) {
        forwarding6(wanted, &devices(facts), facts);
        return;
    }
    let devices: BTreeSet<&str> = clients.iter().map(|client| client.carrier.device.as_str()).collect();
    for dev in devices.into_iter().chain([uplink]) {
        wanted.push(sysctl(SysctlKey::ipv6_conf(dev, "force_forwarding"), "1"));
    }
}

/// The server's address of each link, and the ways to what is the client's.
fn reached(wanted: &mut Vec<Wanted>, clients: &[Client<'_>]) {
    for Client { tunnel, carrier } in clients {
        let net = Ipv6Net::new(tunnel.server6(), 127).unwrap_or(tunnel.link);
        wanted.push(address(&carrier.device, net.into()));
        let dev = &carrier.device;
        let gateway = (carrier.backend.make == Make::Tun).then_some(BEHIND.into());
        let way = |net: &Ipv6Net| Route { gateway, ..Route::through(MAIN, (*net).into(), dev) };
        wanted.extend(tunnel.routed.iter().map(|net| route(way(net))));
    }
}

/// What nobody has of a pool that is routed here does not go back to where it came from. Of one that is
/// on-link the rest may be neighbours'.
fn unassigned(wanted: &mut Vec<Wanted>, served: &[&Tunnel6], near: &[Ipv6Net]) {
    let pools: BTreeSet<Ipv6Net> = served.iter().flat_map(|tunnel| tunnel.pool.iter().copied()).collect();
    let routed = pools.into_iter().filter(|pool| !near.iter().any(|net| net.contains(pool)));
    wanted.extend(routed.map(|pool| route(Route::unreachable(pool.into()))));
}

/// Where signed updates arrive: until one does, its client has no tunnel.
fn heard(served: &[&Tunnel6]) -> Option<String> {
    let ports: BTreeSet<u16> =
        served.iter().filter_map(|tunnel| Some(tunnel.update.as_ref()?.port)).collect();
    let listed: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let word = if ports.len() == 1 { "port" } else { "ports" };
    (!ports.is_empty()).then(|| {
        format!("updates arrive at UDP {word} {} over IPv4: a firewall must let them in", listed.join(", "))
    })
}

fn remarks(clients: &[Client<'_>], uplink: &str, facts: &Facts<'_>) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(client) = clients.first() {
        remarks.extend(super::absent(client.carrier.local, facts));
        let local: IpAddr = client.carrier.local;
        remarks.push(format!(
            "the tunnels arrive at {local} as protocol 41, on {uplink}: a firewall must let it in"
        ));
    }
    let default = facts.live.routes.iter().any(|route| {
        let everywhere = route.dst.prefix_len() == 0 && route.dst.addr().is_ipv6();
        everywhere && route.table == MAIN && route.origin != Origin::Straddle
    });
    if !default {
        remarks.push("this host has no IPv6 default route: its clients reach one another at most".into());
    }
    remarks
}
