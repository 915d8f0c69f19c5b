//! Ports of the address lead to two servers; the rest of it stays with the VPS.

use std::net::{IpAddr, SocketAddr};

use crate::LabError;
use crate::host::Host;
use crate::probe::{Serving, exchange_at, stream_at};
use crate::question::{self, Finding, Way, addresses};
use crate::world::{CLIENT6, DsLite};

use super::{Served, fetched, talks};

/// The same questions before and after.
pub(super) fn ask(served: &Served<'_>) -> Result<Vec<Finding>, LabError> {
    let world = served.world;
    let mut findings = web(served)?;
    for (port, inner, size) in [(27_015, 27_015, 100), (27_030, 27_030, 100), (27_020, 27_020, 8192)] {
        findings.push(datagram(&inwards(world, &world.second), port, inner, size)?);
    }
    for (port, inner) in [(9000, 9100), (9003, 9103)] {
        findings.push(datagram(&inwards(world, &world.first), port, inner, 100)?);
    }
    findings.extend(shifted(&inwards(world, &world.second), 5005, 5105)?);
    findings.extend(closed(world)?);
    findings.extend(as_ever(world)?);
    Ok(findings)
}

fn inwards<'a>(world: &'a DsLite, to: &'a Host) -> Way<'a> {
    let name = if to.name() == "first" { "client → first" } else { "client → second" };
    Way { name, from: &world.client, seen: DsLite::CLIENT.into(), to, target: DsLite::PUBLIC.into() }
}

/// Everybody who asks for the two sites.
fn web(served: &Served<'_>) -> Result<Vec<Finding>, LabError> {
    let world = served.world;
    let (client, router): (IpAddr, IpAddr) = (DsLite::CLIENT.into(), DsLite::ROUTER.into());
    let askers: [(&'static str, &Host, IpAddr, u16, &Serving); 5] = [
        ("client → :443, first", &world.client, client, 443, &served.first),
        ("client → :8443, second", &world.client, client, 8443, &served.second),
        ("LAN host → :8443, second", &world.laptop, router, 8443, &served.second),
        ("first → :443, itself", &world.first, router, 443, &served.first),
        ("first → :8443, second", &world.first, router, 8443, &served.second),
    ];
    let fetch = |(name, from, seen, port, serving): (&'static str, _, _, u16, &Serving)| {
        let way = Way { name, from, seen, to: from, target: DsLite::PUBLIC.into() };
        fetched(&way, serving, &format!("{}:{port}", DsLite::PUBLIC))
    };
    askers.into_iter().map(fetch).collect()
}

fn datagram(way: &Way<'_>, port: u16, inner: u16, size: usize) -> Result<Finding, LabError> {
    let seen = exchange_at(way.from, way.to, SocketAddr::new(way.target, port), inner, size)?;
    let what = format!("UDP :{port}, {size} bytes,");
    Ok(addresses(&what, way, (seen.seen_by_server, seen.seen_by_client)))
}

/// A TCP port in the middle of a range that moves, with segments that fit the home's line.
fn shifted(way: &Way<'_>, port: u16, inner: u16) -> Result<Vec<Finding>, LabError> {
    let stream = stream_at(way.from, way.to, SocketAddr::new(way.target, port), inner)?;
    let mss = stream.as_ref().and_then(|stream| stream.mss);
    let seen = stream.map(|stream| (Some(stream.seen_by_server), Some(stream.seen_by_client)));
    // Less 40 bytes of the carrier's header, 40 of IP and TCP, and 12 of TCP's timestamps (RFC 7323).
    let fits = DsLite::LINE - 40 - 40 - 12;
    let measured = mss.map_or_else(|| "no connection".into(), |mss| format!("{mss} bytes"));
    Ok(vec![
        addresses(&format!("TCP :{port}"), way, seen.unwrap_or_default()),
        Finding::new(format!("its segments: {fits} bytes"), mss == Some(fits), measured),
    ])
}

/// Ports beside those that are published lead nowhere.
fn closed(world: &DsLite) -> Result<Vec<Finding>, LabError> {
    let mut findings = Vec::new();
    for (port, to) in [(27_014, &world.second), (27_031, &world.second), (9004, &world.first)] {
        let seen = exchange_at(&world.client, to, (DsLite::PUBLIC, port).into(), port, 100)?;
        let measured = seen.seen_by_server.map_or_else(|| "nothing".into(), |from| format!("from {from}"));
        findings.push(Finding::new(format!("UDP :{port} is not published"), measured == "nothing", measured));
    }
    for (port, to) in [(444, &world.first), (5010, &world.second)] {
        let stream = stream_at(&world.client, to, (DsLite::PUBLIC, port).into(), port)?;
        let measured = if stream.is_some() { "a connection" } else { "no connection" };
        findings.push(Finding::new(format!("TCP :{port} is not published"), stream.is_none(), measured));
    }
    Ok(findings.into_iter().map(Finding::always).collect())
}

/// The VPS's own services at the same address, and whoever calls from home.
fn as_ever(world: &DsLite) -> Result<Vec<Finding>, LabError> {
    let vps = Way {
        name: "client → VPS",
        from: &world.client,
        seen: DsLite::CLIENT.into(),
        to: &world.vps,
        target: DsLite::PUBLIC.into(),
    };
    let manage =
        Way { name: "client → VPS, IPv6", seen: CLIENT6.into(), target: DsLite::VPS6.into(), ..vps };
    let ssh = stream_at(vps.from, vps.to, SocketAddr::new(vps.target, SSH), SSH)?;
    let ssh = ssh.map(|stream| (Some(stream.seen_by_server), Some(stream.seen_by_client)));
    let mut findings = vec![addresses("TCP :22", &vps, ssh.unwrap_or_default()), question::pinged(&vps)?];
    findings.extend(talks(&manage)?);
    let homes = [
        ("first → client", &world.first),
        ("second → client", &world.second),
        ("LAN host → client", &world.laptop),
    ];
    for (name, from) in homes {
        let (seen, target) = (DsLite::CGNAT.into(), DsLite::CLIENT.into());
        findings.extend(talks(&Way { name, from, seen, to: &world.client, target })?);
    }
    Ok(findings.into_iter().map(Finding::always).collect())
}

const SSH: u16 = 22;
