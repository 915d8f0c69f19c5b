//! What chains of others drop that must pass: an accept of ours does not help where another chain drops.

use std::net::IpAddr;

use crate::model::{Family, Listen, Protocol};
use crate::object::{Chain, Object, Verdict, Wanted};
use crate::snapshot::Snapshot;

use super::{Bridge, Carrier, Plan, Via};

/// Something that a chain must accept.
struct Opening {
    /// IPv4 or IPv6; either where it is none.
    v4: Option<bool>,
    /// As nft(8) takes it.
    words: String,
}

/// A sentence for each chain of others that drops what this host's bridges need.
pub(super) fn barred(plan: &Plan, live: &Snapshot) -> Vec<String> {
    let forward = live.barriers.iter().filter(|chain| meets(plan, chain));
    let forward = forward.map(|chain| (chain, forwarded(plan))).collect::<Vec<_>>();
    let input = live.input_barriers.iter().map(|chain| (chain, taken_in(plan, chain)));
    let all = forward.into_iter().chain(input).filter(|(_, openings)| !openings.is_empty());
    let told = all.map(|(chain, openings)| {
        let rules = openings.iter().map(|opening| format!("nft insert rule {chain} {opening} accept"));
        format!(
            "the nft chain `{chain}` is not ours and drops what it does not accept; it must accept this too: {}",
            rules.collect::<Vec<_>>().join("; ")
        )
    });
    told.collect()
}

/// Whether packets of its family are let through here.
fn meets(plan: &Plan, chain: &str) -> bool {
    let six = |bridge: &Bridge| ["tunnel6", "clat", "siit"].contains(&bridge.recipe);
    let four = |bridge: &Bridge| bridge.recipe != "tunnel6";
    let (is4, is6) = families(chain);
    // One chain for both sees whatever a bridge has.
    plan.bridges.iter().any(|bridge| is4 && four(bridge) || is6 && six(bridge))
}

/// Whether a chain sees IPv4, and whether IPv6.
fn families(chain: &str) -> (bool, bool) {
    (!chain.starts_with("ip6 "), !chain.starts_with("ip "))
}

/// What passes through this host by its bridges' devices.
fn forwarded(plan: &Plan) -> Vec<String> {
    let passes = |wanted: &Wanted| match wanted {
        Wanted::Object(Object::Filter(filter)) => {
            filter.rules.iter().any(|rule| rule.chain == Chain::Forward && rule.verdict == Verdict::Accept)
        }
        Wanted::Object(_)
        | Wanted::Sysctl(_)
        | Wanted::LooseReversePath { .. }
        | Wanted::Vacant { .. }
        | Wanted::Pinned { .. } => false,
    };
    if !plan.wanted.iter().any(passes) {
        return Vec::new();
    }
    let mut devices: Vec<&str> = plan.bridges.iter().flat_map(Bridge::passes).collect();
    devices.dedup();
    devices.iter().flat_map(|dev| ["iifname", "oifname"].map(|by| format!("{by} {dev}"))).collect()
}

/// What this host itself takes in: carriers' outer packets, what is relayed, and what is told of endpoints.
fn taken_in(plan: &Plan, chain: &str) -> Vec<String> {
    let mut openings: Vec<Opening> = plan.bridges.iter().flat_map(|bridge| of_bridge(plan, bridge)).collect();
    openings.extend(plan.updates.iter().filter(|update| update.tells.is_none()).map(|update| {
        let words = format!("{} udp dport {}", to(update.server.ip()), update.server.port());
        Opening { v4: Some(update.server.is_ipv4()), words }
    }));
    openings.extend(plan.http.iter().flat_map(|http| &http.listen).map(|at| {
        let words = format!("{} tcp dport {}", to(at.ip()), at.port());
        Opening { v4: Some(at.is_ipv4()), words }
    }));
    let (is4, is6) = families(chain);
    let seen = |opening: &Opening| opening.v4.is_none_or(|v4| if v4 { is4 } else { is6 });
    let mut all: Vec<String> = Vec::new();
    for opening in openings.into_iter().filter(seen) {
        if !all.contains(&opening.words) {
            all.push(opening.words);
        }
    }
    all
}

fn of_bridge(plan: &Plan, bridge: &Bridge) -> Vec<Opening> {
    match &bridge.via {
        Via::Carrier(carrier) => {
            let hears = |update: &super::Updates| update.bridge == bridge.name && update.tells.is_none();
            vec![outer(carrier, plan.updates.iter().any(hears))]
        }
        Via::Relay(relay) => relay.listen.iter().filter(|listen| is_outside(listen)).map(listened).collect(),
        Via::Translator(_) | Via::Awaited(_) | Via::Routes(_) => Vec::new(),
    }
}

/// The outer packets of a carrier: from its other end, unless that moves, or is one of many.
fn outer(carrier: &Carrier, moves: bool) -> Opening {
    let ends = if moves || !carrier.owned.is_empty() { to(carrier.local) } else { from(carrier.remote) };
    let words = format!("{ends} meta l4proto {}", carrier.kind.protocol());
    Opening { v4: Some(carrier.local.is_ipv4()), words }
}

fn is_outside(listen: &Listen) -> bool {
    listen.address.is_none_or(|address| !address.is_loopback())
}

fn listened(listen: &Listen) -> Opening {
    let protocol = match listen.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let ports = match (listen.first, listen.last) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let v4 = match listen.family {
        Family::V4 => Some(true),
        Family::V6 => Some(false),
        Family::Both => None,
    };
    let at = listen.address.map(|address| to(address) + " ").unwrap_or_default();
    Opening { v4, words: format!("{at}{protocol} dport {ports}") }
}

fn from(address: IpAddr) -> String {
    if address.is_ipv4() { format!("ip saddr {address}") } else { format!("ip6 saddr {address}") }
}

fn to(address: IpAddr) -> String {
    if address.is_ipv4() { format!("ip daddr {address}") } else { format!("ip6 daddr {address}") }
}
