//! What a user should know before the steps are taken.

use std::net::IpAddr;

use crate::model::Relay;
use crate::object::{Chain, Key, MAIN, Object, Origin, RouteKind, Verdict, Wanted};
use crate::snapshot::Snapshot;
use crate::words;

use super::{Bridge, Plan, Via};

impl Plan {
    /// One sentence each.
    pub fn notes(&self, live: &Snapshot) -> Vec<String> {
        let about = self.wanted.iter().flat_map(|wanted| self.about(wanted, live));
        let relays = self.bridges.iter().filter_map(|bridge| match &bridge.via {
            Via::Relay(relay) => Some(self.absent(relay, live)),
            Via::Carrier(_) | Via::Translator(_) | Via::Awaited(_) | Via::Routes(_) => None,
        });
        let absent = relays.flatten();
        self.remarks.iter().cloned().chain(about).chain(absent).chain(self.barred(live)).collect()
    }

    /// Where a relay listens at an address that no device has; the kernel lets it.
    pub fn absent<'a>(&'a self, relay: &'a Relay, live: &'a Snapshot) -> impl Iterator<Item = String> + 'a {
        let has = |ip: IpAddr| {
            ip.is_loopback()
                || live.addresses.iter().any(|held| held.net.addr() == ip)
                || self.wanted.iter().any(
                    |wanted| matches!(wanted, Wanted::Object(Object::Address(held)) if held.net.addr() == ip),
                )
        };
        let absent = relay.listen.iter().filter(move |listen| listen.address.is_some_and(|ip| !has(ip)));
        absent.map(|listen| {
            format!(
                "{}: nothing comes to `{}`: no device of this host has that address",
                relay.name, listen.word
            )
        })
    }

    /// An accept of ours does not help where another chain drops.
    fn barred(&self, live: &Snapshot) -> Vec<String> {
        let passes = |wanted: &&Wanted| match wanted {
            Wanted::Object(Object::Filter(filter)) => filter
                .rules
                .iter()
                .any(|rule| rule.chain == Chain::Forward && rule.verdict == Verdict::Accept),
            Wanted::Object(_)
            | Wanted::Sysctl(_)
            | Wanted::LooseReversePath { .. }
            | Wanted::Vacant { .. }
            | Wanted::Pinned { .. } => false,
        };
        if !self.wanted.iter().any(|wanted| passes(&wanted)) {
            return Vec::new();
        }
        let mut devices: Vec<&str> = self.bridges.iter().flat_map(Bridge::passes).collect();
        devices.dedup();
        let barriers = live.barriers.iter().filter(|chain| self.meets(chain));
        let told = barriers.map(|chain| {
            let each = devices.iter().flat_map(|dev| ["iifname", "oifname"].map(|by| format!("{by} {dev}")));
            let rules = each.map(|by| format!("nft insert rule {chain} {by} accept"));
            format!(
                "the nft chain `{chain}` is not ours and drops what it does not accept; it must accept this \
                 too: {}",
                rules.collect::<Vec<_>>().join("; ")
            )
        });
        told.collect()
    }

    /// Whether packets of its family are let through here.
    fn meets(&self, chain: &str) -> bool {
        let six = |bridge: &Bridge| ["tunnel6", "clat", "siit"].contains(&bridge.recipe);
        let four = |bridge: &Bridge| bridge.recipe != "tunnel6";
        let (is4, is6) = (chain.starts_with("ip "), chain.starts_with("ip6 "));
        self.bridges.iter().any(|bridge| !is4 && !is6 || is4 && four(bridge) || is6 && six(bridge))
    }

    fn about(&self, wanted: &Wanted, live: &Snapshot) -> Vec<String> {
        match wanted {
            Wanted::Vacant { address, dev } => {
                let another = live.addresses.iter().any(|held| {
                    let ip = held.net.addr();
                    let leaves = self.wanted.iter().any(|wanted| wanted.key() == Key::Vacant(ip));
                    held.dev != "lo" && held.origin != Origin::Straddle && ip.is_ipv4() && !leaves
                });
                let left = if another { "at its other addresses" } else { "over IPv6" };
                vec![format!("once {address} has left {dev}, this host itself is reached {left} only")]
            }
            Wanted::Object(Object::Route(ours)) if ours.table == MAIN && ours.dst.prefix_len() == 0 => {
                let before = live.routes.iter().filter(|route| {
                    let same =
                        route.table == MAIN && route.dst == ours.dst && route.kind == RouteKind::Unicast;
                    same && route.origin != Origin::Straddle && route.metric < ours.metric
                });
                // A lender's own default goes with its address; what stays in front is another's.
                let stays = before.filter(|route| route.dev != ours.dev);
                stays
                    .map(|route| format!("`{}` is not ours and stays in front", words::route(route)))
                    .collect()
            }
            Wanted::Object(_)
            | Wanted::Sysctl(_)
            | Wanted::LooseReversePath { .. }
            | Wanted::Pinned { .. } => {
                vec![]
            }
        }
    }
}
