use serde_json::{Value, json};

use super::*;

/// The traps of a host that looks like this, as `TRAP DEVICE`.
#[track_caller]
fn traps(live: Value) -> Vec<String> {
    let live: Snapshot = serde_json::from_value(live).unwrap();
    examine(&live)
        .into_iter()
        .map(|trap| format!("{} {}", trap.trap, trap.device.unwrap_or_default()))
        .collect()
}

fn ether(name: &str, mtu: u32) -> Value {
    json!({"name": name, "kind": {"other": "ether"}, "mtu": mtu, "up": true})
}

fn tunnel(format: &Value, hop_limit: u8, mtu: u32, encap_limit: Option<u8>) -> Value {
    let tunnel = json!({"format": format, "local": "2001:db8::1", "remote": "2001:db8::2", "hop_limit": hop_limit,
        "copy_class": true, "encap_limit": encap_limit});
    json!({"name": "tun", "kind": {"tunnel": tunnel}, "mtu": mtu, "up": true})
}

#[test]
fn a_router_that_lives_on_advertisements() {
    let host = |accept_ra: &str, forwarding: &str, origin: Value| {
        traps(json!({
            "links": [ether("eth0", 1500)],
            "routes": [{"dst": "::/0", "dev": "eth0", "gateway": "fe80::1", "metric": 1024, "origin": origin}],
            "sysctls": {
                "net/ipv6/conf/all/forwarding": "1",
                "net/ipv6/conf/eth0/forwarding": forwarding,
                "net/ipv6/conf/eth0/accept_ra": accept_ra,
            },
        }))
    };
    let learnt = || json!({"other": 9});
    assert_eq!(host("1", "1", learnt()), ["router-deaf-to-advertisements eth0"]);
    assert_eq!(host("2", "1", learnt()), [""; 0]);
    assert_eq!(host("1", "0", learnt()), [""; 0], "a host, not a router");
    assert_eq!(host("1", "1", json!({"other": 3})), [""; 0], "typed by hand");
}

#[test]
fn a_router_that_has_lost_its_way() {
    let found = traps(json!({
        "links": [ether("eth0", 1500)],
        "addresses": [{"dev": "eth0", "net": "2001:db8::5/64", "origin": "kernel"}],
        "sysctls": {"net/ipv6/conf/all/forwarding": "1", "net/ipv6/conf/eth0/forwarding": "1",
            "net/ipv6/conf/eth0/accept_ra": "1"},
    }));
    assert_eq!(found, ["router-deaf-to-advertisements eth0"]);
}

#[test]
fn force_forwarding_forwards() {
    let host = |forced: &str| {
        traps(json!({
            "links": [ether("eth0", 1500)],
            "sysctls": {"net/ipv6/conf/all/forwarding": "0", "net/ipv6/conf/eth0/forwarding": "1",
                "net/ipv6/conf/eth0/force_forwarding": forced},
        }))
    };
    assert_eq!(host("0"), ["ipv6-forwarding-of-one-device eth0"]);
    assert_eq!(host("1"), [""; 0]);
}

#[test]
fn tunnels() {
    let host = |tunnel: Value| {
        traps(json!({
            "links": [ether("eth0", 1500), tunnel],
            "addresses": [{"dev": "eth0", "net": "2001:db8::1/64", "origin": {"other": 0}}],
        }))
    };
    let gre = json!({"ip6gre": {}});
    let keyed = json!({"ip6gre": {"key": 7}});
    assert_eq!(host(tunnel(&gre, 64, 1456, None)), [""; 0]);
    assert_eq!(host(tunnel(&gre, 64, 1456, Some(4))), ["tunnel-mtu-too-large tun"]);
    assert_eq!(host(tunnel(&gre, 64, 1448, Some(4))), [""; 0]);
    assert_eq!(host(tunnel(&keyed, 64, 1452, None)), [""; 0]);
    assert_eq!(host(tunnel(&keyed, 64, 1453, None)), ["tunnel-mtu-too-large tun"]);
    assert_eq!(host(tunnel(&json!("ip4ip6"), 0, 1460, None)), ["tunnel-inherits-hop-limit tun"]);
    assert_eq!(host(tunnel(&json!("ip4ip6"), 64, 1000, None)), [""; 0], "no IPv6 in it");
}

#[test]
fn errors_find_a_way_through_loose_filters_too() {
    let host = |all: &str, own: &str, route: Option<Value>| {
        let by = json!({"dst": "10.0.0.0/8", "dev": "eth0", "gateway": "fe80::1", "origin": {"other": 3}});
        let routes: Vec<Value> = std::iter::once(by).chain(route).collect();
        traps(json!({
            "links": [ether("eth0", 1500)],
            "routes": routes,
            "sysctls": {"net/ipv4/conf/all/rp_filter": all, "net/ipv4/conf/eth0/rp_filter": own},
        }))
    };
    let default = |dev: &str| Some(json!({"dst": "0.0.0.0/0", "dev": dev, "origin": {"other": 3}}));
    let dropped = ["errors-from-192.0.0.8-dropped eth0"];
    assert_eq!(host("0", "0", None), [""; 0]);
    assert_eq!(host("0", "1", None), dropped);
    assert_eq!(host("2", "1", None), dropped, "loose wants any route");
    assert_eq!(host("2", "1", default("eth1")), [""; 0]);
    assert_eq!(host("1", "0", default("eth1")), dropped);
    assert_eq!(host("1", "0", default("eth0")), [""; 0]);
}
