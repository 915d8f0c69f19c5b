//! Proxy neighbour entries that are not heard of, and proxies that answer for the world.

use std::net::IpAddr;

use crate::object::{Link, MAIN, Neighbour, NeighbourKind, RouteKind, SysctlKey};
use crate::snapshot::Snapshot;

use super::{Trap, is_on, links, number, set};

fn proxies(live: &Snapshot) -> impl Iterator<Item = &Neighbour> {
    live.neighbours.iter().filter(|entry| entry.kind == NeighbourKind::Proxy)
}

/// An entry answers only where its device is a router's (`arp_process`, `ndisc_recv_ns`), and for IPv6 where
/// `proxy_ndp` is on too.
pub(super) fn unheard(live: &Snapshot) -> Vec<Trap> {
    let trap = |entry: &Neighbour| {
        let dev = &entry.dev;
        let needed = match entry.address {
            IpAddr::V4(_) => vec![SysctlKey::ipv4_conf(dev, "forwarding")],
            IpAddr::V6(_) => {
                let everywhere = is_on(live, &SysctlKey::ipv6_conf("all", "proxy_ndp"));
                let ndp = (!everywhere).then(|| SysctlKey::ipv6_conf(dev, "proxy_ndp"));
                [SysctlKey::ipv6_conf(dev, "forwarding")].into_iter().chain(ndp).collect()
            }
        };
        let missing: Vec<SysctlKey> = needed.into_iter().filter(|key| !is_on(live, key)).collect();
        let seen = missing.iter().map(|key| format!("{key} is 0")).collect::<Vec<_>>().join(", ");
        (!missing.is_empty()).then(|| Trap {
            trap: "proxy-entry-unheard",
            device: Some(dev.clone()),
            wrong: format!("has a proxy entry for {}, and nobody gets an answer", entry.address),
            seen,
            cure: missing.iter().map(|key| set(key, 1)).collect(),
        })
    };
    proxies(live).filter_map(trap).collect()
}

/// The kernel waits a random time up to `proxy_delay`, in hundredths of a second (0.8 s by default).
pub(super) fn late(live: &Snapshot) -> Vec<Trap> {
    let mut keys: Vec<(String, SysctlKey)> = Vec::new();
    for entry in proxies(live) {
        let of = match entry.address {
            IpAddr::V4(_) => SysctlKey::ipv4_neigh(&entry.dev, "proxy_delay"),
            IpAddr::V6(_) => SysctlKey::ipv6_neigh(&entry.dev, "proxy_delay"),
        };
        if is_on(live, &of) && !keys.iter().any(|(_, known)| *known == of) {
            keys.push((entry.dev.clone(), of));
        }
    }
    let trap = |(dev, key): (String, SysctlKey)| Trap {
        trap: "proxy-entry-late",
        device: Some(dev),
        wrong: "answers for its proxy entries up to 0.8 s late: the first packets to them wait".into(),
        seen: format!("{key} is {} (hundredths of a second)", number(live, &key).unwrap_or_default()),
        cure: vec![set(&key, 0)],
    };
    keys.into_iter().map(trap).collect()
}

/// `proxy_arp` answers for whatever leads away by another device; with a default route that is everything.
pub(super) fn for_everybody(live: &Snapshot) -> Vec<Trap> {
    let everywhere = is_on(live, &SysctlKey::ipv4_conf("all", "proxy_arp"));
    let answers = links(live).filter(|link| {
        let on = |name| is_on(live, &SysctlKey::ipv4_conf(&link.name, name));
        (everywhere || on("proxy_arp")) && on("forwarding")
    });
    let trap = |link: &Link| {
        let away = live.routes.iter().find(|route| {
            let default = route.table == MAIN && route.dst.prefix_len() == 0 && route.dst.addr().is_ipv4();
            default && route.kind == RouteKind::Unicast && !route.devices().any(|dev| dev == link.name)
        })?;
        let by = away.devices().next()?;
        let key = if everywhere { "all" } else { &link.name };
        Some(Trap {
            trap: "proxy-arp-for-everything",
            device: Some(link.name.clone()),
            wrong: "answers ARP for every address there is: its neighbours' packets end here".into(),
            seen: format!("proxy_arp is on, and the default route leaves by {by}"),
            cure: vec![
                format!("ip neigh add proxy ADDRESS dev {}    # for each address that is meant", link.name),
                set(&SysctlKey::ipv4_neigh(&link.name, "proxy_delay"), 0),
                set(&SysctlKey::ipv4_conf(key, "proxy_arp"), 0),
            ],
        })
    };
    answers.filter_map(trap).collect()
}
