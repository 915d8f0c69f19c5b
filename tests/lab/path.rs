//! Packet sizes, on a longer way and on one that loses ICMP errors.
//!
//! ```text
//!  client ── near ── inet ── switch ── lender
//!                      │                 ║
//!                     far ──────────── borrower
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use straddle_lab::Carrier;
use straddle_lab::probe::{Answer, Exchange, Kind, download, exchange, knock, stream};
use straddle_lab::world::{BORROWED, CLIENT, Errors, Routers, World, WorldOptions};
use straddle_lab::{LabError, wait};

use crate::{CARRIERS, Moved, turn};

const ANSWER: Duration = Duration::from_secs(1);

/// What a packet of `size` bytes with DF meets between client and borrower.
fn met(world: &World, size: u16) -> Result<Answer, LabError> {
    knock(&world.client, BORROWED, size, ANSWER)
}

/// 1 MB over HTTP, the server at either end.
fn downloads(world: &World) -> Result<(), LabError> {
    let (client, borrower) = (&world.client, &world.borrower);
    let fetched = download(client, borrower, BORROWED.into(), world.directory())?;
    assert!(fetched.intact, "client from borrower: {fetched:?}");
    let fetched = download(borrower, client, CLIENT.into(), world.directory())?;
    assert!(fetched.intact, "borrower from client: {fetched:?}");
    Ok(())
}

/// Whether 8 KB datagrams, in fragments, pass both ways with their addresses kept.
fn fragments_pass(world: &World) -> Result<bool, LabError> {
    let (client, borrower) = (&world.client, &world.borrower);
    let there = exchange(client, borrower, BORROWED, Kind::Udp, 8192)?;
    let back = exchange(borrower, client, CLIENT, Kind::Udp, 8192)?;
    let kept = |seen: Exchange, source: Ipv4Addr, target: Ipv4Addr| {
        seen.seen_by_server == Some(source.into()) && seen.seen_by_client == Some(target.into())
    };
    Ok(kept(there, CLIENT, BORROWED) && kept(back, BORROWED, CLIENT))
}

#[test]
fn a_longer_way_has_the_same_path_mtu() -> Result<(), LabError> {
    let Some(_turn) = turn("a_longer_way_has_the_same_path_mtu") else { return Ok(()) };
    for carrier in CARRIERS {
        let options = WorldOptions { routers: Routers::Two, ..WorldOptions::default() };
        let moved = Moved::new(options, carrier)?;
        let mtu = carrier.mtu();
        for size in [1500, mtu + 1] {
            let answer = met(&moved.world, size)?;
            assert!(
                matches!(answer, Answer::FragNeeded { mtu: told, .. } if told == mtu),
                "{carrier}, {size} bytes: {answer:?}"
            );
        }
        for size in [mtu, 1280, 100] {
            assert_eq!(met(&moved.world, size)?, Answer::Reply, "{carrier}, {size} bytes");
        }
        assert!(fragments_pass(&moved.world)?, "{carrier}: 8 KB datagrams");
        downloads(&moved.world)?;
    }
    Ok(())
}

#[test]
fn tcp_works_where_all_icmp_errors_are_filtered() -> Result<(), LabError> {
    let Some(_turn) = turn("tcp_works_where_all_icmp_errors_are_filtered") else { return Ok(()) };
    for carrier in CARRIERS {
        let options =
            WorldOptions { routers: Routers::Two, errors: Errors::Filtered, ..WorldOptions::default() };
        let moved = Moved::new(options, carrier)?;
        let world = &moved.world;
        assert_eq!(met(world, 1500)?, Answer::Silence, "{carrier}: the filter filters");
        downloads(world)?;
        for (from, to, target) in
            [(&world.client, &world.borrower, BORROWED), (&world.borrower, &world.client, CLIENT)]
        {
            let mss = stream(from, to, target.into())?.and_then(|stream| stream.mss);
            // Timestamps take 12 of the 40 bytes less that ss shows.
            let full = [carrier.mtu() - 40, carrier.mtu() - 52];
            assert!(mss.is_some_and(|mss| full.contains(&mss)), "{carrier}: {mss:?} of {full:?}");
        }
    }
    Ok(())
}

/// A link in the middle, which neither host sees, is narrower: the outer error has to be passed on
/// inwards (RFC 2473 §8).
#[test]
fn a_narrow_link_in_the_middle_is_told_to_the_client() -> Result<(), LabError> {
    let Some(_turn) = turn("a_narrow_link_in_the_middle_is_told_to_the_client") else { return Ok(()) };
    for carrier in CARRIERS {
        let options =
            WorldOptions { routers: Routers::Two, middle_mtu: Some(1400), ..WorldOptions::default() };
        let moved = Moved::new(options, carrier)?;
        let expected = 1400 - (1500 - carrier.mtu());
        // The first packet may be lost to the outer error that tells the lender.
        wait::until(&format!("{carrier}: MTU {expected} to be told"), ANSWER * 5, || {
            let answer = met(&moved.world, carrier.mtu()).ok()?;
            matches!(answer, Answer::FragNeeded { mtu, .. } if mtu == expected).then_some(())
        })?;
        assert_eq!(met(&moved.world, expected)?, Answer::Reply, "{carrier}");
        downloads(&moved.world)?;
        // What is sent in fragments has no DF, and no host is told; what is lost teaches the carrier.
        wait::until(&format!("{carrier}: 8 KB datagrams to pass"), ANSWER * 10, || {
            fragments_pass(&moved.world).ok()?.then_some(())
        })?;
    }
    Ok(())
}

#[test]
fn the_mtu_of_each_carrier_is_what_its_headers_leave() {
    assert_eq!((Carrier::Ip6gre.mtu(), Carrier::Ip4ip6.mtu()), (1456, 1460));
}
