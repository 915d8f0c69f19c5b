//! Tun carriers by themselves, every kind, between two hosts.
//!
//! ```text
//!  lender ─── switch ─── inet ─── borrower
//!    ╚═══════════ a carrier ═════════╝
//!  10.99.0.1, fd99::1          10.99.0.2, fd99::2
//! ```

use straddle_encap::Kind;
use straddle_lab::world::WorldOptions;
use straddle_lab::{LabError, wait};

use crate::pair::{KINDS, PINGS, Pair, answered, clear, world};
use crate::{allocations, choice, exe, turn};

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
            let lost = serving.drops();
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
    assert_eq!(pair.borrower.drops(), [("gre-key", PINGS)]);
    assert_eq!(pair.lender.drops(), []);
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
            (usize::from(pair.lender.serving().report()[0].path_mtu) == inner).then_some(())
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
        assert!(
            pair.lender.serving().report()[0].no_tunnel_at.is_some(),
            "{kind:?}: {:?}",
            pair.lender.drops()
        );
        drop(pair.lender);
        clear(&world)?;
    }
    Ok(())
}

/// On a kernel without the devices that is tun, and `plan` says why.
#[test]
fn auto_follows_the_kernel() -> Result<(), LabError> {
    let Some(_turn) = turn("auto_follows_the_kernel") else { return Ok(()) };
    choice::auto_follows_the_kernel(exe()).map(drop)
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
    let carried = pair.lender.serving().report()[0].packets_out;
    assert!(carried >= 10_000, "{carried} packets");
    assert!(made < 1_000, "{made} allocations for 10,000 packets at each of two ends");
    Ok(())
}
