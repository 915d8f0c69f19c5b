//! IPv6 over tunnels of the kernel's own, complete, and with either end as people type it today.

use std::time::Duration;

use straddle_lab::probe::{Kind, exchange, ping, stream};
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Broker;
use straddle_lab::{LabError, Tunnel6Options, tunnel6, wait};

use crate::{exe, turn};

/// The client's lines, as they stand in the recipe.
const CLIENT: [&str; 4] = [
    "ip tunnel add sit-ipv6 mode sit remote 192.0.2.10 local 198.51.100.7 ttl 255",
    "ip link set sit-ipv6 up",
    "ip addr add 2001:db8:1::a3/127 dev sit-ipv6",
    "ip route add ::/0 dev sit-ipv6",
];

/// The server's: the mirrored tunnel, forwarding of the whole host, and an answer for the neighbours.
const SERVER: [&str; 7] = [
    "ip tunnel add sit-ipv6 mode sit remote 198.51.100.7 local 192.0.2.10 ttl 255",
    "ip link set sit-ipv6 up",
    "ip addr add 2001:db8:1::a2/127 dev sit-ipv6",
    "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding",
    "echo 1 >/proc/sys/net/ipv6/conf/eth0/proxy_ndp",
    "ip -6 neigh add proxy 2001:db8:1::a3 dev eth0",
    "ip -6 route add 2001:db8:100:100::/64 dev sit-ipv6",
];

fn world() -> Result<(Broker, Straddle), LabError> {
    let world = Broker::build()?;
    let key = world.directory().join("shed.key");
    let straddle = Straddle::within(world.directory(), exe(), &Broker::config(&key))?;
    straddle.on(&world.vps).verb(&["key", &key.display().to_string()])?;
    Ok((world, straddle))
}

/// Everything that crosses between the first client and the web server.
fn crosses(world: &Broker, what: &str) -> Result<(), LabError> {
    let (web, client) = (&world.web, &world.box_);
    // A kernel's proxy answers neighbours late, unless told otherwise.
    for (from, to) in [(client, Broker::WEB), (web, Broker::BOX)] {
        let first = || ping(from, to.into(), 1).ok().filter(|ping| ping.complete());
        wait::until(&format!("{what}: a first answer"), Duration::from_secs(15), first)?;
    }
    for (from, to, target, source) in
        [(client, web, Broker::WEB, Broker::BOX), (web, client, Broker::BOX, Broker::WEB)]
    {
        let way = format!("{what}, from {}", from.name());
        assert!(ping(from, target.into(), 10)?.received >= 9, "{way}: ping");
        let tcp = stream(from, to, target.into())?;
        assert_eq!(tcp.map(|tcp| tcp.seen_by_server), Some(source.into()), "{way}: TCP");
        for size in [100, 8192] {
            let udp = exchange(from, to, target, Kind::Udp, size)?;
            assert_eq!(udp.seen_by_server, Some(source.into()), "{way}: UDP of {size} bytes");
        }
    }
    Ok(())
}

#[test]
fn two_hosts_have_ipv6_by_the_kernels_tunnels() -> Result<(), LabError> {
    let _turn = turn();
    let report = tunnel6(&Tunnel6Options::default(), exe(), &mut |what| println!("... {what}"))?;
    println!("{report}");
    assert!(report.ok(), "a check failed, see above");
    Ok(())
}

#[test]
fn a_client_typed_by_hand() -> Result<(), LabError> {
    let _turn = turn();
    let (world, straddle) = world()?;
    world.box_.typed(&CLIENT)?;
    straddle.on(&world.vps).up()?;
    crosses(&world, "client typed by hand")?;
    straddle.on(&world.vps).down().map(drop)
}

#[test]
fn a_server_typed_by_hand() -> Result<(), LabError> {
    let _turn = turn();
    let (world, straddle) = world()?;
    world.vps.typed(&SERVER)?;
    straddle.on(&world.box_).up()?;
    crosses(&world, "server typed by hand")?;
    let status = straddle.on(&world.box_).json("status")?;
    assert_eq!(status["well"], true, "{status}");
    straddle.on(&world.box_).down().map(drop)
}
