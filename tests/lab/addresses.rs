//! Hosts with more addresses than one, and peers with more carriers.
//!
//! ```text
//!  client ── inet ── switch ── lender: 192.0.2.158, .159, .200
//!              └───────────── borrower
//! ```

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use straddle_lab::probe::{Answer, knock, ping, stream};
use straddle_lab::process::Process;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{BORROWED, World, WorldOptions};
use straddle_lab::{Carrier, LabError, wait};

use crate::{Moved, exe, same, turn};

const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 159);

const TWO: &str = r#"
[host.lender]
uplink = "eth0"
ipv4 = ["192.0.2.158/24", "192.0.2.159/24"]
gateway4 = "192.0.2.1"
ipv6 = "2001:db8:aefc::2"

[host.borrower]
uplink = "eth0"
ipv6 = "2001:db8:eec0::2"

[[borrow]]
address = "192.0.2.158"
from = "lender"
to = "borrower"
key = 1

[[borrow]]
address = "192.0.2.159"
from = "lender"
to = "borrower"
key = 2
"#;

/// Whether the borrower is who answers at an address.
fn borrowed(world: &World, address: Ipv4Addr) -> Result<bool, LabError> {
    let opened = stream(&world.client, &world.borrower, address.into())?;
    Ok(opened.is_some_and(|opened| opened.seen_by_client == IpAddr::V4(address)))
}

fn run(world: &World, straddle: &Straddle) -> Result<[Process; 2], LabError> {
    Ok([straddle.on(&world.lender).run()?, straddle.on(&world.borrower).run()?])
}

#[test]
fn a_secondary_address_is_lent_as_well() -> Result<(), LabError> {
    let Some(_turn) = turn("a_secondary_address_is_lent_as_well") else { return Ok(()) };
    let world = World::build(WorldOptions::default())?;
    world.lender.ip("address del 192.0.2.158/24 dev eth0\naddress add 192.0.2.200/24 dev eth0\n\
         address add 192.0.2.158/24 dev eth0\nroute add default via 192.0.2.1")?;
    let before = HostState::read(&world.lender)?;
    let straddle = Straddle::borrow(&world, exe(), Carrier::Ip6gre)?;
    let running = run(&world, &straddle)?;
    assert!(borrowed(&world, BORROWED)?);
    straddle.on(&world.lender).down()?;
    drop(running);
    same("after down", &before, &world.lender);
    Ok(())
}

#[test]
fn two_addresses_of_one_lender_are_lent_at_once() -> Result<(), LabError> {
    let Some(_turn) = turn("two_addresses_of_one_lender_are_lent_at_once") else { return Ok(()) };
    let world = World::build(WorldOptions::default())?;
    world.lender.ip("address add 192.0.2.159/24 dev eth0")?;
    let before = HostState::read(&world.lender)?;
    for text in [TWO.into(), TWO.replace("key =", "direct = true\nkey =")] {
        let straddle = Straddle::with_config(&world, exe(), &text)?;
        let running = run(&world, &straddle)?;
        assert!(borrowed(&world, BORROWED)?, "the first");
        assert!(borrowed(&world, SECOND)?, "the second");
        if text != TWO {
            each_directly(&world, &straddle)?;
        }
        narrow(&world)?;
        [&world.lender, &world.borrower]
            .into_iter()
            .try_for_each(|host| straddle.on(host).down().map(drop))?;
        drop(running);
        same("after down", &before, &world.lender);
    }
    Ok(())
}

/// Each address's packets go past a device of its own.
fn each_directly(world: &World, straddle: &Straddle) -> Result<(), LabError> {
    let counted = || -> Result<Vec<[u64; 2]>, LabError> {
        let status = straddle.on(&world.lender).json("status")?;
        let packets = |bridge: &serde_json::Value| {
            ["outward", "inward"].map(|way| bridge["fast"]["direct"][way]["packets"].as_u64().unwrap())
        };
        Ok(status["bridges"].as_array().unwrap().iter().map(packets).collect())
    };
    for (place, address) in [BORROWED, SECOND].into_iter().enumerate() {
        let before = counted()?;
        assert!(ping(&world.client, address.into(), 5)?.complete(), "{address}");
        let went: Vec<[u64; 2]> = before
            .iter()
            .zip(counted()?)
            .map(|(before, after)| [0, 1].map(|way| after[way] - before[way]))
            .collect();
        assert_eq!((went[place], went[1 - place]), ([5, 5], [0, 0]), "{address}");
    }
    Ok(())
}

/// What a router says of the path is passed on for each carrier of the peer.
fn narrow(world: &World) -> Result<(), LabError> {
    world.inet.ip("route replace 2001:db8:eec0::2/128 dev borrower mtu 1400")?;
    // What the client has learnt before; what the lender has, it knows still.
    world.client.ip("route flush cache")?;
    for address in [BORROWED, SECOND] {
        let answer = knock(&world.client, address, 1450, Duration::from_secs(1))?;
        assert!(matches!(answer, Answer::FragNeeded { mtu: 1352, .. }), "{address}: {answer:?}");
    }
    Ok(())
}

#[test]
fn another_ipv6_address_of_a_host_changes_nothing() -> Result<(), LabError> {
    let Some(_turn) = turn("another_ipv6_address_of_a_host_changes_nothing") else { return Ok(()) };
    let moved = Moved::new(WorldOptions::default(), Carrier::Ip6gre)?;
    moved.world.lender.ip("address add 2001:db8:aefc::2222/64 dev eth0 nodad")?;
    moved.world.borrower.ip("address add 2001:db8:eec0::2222/128 dev eth0 nodad")?;
    assert!(borrowed(&moved.world, BORROWED)?);
    moved.down().map(drop)
}

/// A borrower that is served, but does not come to read: its socket overflows, and its kernel must not
/// say that nobody is there.
#[test]
fn a_full_socket_is_no_absent_tunnel() -> Result<(), LabError> {
    let Some(_turn) = turn("a_full_socket_is_no_absent_tunnel") else { return Ok(()) };
    let moved = Moved::by(WorldOptions::default(), Carrier::Ip6gre, "off")?;
    let (world, straddle) = (&moved.world, &moved.straddle);
    let running = Pid::from_raw(moved.running[1].id().try_into().unwrap()).unwrap();
    kill_process(running, Signal::STOP).unwrap();
    let socket = world.client.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap())?;
    wait::until("the borrower's socket to overflow", Duration::from_secs(10), || {
        // A datagram that finds no room on the way is none too few.
        (0..1000).for_each(|_| drop(socket.send_to(&[0; 1000], (BORROWED, 9))));
        let sockets = world.borrower.run(&["cat", "/proc/net/raw6"]).ok()?.stdout;
        let drops = sockets.lines().filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok());
        (drops.sum::<u64>() > 1000).then_some(())
    })?;
    kill_process(running, Signal::CONT).unwrap();
    let status = straddle.on(&world.lender).json("status")?;
    assert_eq!(status["bridges"][0]["counters"]["no_tunnel_at"], serde_json::Value::Null, "{status:#}");
    moved.down().map(drop)
}
