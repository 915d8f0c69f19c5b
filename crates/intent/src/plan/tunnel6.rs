//! `tunnel6`: hosts without IPv6 have that of another one, through tunnels over IPv4.

mod client;
mod hearing;
mod neighbours;
mod server;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use straddle_encap::Kind;

use crate::model::{End, End4, Endpoint4, Model, Tunnel6};
use crate::object::{Chain, FilterRule, Match, Verdict};

use super::{Bridge, Carrier, Facts, Mtu, Plan, Updates, Via};

pub(super) fn add(plan: &mut Plan, model: &Model, facts: &Facts<'_>) {
    let served: Vec<&Tunnel6> =
        model.tunnels6.iter().filter(|tunnel| tunnel.server.host == plan.host).collect();
    if !served.is_empty() {
        server::add(plan, model, &served, facts);
    }
    let host = plan.host.clone();
    let had = model.tunnels6.iter().filter(|tunnel| tunnel.client.host == host);
    for (number, tunnel) in (0..).zip(had) {
        client::add(plan, model, tunnel, number, facts);
    }
}

/// Where the tunnel ends at the host of an end, seen there.
fn here(end: &End4, facts: &Facts<'_>) -> Option<Ipv4Addr> {
    match end.endpoint {
        Endpoint4::Fixed(address) => Some(address),
        Endpoint4::Follows => facts.live.ipv4_of(&end.uplink).find_map(|held| match held.net.addr() {
            IpAddr::V4(address) if !address.is_link_local() => Some(address),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }),
    }
}

/// The same, seen from the other end.
fn there(end: &End4, bridge: &str, facts: &Facts<'_>) -> Option<Ipv4Addr> {
    match end.endpoint {
        Endpoint4::Fixed(address) => Some(address),
        Endpoint4::Follows => match facts.endpoints.get(bridge) {
            // Whoever has a key may tell what it likes: packets to this host itself would go round in it.
            Some(IpAddr::V4(address)) => Some(*address).filter(|address| !is_own(*address, facts)),
            Some(IpAddr::V6(_)) | None => None,
        },
    }
}

/// Whether packets to an address end on this host, or on all of a network of its own.
fn is_own(address: Ipv4Addr, facts: &Facts<'_>) -> bool {
    facts.live.addresses.iter().any(|held| match held.net {
        IpNet::V4(net) => net.addr() == address || net.prefix_len() < 31 && net.broadcast() == address,
        IpNet::V6(_) => false,
    })
}

/// The other end sends to an address that must arrive here, and takes packets from it alone.
fn absent(local: IpAddr, facts: &Facts<'_>) -> Option<String> {
    let here = facts.live.holder(local).next().is_some();
    (!here).then(|| {
        format!("no device of this host has {local}, where the tunnel ends: write the address that it has")
    })
}

fn mtu(here: &End4, there: &End4, facts: &Facts<'_>) -> Mtu {
    let end = |end: &End4| End {
        host: end.host.clone(),
        uplink: end.uplink.clone(),
        endpoint: Ipv4Addr::UNSPECIFIED.into(),
        mtu: end.mtu,
    };
    Mtu::of(Kind::Sit, &end(here), &end(there), facts)
}

fn updates(tunnel: &Tunnel6, tells: Option<Ipv4Addr>) -> Option<Updates> {
    let update = tunnel.update.as_ref()?;
    Some(Updates {
        bridge: tunnel.name.clone(),
        key_file: update.key_file.value.clone(),
        server: SocketAddr::new(update.server, update.port),
        tells: tells.map(IpAddr::from),
    })
}

/// What the client has: its address and its networks.
fn owned(tunnel: &Tunnel6) -> String {
    let networks = tunnel.routed.iter().map(ToString::to_string);
    let owned: Vec<String> = std::iter::once(tunnel.client6().to_string()).chain(networks).collect();
    owned.join(", ")
}

fn bridge(tunnel: &Tunnel6, part: String, via: Via) -> Bridge {
    Bridge { name: tunnel.name.clone(), recipe: "tunnel6", part, via }
}

fn rule(bridge: &str, chain: Chain, matches: Vec<Match>, verdict: Verdict) -> FilterRule {
    FilterRule { bridge: bridge.into(), chain, matches, verdict }
}

/// Segments of both directions fit into the tunnel.
fn clamps(bridge: &str, dev: &str, mtu: &Mtu) -> [FilterRule; 2] {
    let mss = Verdict::ClampMss(mtu.mss6());
    [Match::In(dev.into()), Match::Out(dev.into())]
        .map(|by| rule(bridge, Chain::Forward, vec![by, Match::TcpSyn], mss))
}
