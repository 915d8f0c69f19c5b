//! Routers without IPv4 answer from 192.0.0.8 (RFC 7600), and filters that don't know it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::DUMMY4;
use crate::object::{Route, RouteKind, SysctlKey};
use crate::snapshot::Snapshot;

use super::{Trap, number, set};

/// IPv4 goes by IPv6 next hops, and a strict filter drops what routers on that way say: of packets too large,
/// among others.
pub(super) fn errors_without_an_address(live: &Snapshot) -> Vec<Trap> {
    let by_ipv6 = |route: &&Route| {
        let next = route.gateway.into_iter().chain(route.hops.iter().filter_map(|hop| hop.gateway));
        route.dst.addr().is_ipv4() && next.into_iter().any(|gateway| gateway.is_ipv6())
    };
    // Whoever has a route for it has thought of it.
    if live.routes.iter().any(|route| route.dst == IpNet::from(IpAddr::V4(DUMMY4))) {
        return Vec::new();
    }
    let routes: Vec<&Route> = live.routes.iter().filter(by_ipv6).collect();
    let mut devices: Vec<&str> = routes.iter().flat_map(|route| route.devices()).collect();
    devices.sort_unstable();
    devices.dedup();
    // A route to one host leads to that host, which has an address to speak from.
    devices.retain(|dev| {
        let mut by = routes.iter().filter(|route| route.devices().any(|each| each == *dev));
        by.clone().count() > 1 || by.any(|route| route.dst.prefix_len() < 32)
    });
    let trap = |dev: &str| {
        let of = |dev: &str| number(live, &SysctlKey::ipv4_conf(dev, "rp_filter")).unwrap_or(0);
        let (all, own) = (of("all"), of(dev));
        // The larger of both counts (`IN_DEV_RPFILTER`): 1 is strict, 2 loose.
        let mode = all.max(own);
        let back: Vec<&Route> = live
            .routes
            .iter()
            .filter(|route| route.kind == RouteKind::Unicast && route.dst.contains(&IpAddr::V4(DUMMY4)))
            .collect();
        let passes = match mode {
            0 => true,
            1 => {
                let longest = back.iter().map(|route| route.dst.prefix_len()).max();
                back.iter().any(|route| {
                    Some(route.dst.prefix_len()) == longest && route.devices().any(|by| by == dev)
                })
            }
            _ => !back.is_empty(),
        };
        (!passes).then(|| Trap {
            trap: "errors-from-192.0.0.8-dropped",
            device: Some(dev.to_string()),
            wrong: "drops what routers without an IPv4 address say, which is from 192.0.0.8: large packets vanish \
                    without a word, traceroute shows stars"
                .into(),
            seen: format!("rp_filter is {mode}, and no route for 192.0.0.8 leads by {dev}"),
            cure: if all > own || mode == 2 {
                vec![format!("ip route add {DUMMY4}/32 dev {dev}")]
            } else {
                vec![set(&SysctlKey::ipv4_conf(dev, "rp_filter"), 2), format!("ip route add {DUMMY4}/32 dev {dev}")]
            },
        })
    };
    devices.into_iter().filter_map(trap).collect()
}
