//! One end by Straddle, the other typed by hand as people type it today.

use straddle_lab::probe::{Kind, exchange, ping, stream};
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{BORROWED, CLIENT, World, WorldOptions};
use straddle_lab::{Carrier, LabError};

use crate::{exe, turn};

/// The lender's lines, as they stand in the recipe.
const LENDER: [&str; 7] = [
    "echo 1 >/proc/sys/net/ipv4/ip_forward",
    "ip addr del 192.0.2.158/24 dev eth0",
    "ip link add tnl4 type ip6gre remote 2001:db8:eec0::2 local 2001:db8:aefc::2 hoplimit 64",
    "ip link set tnl4 up",
    "ip route add default via 192.0.2.1 dev eth0 onlink",
    "ip route add 192.0.2.158/32 dev tnl4",
    "echo 1 >/proc/sys/net/ipv4/conf/all/proxy_arp",
];

/// The borrower's.
const BORROWER: [&str; 4] = [
    "ip link add tnl4 type ip6gre remote 2001:db8:aefc::2 local 2001:db8:eec0::2 hoplimit 64",
    "ip link set tnl4 up",
    "ip addr add 192.0.2.158/32 dev tnl4",
    "ip route add default dev tnl4",
];

/// Everything that crosses when the address has moved.
fn crosses(world: &World, what: &str) -> Result<(), LabError> {
    let (client, borrower) = (&world.client, &world.borrower);
    for (from, to, target, source) in
        [(client, borrower, BORROWED, CLIENT), (borrower, client, CLIENT, BORROWED)]
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
fn a_lender_typed_by_hand() -> Result<(), LabError> {
    let _turn = turn();
    let world = World::build(WorldOptions::default())?;
    for line in LENDER {
        world.lender.run(&["sh", "-c", line])?;
    }
    let straddle = Straddle::borrow(&world, exe(), Carrier::Ip6gre)?;
    straddle.on(&world.borrower).up()?;
    crosses(&world, "lender typed by hand")?;
    let status = straddle.on(&world.borrower).json("status")?;
    assert_eq!(status["well"], true, "{status}");
    for way in ["packets_in", "packets_out"] {
        assert!(status["bridges"][0]["counters"][way].as_u64() > Some(20), "{status}");
    }
    straddle.on(&world.borrower).down().map(drop)
}

#[test]
fn a_borrower_typed_by_hand() -> Result<(), LabError> {
    let _turn = turn();
    let world = World::build(WorldOptions::default())?;
    for line in BORROWER {
        world.borrower.run(&["sh", "-c", line])?;
    }
    let straddle = Straddle::borrow(&world, exe(), Carrier::Ip6gre)?;
    straddle.on(&world.lender).up()?;
    crosses(&world, "borrower typed by hand")?;
    straddle.on(&world.lender).down().map(drop)
}
