//! IPv4 by way of IPv6 neighbours, as `straddle lab via6` shows it, and the world that it happens in.
//!
//! ```text
//!  laptop ── near ── far ── inet ── web
//!              │
//!            phone
//! ```

use std::time::Duration;

use straddle_lab::host::Host;
use straddle_lab::probe::ping;
use straddle_lab::process::Process;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Chain;
use straddle_lab::{LabError, VIA6_CONFIG, Via6Options, via6, wait};

use crate::crash::{Stage, every_kill_is_survived};
use crate::foreign::Then::{LeaveIt, Refuse};
use crate::foreign::{Foreign, judge};
use crate::{exe, good, same, turn};

#[test]
fn hosts_behind_routers_without_ipv4_have_it() {
    let Some(_turn) = turn("hosts_behind_routers_without_ipv4_have_it") else { return };
    let mut stages = Vec::new();
    let report = via6(&Via6Options::default(), exe(), &mut |stage| stages.push(stage.to_owned())).unwrap();
    good(&report);
    assert!(!stages.is_empty(), "progress is told");
}

fn chain() -> Result<(Chain, Straddle), LabError> {
    let world = Chain::build()?;
    let straddle = Straddle::within(world.directory(), exe(), VIA6_CONFIG)?;
    Ok((world, straddle))
}

fn stage(pick: fn(&Chain) -> &Host) -> Result<Stage, LabError> {
    let (world, straddle) = chain()?;
    Ok(Stage { host: pick(&world).clone(), world: Box::new(world), straddle })
}

#[test]
fn a_via6_host_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_via6_host_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_survived(|| stage(|world| &world.laptop))
}

#[test]
fn a_via6_router_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_via6_router_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_survived(|| stage(|world| &world.far))
}

#[test]
fn a_via6_hosts_foreign_objects_are_left_alone() -> Result<(), LabError> {
    let Some(_turn) = turn("a_via6_hosts_foreign_objects_are_left_alone") else { return Ok(()) };
    HOST.iter().try_for_each(|foreign| {
        let (world, straddle) = chain()?;
        judge(&straddle, &world.laptop, "eth0", foreign)
    })
}

#[test]
fn a_via6_routers_foreign_objects_are_left_alone() -> Result<(), LabError> {
    let Some(_turn) = turn("a_via6_routers_foreign_objects_are_left_alone") else { return Ok(()) };
    ROUTER.iter().try_for_each(|foreign| {
        let (world, straddle) = chain()?;
        judge(&straddle, &world.far, "near", foreign)
    })
}

/// Two links between a host and its router, one of three times the weight.
#[test]
fn two_ways_share_the_traffic_and_one_is_enough() -> Result<(), LabError> {
    let Some(_turn) = turn("two_ways_share_the_traffic_and_one_is_enough") else { return Ok(()) };
    let world = Chain::build()?;
    let second = format!(
        "link add second type veth peer name eth1 netns {}\nlink set second up",
        world.laptop.namespace()
    );
    world.near.ip(&second)?;
    world.laptop.ip("link set eth1 up")?;
    world
        .near
        .ip(&(1..=SERVERS).map(|n| format!("address add 203.0.113.{n}/32 dev lo\n")).collect::<String>())?;
    let straddle = Straddle::within(world.directory(), exe(), TWO_WAYS)?;
    let before = [&world.laptop, &world.near].map(|host| HostState::read(host).unwrap());
    let running = [straddle.on(&world.laptop).run()?, straddle.on(&world.near).run()?];

    let [one, other] = shares(&world)?;
    assert!(one > 5, "the first link carries some: {one} of {SERVERS}");
    assert!(other > one, "the second carries more: {other} beside {one}");
    assert!(answered(&world)? > 0, "the second link has carried some");

    // Its own end goes down; then the other one does, and its own is up but has no carrier.
    for (host, end) in [(&world.laptop, "eth1"), (&world.near, "second")] {
        host.ip(&format!("link set {end} down"))?;
        wait::until("all to go by the first link", SECOND, || {
            shares(&world).ok().filter(|shares| *shares == [SERVERS, 0])
        })?;
        answered(&world)?;
        host.ip(&format!("link set {end} up"))?;
        wait::until("both links to carry", SECOND, || {
            shares(&world).ok().filter(|[one, other]| *other > *one && *one > 5)
        })?;
        assert!(answered(&world)? > 0, "{end} of {} is back", host.name());
    }
    assert!(status_is_well(&straddle, &world.laptop)? && status_is_well(&straddle, &world.near)?);
    finish(&straddle, [&world.laptop, &world.near], running, before)
}

/// How many of the servers are reached by the first link, and how many by the second.
fn shares(world: &Chain) -> Result<[usize; 2], LabError> {
    let mut shares = [0; 2];
    for target in servers() {
        let way = world.laptop.ip_json(&format!("route get {target}"))?;
        match way[0]["dev"].as_str() {
            Some("eth0") => shares[0] += 1,
            Some("eth1") => shares[1] += 1,
            other => panic!("{target} by {other:?}"),
        }
    }
    Ok(shares)
}

fn servers() -> impl Iterator<Item = String> {
    (1..=SERVERS).map(|n| format!("203.0.113.{n}"))
}

/// Some of each share; how many packets the second link has carried meanwhile.
fn answered(world: &Chain) -> Result<u64, LabError> {
    let sent = || -> Result<u64, LabError> {
        let link = world.laptop.ip_json("-stats link show dev eth1")?;
        Ok(link[0]["stats64"]["tx"]["packets"].as_u64().unwrap())
    };
    let before = sent()?;
    for target in servers().step_by(6) {
        let address = target.parse().unwrap();
        wait::until(&format!("{target} to answer"), 5 * SECOND, || {
            ping(&world.laptop, address, 1).ok().filter(|ping| ping.complete())
        })?;
    }
    Ok(sent()? - before)
}

/// A global next hop, several addresses, named networks, and filters that are strict.
#[test]
fn named_networks_by_a_global_next_hop() -> Result<(), LabError> {
    let Some(_turn) = turn("named_networks_by_a_global_next_hop") else { return Ok(()) };
    let world = Chain::build()?;
    world.laptop.sysctl("net/ipv4/conf/all/rp_filter", "1")?;
    world.near.ip("address add 203.0.113.1/32 dev lo\naddress add 203.0.112.1/32 dev lo")?;
    let straddle = Straddle::within(world.directory(), exe(), GLOBAL)?;
    let before = [&world.laptop, &world.near].map(|host| HostState::read(host).unwrap());
    let running = [straddle.on(&world.laptop).run()?, straddle.on(&world.near).run()?];
    let reaches = |from: &str, target: &str| {
        let words = ["ping", "-n", "-q", "-c", "1", "-W", "1", "-I", from, target];
        world.laptop.try_run(&words).map(|output| output.status.success())
    };
    for from in ["10.0.8.42", "10.0.8.43"] {
        assert!(reaches(from, "203.0.113.1")?, "from {from}");
    }
    assert!(!reaches("10.0.8.42", "203.0.112.1")?, "what is not named does not go that way");
    let way = world.laptop.ip_json("route get 203.0.113.1")?;
    assert_eq!(way[0]["prefsrc"], "10.0.8.42", "the first address is the one to send from");

    let routes = || world.laptop.ip_json("-4 route show proto 46");
    let up = routes()?;
    assert_eq!(up.as_array().map(Vec::len), Some(2), "{up}");
    world.laptop.ip("link set eth0 down\nlink set eth0 up")?;
    assert_ne!(routes()?, up, "the kernel has deleted them");
    wait::until("the routes to be back", SECOND, || routes().ok().filter(|now| *now == up))?;
    wait::until("an answer", 5 * SECOND, || {
        reaches("10.0.8.43", "203.0.113.1").ok().filter(|answered| *answered)
    })?;
    finish(&straddle, [&world.laptop, &world.near], running, before)
}

/// The file gives no address: one that was put on `lo` by hand serves, and stays.
#[test]
fn an_address_on_lo_serves() -> Result<(), LabError> {
    let Some(_turn) = turn("an_address_on_lo_serves") else { return Ok(()) };
    let world = Chain::build()?;
    world.laptop.ip("address add 10.0.8.42/32 dev lo")?;
    world.near.ip("address add 203.0.113.1/32 dev lo")?;
    let straddle = Straddle::within(world.directory(), exe(), ON_LO)?;
    let before = [&world.laptop, &world.near].map(|host| HostState::read(host).unwrap());
    let running = [straddle.on(&world.laptop).run()?, straddle.on(&world.near).run()?];
    assert!(running[0].log().contains("ready: keeping via6-laptop in step"), "{}", running[0].log());
    let target = "203.0.113.1".parse().unwrap();
    assert!(ping(&world.laptop, target, 5)?.complete());
    assert!(ping(&world.near, Chain::LAPTOP.into(), 5)?.complete());
    finish(&straddle, [&world.laptop, &world.near], running, before)
}

/// A router that did not forward before forwards what is from and for the host, and nothing else.
#[test]
fn a_router_forwards_nothing_else() -> Result<(), LabError> {
    let Some(_turn) = turn("a_router_forwards_nothing_else") else { return Ok(()) };
    let (world, straddle) = chain()?;
    for host in world.ours() {
        straddle.on(host).up()?;
    }
    let web = Chain::WEB.into();
    assert!(ping(&world.laptop, web, 3)?.complete());
    // Another address of the laptop's, to which every router has a way.
    world.laptop.ip("address add 10.0.8.99/32 dev lo")?;
    for (router, by) in [(&world.near, "laptop"), (&world.far, "near"), (&world.inet, "far")] {
        let hop = if by == "laptop" {
            "fe80::42"
        } else if by == "near" {
            "fe80::1"
        } else {
            "fe80::2"
        };
        router.ip(&format!("route add 10.0.8.99/32 via inet6 {hop} dev {by}"))?;
    }
    let from = |address: &str| {
        let words = ["ping", "-n", "-q", "-c", "1", "-W", "0.3", "-I", address, "198.51.100.10"];
        world.laptop.try_run(&words).map(|output| output.status.success())
    };
    assert!(!from("10.0.8.99")?, "what nobody asked for does not pass");
    assert!(from("10.0.8.42")?);
    for router in [&world.near, &world.far, &world.inet] {
        router.sysctl("net/ipv4/ip_forward", "1")?;
        router.nft("delete table inet straddle")?;
    }
    assert!(from("10.0.8.99")?, "and would, if the routers were such by themselves");
    Ok(())
}

fn status_is_well(straddle: &Straddle, host: &Host) -> Result<bool, LabError> {
    Ok(straddle.on(host).json("status")?["well"] == true)
}

fn finish(
    straddle: &Straddle,
    hosts: [&Host; 2],
    running: [Process; 2],
    before: [HostState; 2],
) -> Result<(), LabError> {
    for host in hosts {
        straddle.on(host).down()?;
    }
    running.into_iter().try_for_each(|process| process.ends(Duration::from_secs(10)))?;
    for (host, before) in hosts.into_iter().zip(before) {
        same("after down", &before, host);
    }
    Ok(())
}

/// As many as make chance unlikely.
const SERVERS: usize = 96;
const SECOND: Duration = Duration::from_secs(1);

const TWO_WAYS: &str = r#"[host.laptop]
uplink = "eth0"
ipv6 = "2001:db8:1::42"

[host.near]
uplink = "far"
ipv6 = "2001:db8:1::1"

[[via6]]
host = "laptop"
address = "10.0.8.42"
gateway = ["fe80::1", "fe80::1 dev eth1 weight 3"]
router = "near"
host6 = ["fe80::42 dev laptop", "fe80::42 dev second weight 3"]
"#;

const GLOBAL: &str = r#"[host.laptop]
uplink = "eth0"
ipv6 = "2001:db8:1::42"

[host.near]
uplink = "far"
ipv6 = "2001:db8:1::1"

[[via6]]
host = "laptop"
address = ["10.0.8.42", "10.0.8.43"]
gateway = "2001:db8:1::1"
routes = "203.0.113.0/24"
router = "near"
router-dev = "laptop"
"#;

const ON_LO: &str = r#"[host.laptop]
uplink = "eth0"
ipv4 = "10.0.8.42/32"
ipv6 = "2001:db8:1::42"

[host.near]
uplink = "far"
ipv6 = "2001:db8:1::1"

[[via6]]
host = "laptop"
gateway = "fe80::1"
router = "near"
host6 = "fe80::42"
router-dev = "laptop"
"#;

const HOST: &[Foreign] = &[
    Foreign {
        name: "a default route of our metric",
        ip: "address add 10.0.0.5/24 dev DEV\nroute add default via 10.0.0.1",
        nft: "",
        then: Refuse("default via 10.0.0.1"),
    },
    Foreign {
        name: "a default route of our metric and our shape",
        ip: "route add 0.0.0.0/0 via inet6 fe80::1 dev DEV",
        nft: "",
        then: Refuse("0.0.0.0/0 via inet6 fe80::1"),
    },
    Foreign {
        name: "a default route of our metric by several ways",
        ip: "route add 0.0.0.0/0 nexthop via inet6 fe80::1 dev DEV nexthop via inet6 fe80::9 dev DEV weight 7",
        nft: "",
        then: Refuse("fe80::9 dev eth0 weight 7"),
    },
    Foreign {
        name: "default routes behind ours",
        ip: "route add 0.0.0.0/0 via inet6 fe80::9 dev DEV metric 100\n\
             route add 0.0.0.0/0 metric 600 nexthop via inet6 fe80::1 dev DEV nexthop via inet6 fe80::9 dev DEV",
        nft: "",
        then: LeaveIt,
    },
    Foreign {
        name: "routes by IPv6 next hops",
        ip: "route add 198.18.0.0/16 via inet6 fe80::1 dev DEV\n\
             route add 198.19.0.0/16 nexthop via inet6 fe80::1 dev DEV weight 1 nexthop via inet6 fe80::9 dev DEV weight 9\n\
             route add 203.0.113.0/24 via inet6 2001:db8:1::1 dev DEV onlink",
        nft: "",
        then: LeaveIt,
    },
    Foreign {
        name: "the address on the link",
        ip: "address add 10.0.8.42/32 dev DEV",
        nft: "",
        then: LeaveIt,
    },
    Foreign { name: "the address on lo", ip: "address add 10.0.8.42/32 dev lo", nft: "", then: LeaveIt },
    Foreign {
        name: "the link-local address",
        ip: "address add fe80::42/64 dev DEV nodad",
        nft: "",
        then: LeaveIt,
    },
    Foreign {
        name: "an IPv6 default route by the same next hop",
        ip: "route add default via fe80::1 dev DEV",
        nft: "",
        then: LeaveIt,
    },
];

const ROUTER: &[Foreign] = &[
    Foreign {
        name: "a route to the host",
        ip: "route add 10.0.8.42/32 via inet6 fe80::9 dev DEV",
        nft: "",
        then: Refuse("10.0.8.42/32 via inet6 fe80::9"),
    },
    Foreign {
        name: "a route to the host's network",
        ip: "route add 10.0.8.0/24 via inet6 fe80::9 dev DEV",
        nft: "",
        then: LeaveIt,
    },
    Foreign {
        name: "an nft table of our name",
        ip: "",
        nft: "table inet straddle { chain forward { type filter hook forward priority 0; policy accept; }; }",
        then: Refuse("inet straddle"),
    },
    Foreign {
        name: "an nft table of our shape",
        ip: "",
        nft: "table inet other { chain forward { type filter hook forward priority 0; policy accept; ip daddr 10.0.8.42 accept; }; }",
        then: LeaveIt,
    },
    Foreign { name: "its own address", ip: "address add 10.255.0.2/32 dev lo", nft: "", then: LeaveIt },
];
