//! Whether a host has IPv4 of its own, so that a CLAT stands aside (draft-ietf-v6ops-claton).

use std::net::{IpAddr, Ipv4Addr};

use crate::object::{Address, MAIN, Origin, Route, RouteKind};
use crate::snapshot::Snapshot;
use crate::words;

/// The IPv4 default route of somebody else's that works, in words: one whose packets would come from an
/// address that is not link-local. (A cloud's VM may well have 169.254.1.2 and a default route by DHCP.)
#[must_use]
pub fn native4(live: &Snapshot) -> Option<String> {
    let default = live.routes.iter().filter(|route| {
        route.table == MAIN
            && route.dst.prefix_len() == 0
            && route.dst.addr().is_ipv4()
            && route.kind == RouteKind::Unicast
            && route.origin != Origin::Straddle
            && is_up(live, route)
    });
    default.filter(|route| source(live, route).is_some_and(usable)).map(words::route).next()
}

/// By a device that is up and none of ours. A route may name none.
fn is_up(live: &Snapshot, route: &Route) -> bool {
    let works = |dev: &str| live.link(dev).is_some_and(|link| link.up && link.bridge.is_none());
    route.devices().next().is_none() || route.devices().any(works)
}

/// What its packets would come from, as the kernel chooses it (`inet_select_addr`): what the route says, the
/// device's address in the gateway's network, the device's first one, any of the host's.
fn source(live: &Snapshot, route: &Route) -> Option<Ipv4Addr> {
    if let Some(IpAddr::V4(source)) = route.source {
        return Some(source);
    }
    let of_device = || {
        let held = route.devices().flat_map(|dev| live.ipv4_of(dev));
        held.filter(|address| address.origin != Origin::Straddle)
    };
    let beside = |address: &&Address| route.gateway.is_some_and(|gateway| address.net.contains(&gateway));
    let on_device = of_device().find(beside).or_else(|| of_device().next()).and_then(four);
    let foreign = live.addresses.iter().filter(|address| address.origin != Origin::Straddle);
    on_device.or_else(|| foreign.filter_map(four).find(|v4| usable(*v4)))
}

fn four(address: &Address) -> Option<Ipv4Addr> {
    match address.net.addr() {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    }
}

fn usable(source: Ipv4Addr) -> bool {
    !source.is_link_local() && !source.is_loopback() && !source.is_unspecified()
}

#[cfg(test)]
mod tests {
    use crate::object::{Link, LinkKind};

    use super::*;

    /// Somebody's mark: DHCP's.
    const DHCP: Origin = Origin::Other(16);

    fn link(name: &str) -> Link {
        let bridge = name.starts_with("st-").then(|| "borrow".into());
        Link { name: name.into(), kind: LinkKind::Other("veth".into()), mtu: 1500, up: true, bridge }
    }

    /// `NET dev DEV`; those of a device of ours are ours.
    fn address(words: &str) -> Address {
        let (net, dev) = words.split_once(" dev ").unwrap();
        let origin = if dev.starts_with("st-") { Origin::Straddle } else { DHCP };
        Address { origin, ..Address::ours(dev, net.parse().unwrap()) }
    }

    /// `default [via GATEWAY] [dev DEV] [src SOURCE] [table TABLE] [metric METRIC] [unreachable] [ours]`, or
    /// another network.
    fn route(words: &str) -> Route {
        let mut words = words.split(' ').map(|word| if word == "default" { "0.0.0.0/0" } else { word });
        let mut route = Route::through(MAIN, words.next().unwrap().parse().unwrap(), "");
        (route.dev, route.origin) = (None, DHCP);
        while let Some(word) = words.next() {
            match word {
                "unreachable" => route.kind = RouteKind::Other(7),
                "ours" => route.origin = Origin::Straddle,
                _ => {
                    let value = words.next().unwrap();
                    match word {
                        "via" => route.gateway = Some(value.parse().unwrap()),
                        "dev" => route.dev = Some(value.into()),
                        "src" => route.source = Some(value.parse().unwrap()),
                        "metric" => route.metric = value.parse().unwrap(),
                        _ => route.table = value.parse().unwrap(),
                    }
                }
            }
        }
        route
    }

    /// A host with these addresses and routes, and devices eth0, eth1, st-clat, and down, which is.
    fn host(addresses: &[&str], routes: &[&str]) -> Snapshot {
        let mut links: Vec<Link> = ["lo", "eth0", "eth1", "st-clat", "down"].map(link).into();
        links[4].up = false;
        Snapshot {
            links,
            addresses: addresses.iter().map(|words| address(words)).collect(),
            routes: routes.iter().map(|words| route(words)).collect(),
            ..Snapshot::default()
        }
    }

    fn check(addresses: &[&str], routes: &[&str], expected: Option<&str>) {
        let found = native4(&host(addresses, routes));
        assert_eq!(found.as_deref(), expected, "{addresses:?} {routes:?}");
    }

    #[test]
    fn by_its_route() {
        let addresses = &["127.0.0.1/8 dev lo", "192.0.2.7/24 dev eth0", "2001:db8::7/64 dev eth0"];
        let check = |routes: &[&str], expected: Option<&str>| check(addresses, routes, expected);
        check(&[], None);
        check(&["default via 192.0.2.1 dev eth0"], Some("default via 192.0.2.1 dev eth0"));
        check(
            &["default via 192.0.2.1 dev eth0 src 192.0.2.7 metric 100"],
            Some("default via 192.0.2.1 dev eth0 src 192.0.2.7 metric 100"),
        );
        check(&["default dev eth0"], Some("default dev eth0"));
        check(&["default via fe80::1 dev eth0"], Some("0.0.0.0/0 via inet6 fe80::1 dev eth0"));
        check(&["::/0 via fe80::1 dev eth0"], None);
        check(&["192.0.2.0/24 dev eth0", "10.0.0.0/8 via 192.0.2.1 dev eth0"], None);
        // Ours, by device or by mark, and what stands behind or before it.
        check(&["default dev st-clat ours metric 4700"], None);
        check(&["default dev eth0 ours"], None);
        check(&["default dev st-clat"], None);
        check(
            &["default dev st-clat ours metric 4700", "default via 192.0.2.1 dev eth0"],
            Some("default via 192.0.2.1 dev eth0"),
        );
        check(
            &["default dev st-clat ours metric 10", "default via 192.0.2.1 dev eth0 metric 9999"],
            Some("default via 192.0.2.1 dev eth0 metric 9999"),
        );
        // Of no use.
        check(&["default unreachable"], None);
        check(&["default dev eth0 unreachable"], None);
        check(&["default via 192.0.2.1 dev eth0 table 100"], None);
        check(&["default via 192.0.2.1 dev down"], None);
        check(&["default via 192.0.2.1 dev gone"], None);
        check(
            &["default via 192.0.2.1 dev down", "default via 192.0.2.1 dev eth0 metric 5"],
            Some("default via 192.0.2.1 dev eth0 metric 5"),
        );
        // Several next hops.
        check(&["default"], Some("default"));
    }

    #[test]
    fn by_its_source() {
        let default = "default via 192.0.2.1 dev eth0";
        let check = |addresses: &[&str], route: &str, native: bool| {
            let expected = native.then(|| words::route(&self::route(route)));
            check(addresses, &[route], expected.as_deref());
        };
        check(&[], default, false);
        check(&["127.0.0.1/8 dev lo"], default, false);
        check(&["127.0.0.1/8 dev lo", "2001:db8::7/64 dev eth0"], default, false);
        // A cloud's link-local one.
        check(&["169.254.1.2/32 dev eth0"], "default via 169.254.1.1 dev eth0", false);
        check(&["169.254.1.2/32 dev eth0"], "default via 169.254.1.1 dev eth0 src 169.254.1.2", false);
        check(&["169.254.1.2/16 dev eth0"], "default dev eth0", false);
        // Beside one that is not: that of the gateway's network is taken, else the first.
        check(&["169.254.1.2/16 dev eth0", "192.0.2.7/24 dev eth0"], default, true);
        check(
            &["192.0.2.7/24 dev eth0", "169.254.1.2/16 dev eth0"],
            "default via 169.254.1.1 dev eth0",
            false,
        );
        check(&["169.254.1.2/16 dev eth0", "192.0.2.7/32 dev eth0"], default, false);
        check(&["192.0.2.7/32 dev eth0", "169.254.1.2/16 dev eth0"], default, true);
        check(&["169.254.1.2/32 dev eth0", "192.0.2.7/32 dev eth0"], "default dev eth0 src 192.0.2.7", true);
        check(&["192.0.2.7/32 dev eth0"], "default via 172.31.1.1 dev eth0", true);
        // The device has none: any of the host's.
        check(&["192.0.2.7/32 dev lo"], "default via fe80::1 dev eth0", true);
        check(&["192.0.2.7/32 dev eth1"], default, true);
        check(&["169.254.1.2/32 dev eth1"], default, false);
        check(&["192.168.0.7/24 dev eth0"], "default via 192.168.0.1 dev eth0", true);
        check(&["100.64.0.7/24 dev eth0"], "default via 100.64.0.1 dev eth0", true);
        // The CLAT's own address is none of the host's.
        check(&["192.0.0.2/32 dev st-clat"], default, false);
        check(&["169.254.1.2/32 dev eth0", "192.0.0.2/32 dev st-clat"], default, false);
    }

    /// An address of ours on a device of somebody else's does not count.
    #[test]
    fn by_its_mark() {
        let mut live = host(&["192.0.2.7/24 dev eth0"], &["default via 192.0.2.1 dev eth0"]);
        assert!(native4(&live).is_some());
        live.addresses[0].origin = Origin::Straddle;
        assert_eq!(native4(&live), None);
    }
}
