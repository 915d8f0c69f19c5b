//! Tun carriers by themselves, every kind, between two hosts.
//!
//! ```text
//!  lender ─── switch ─── inet ─── borrower
//!    ╚═══════════ a carrier ═════════╝
//!  10.99.0.1, fd99::1          10.99.0.2, fd99::2
//! ```

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use straddle_encap::Kind;
use straddle_intent::object::{Address, Link, LinkKind, Object, Origin, Raw};
use straddle_intent::step::Step;
use straddle_kernel::{Kernel, Live, open_queues};
use straddle_lab::host::Host;
use straddle_lab::world::{BORROWED, BORROWER6, LENDER6, World, WorldOptions};
use straddle_lab::{LabError, wait};
use straddle_serve::carrier::{Carrier, Serving};

use crate::{allocations, turn};

const DEVICE: &str = "st-test";
const KINDS: [Kind; 4] = [Kind::Ip6gre { key: None }, Kind::Ip6gre { key: Some(7) }, Kind::Ip4ip6, Kind::Sit];

/// A carrier between the hosts of a world.
struct Pair {
    lender: Serving,
    borrower: Serving,
}

impl Pair {
    fn between(world: &World, kind: Kind, borrower_kind: Kind) -> Result<Pair, LabError> {
        let (here, there): (IpAddr, IpAddr) = match kind {
            Kind::Sit => (BORROWED.into(), BORROWER4.into()),
            Kind::Ip6gre { .. } | Kind::Ip4ip6 => (LENDER6.into(), BORROWER6.into()),
        };
        Ok(Pair {
            lender: world.lender.inside(|| end(kind, here, there, 1))?,
            borrower: world.borrower.inside(|| end(borrower_kind, there, here, 2))?,
        })
    }
}

/// An IPv4 address for the borrower, as carriers over IPv4 need one.
const BORROWER4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

fn world(options: WorldOptions) -> Result<World, LabError> {
    let world = World::build(options)?;
    world.inet.ip("address add 203.0.113.1/24 dev borrower")?;
    world.borrower.ip("address add 203.0.113.9/24 dev eth0\nroute add default via 203.0.113.1")?;
    Ok(world)
}

fn end(kind: Kind, local: IpAddr, remote: IpAddr, number: u8) -> Serving {
    let mtu = 1500 - u32::from(kind.overhead());
    let mut kernel = Live::open().unwrap();
    let link = Link { name: DEVICE.into(), kind: LinkKind::Tun, mtu, up: true, bridge: Some("test".into()) };
    kernel.execute(&Step::Create(Object::Link(link))).unwrap();
    for net in [format!("10.99.0.{number}/30"), format!("fd99::{number}/64")] {
        let net: IpNet = net.parse().unwrap();
        let address = Address { dev: DEVICE.into(), net, origin: Origin::Straddle, raw: Raw::default() };
        kernel.execute(&Step::Create(Object::Address(address))).unwrap();
    }
    let queues = open_queues(DEVICE, 2).unwrap();
    let mtu = mtu.try_into().unwrap();
    Serving::begin(vec![Carrier { bridge: "test".into(), kind, local, remote, mtu, queues }]).unwrap()
}

fn clear(world: &World) -> Result<(), LabError> {
    for host in [&world.lender, &world.borrower] {
        host.ip(&format!("link del {DEVICE}"))?;
    }
    Ok(())
}

/// Whether five pings of this many bytes of payload are answered, unfragmented.
fn answered(host: &Host, target: &str, size: usize) -> Result<bool, LabError> {
    let size = size.to_string();
    let words = ["ping", "-n", "-q", "-c", "5", "-i", "0.01", "-W", "2", "-M", "do", "-s", &size, target];
    Ok(host.try_run(&words)?.stdout.contains(" 5 received"))
}

fn drops(serving: &Serving) -> Vec<(&'static str, u64)> {
    serving.report().remove(0).drops
}

#[test]
fn every_kind_carries_what_it_can_up_to_its_mtu() -> Result<(), LabError> {
    let Some(_turn) = turn("every_kind_carries_what_it_can_up_to_its_mtu") else { return Ok(()) };
    let world = world(WorldOptions::default())?;
    for kind in KINDS {
        let pair = Pair::between(&world, kind, kind)?;
        let mtu = 1500 - usize::from(kind.overhead());
        let (v4, v6) = (kind != Kind::Sit, kind != Kind::Ip4ip6);
        for size in [0, 56, mtu - 28] {
            assert_eq!(answered(&world.lender, "10.99.0.2", size)?, v4, "{kind:?}, {size} bytes in IPv4");
        }
        for size in [0, 56, mtu - 48] {
            assert_eq!(answered(&world.borrower, "fd99::1", size)?, v6, "{kind:?}, {size} bytes in IPv6");
        }
        // Each end refused what its carrier does not take, and nothing else was lost.
        let wrong: &[&str] = if v4 && v6 { &[] } else { &["inner-version"] };
        for serving in [&pair.lender, &pair.borrower] {
            let lost = drops(serving);
            assert!(lost.iter().all(|(name, _)| wrong.contains(name)), "{kind:?}: {lost:?}");
        }
        drop(pair);
        clear(&world)?;
    }
    Ok(())
}

#[test]
fn a_key_that_is_not_ours_is_counted() -> Result<(), LabError> {
    let Some(_turn) = turn("a_key_that_is_not_ours_is_counted") else { return Ok(()) };
    let world = world(WorldOptions::default())?;
    let pair = Pair::between(&world, Kind::Ip6gre { key: Some(7) }, Kind::Ip6gre { key: Some(8) })?;
    assert!(!answered(&world.lender, "10.99.0.2", 56)?);
    assert_eq!(drops(&pair.borrower), [("gre-key", 5)]);
    assert_eq!(drops(&pair.lender), []);
    Ok(())
}

/// A router in the middle takes 1,400 bytes only: its word is passed on to whoever sent the inner packet.
#[test]
fn a_narrow_path_is_told_inwards() -> Result<(), LabError> {
    let Some(_turn) = turn("a_narrow_path_is_told_inwards") else { return Ok(()) };
    let world = world(WorldOptions { middle_mtu: Some(1400), ..WorldOptions::default() })?;
    for kind in KINDS {
        let pair = Pair::between(&world, kind, kind)?;
        let inner = 1400 - usize::from(kind.overhead());
        let (target, headers) = if kind == Kind::Sit { ("fd99::2", 48) } else { ("10.99.0.2", 28) };
        assert!(!answered(&world.lender, target, 1400)?, "{kind:?}");
        wait::until("the path's MTU", std::time::Duration::from_secs(2), || {
            (usize::from(pair.lender.report()[0].path_mtu) == inner).then_some(())
        })?;
        assert!(answered(&world.lender, target, inner - headers)?, "{kind:?}: {inner} bytes fit");
        let told = world.lender.try_run(&["ip", "route", "get", target])?.stdout;
        assert!(told.contains(&format!("mtu {inner}")), "{kind:?}: the kernel was not told: {told}");
        drop(pair);
        clear(&world)?;
    }
    Ok(())
}

/// Nobody at the other end: the peer's host says so, and so do we.
#[test]
fn a_peer_without_a_tunnel_is_noticed() -> Result<(), LabError> {
    let Some(_turn) = turn("a_peer_without_a_tunnel_is_noticed") else { return Ok(()) };
    let world = world(WorldOptions::default())?;
    for kind in KINDS {
        let pair = Pair::between(&world, kind, kind)?;
        drop(pair.borrower);
        let target = if kind == Kind::Sit { "fd99::2" } else { "10.99.0.2" };
        assert!(!answered(&world.lender, target, 56)?);
        assert!(pair.lender.report()[0].no_tunnel_at.is_some(), "{kind:?}: {:?}", drops(&pair.lender));
        drop(pair.lender);
        clear(&world)?;
    }
    Ok(())
}

/// The loops run in this very process, so its allocator sees them.
#[test]
fn nothing_is_allocated_per_packet() -> Result<(), LabError> {
    let Some(_turn) = turn("nothing_is_allocated_per_packet") else { return Ok(()) };
    let world = world(WorldOptions::default())?;
    let pair = Pair::between(&world, Kind::Ip6gre { key: None }, Kind::Ip6gre { key: None })?;
    let flood = ["ping", "-n", "-q", "-f", "-c", "5000", "10.99.0.2"];
    assert!(world.lender.try_run(&flood)?.stdout.contains(" 0% packet loss"));
    let before = allocations();
    assert!(world.lender.try_run(&flood)?.stdout.contains(" 0% packet loss"));
    let made = allocations() - before;
    let carried = pair.lender.report()[0].packets_out;
    assert!(carried >= 10_000, "{carried} packets");
    assert!(made < 1_000, "{made} allocations for 10,000 packets at each of two ends");
    Ok(())
}
