//! The whole address leads to one server.

use crate::LabError;
use crate::probe::{Kind, counter, exchange, refused};
use crate::question::{self, Finding, Way, addresses};
use crate::report::Check;
use crate::world::{CLIENT6, DsLite};

use super::{Served, fetched, pinged, talks, traced};

/// The same questions before and after.
pub(super) fn ask(served: &Served<'_>) -> Result<Vec<Finding>, LabError> {
    let world = served.world;
    let (client, first) = (&world.client, &world.first);
    let inwards = Way {
        name: "client → server",
        from: client,
        seen: DsLite::CLIENT.into(),
        to: first,
        target: DsLite::PUBLIC.into(),
    };
    let outwards = Way {
        name: "server → client",
        from: first,
        seen: DsLite::PUBLIC.into(),
        to: client,
        target: DsLite::CLIENT.into(),
    };
    // At first: the first large packet is the price of finding out.
    let mut findings = sizes(&inwards, &outwards)?;
    findings.extend(inward(&inwards, served)?);
    findings.extend(outward(&outwards)?);
    let router = DsLite::ROUTER.into();
    let near = Way { name: "LAN host → public address", from: &world.laptop, seen: router, ..inwards };
    let own = Way { name: "server → its own address", from: first, seen: router, ..inwards };
    for way in [near, own] {
        findings.push(pinged(&way)?);
        findings.extend(talks(&way)?);
    }
    findings.extend(as_ever(served)?);
    findings.extend(question::rates(&inwards, world.directory())?);
    Ok(findings)
}

fn inward(way: &Way<'_>, served: &Served<'_>) -> Result<Vec<Finding>, LabError> {
    let mut findings = vec![pinged(way)?];
    findings.extend(talks(way)?);
    for (name, kind, size) in
        [("UDP of 8 KB", Kind::Udp, 8192), ("IP protocol 253", Kind::Protocol(253), 100)]
    {
        let seen = exchange(way.from, way.to, way.target, kind, size)?;
        findings.push(addresses(name, way, (seen.seen_by_server, seen.seen_by_client)));
    }
    findings.push(closed(way)?);
    findings.push(question::sent(way)?);
    findings.push(fetched(way, &served.first, &DsLite::PUBLIC.to_string())?);
    findings.push(traced(way, &[DsLite::INET, DsLite::PUBLIC, DsLite::PUBLIC, DsLite::PUBLIC])?);
    Ok(findings)
}

/// By the provider's line or by the carrier: it works before too, from another address.
fn outward(way: &Way<'_>) -> Result<Vec<Finding>, LabError> {
    let mut findings = vec![question::pinged(way)?.always()];
    findings.extend(talks(way)?);
    let seen = exchange(way.from, way.to, way.target, Kind::Udp, 8192)?;
    findings.push(addresses("UDP of 8 KB", way, (seen.seen_by_server, seen.seen_by_client)));
    findings.push(question::closed(way)?.always());
    findings.push(question::sent(way)?.always());
    findings.push(traced(way, &[DsLite::ROUTER, DsLite::PUBLIC, DsLite::GATEWAY, DsLite::CLIENT])?);
    Ok(findings)
}

/// The same of a protocol without ports. Asked once: where it had crossed by the provider's line, the home's
/// router would remember that for the first packet that goes another way (`nf_nat_oif_changed`).
pub(super) fn unusual(world: &DsLite) -> Result<Check, LabError> {
    let seen = exchange(&world.first, &world.client, DsLite::CLIENT, Kind::Protocol(254), 100)?;
    let ok = seen.seen_by_server == Some(DsLite::PUBLIC.into())
        && seen.seen_by_client == Some(DsLite::CLIENT.into());
    let measured = seen.seen_by_server.map_or_else(|| "nothing".into(), |from| format!("from {from}"));
    Ok(Check::new("IP protocol 254 server → client", ok, measured))
}

/// Refused by the receiver, not by somebody in its place.
fn closed(way: &Way<'_>) -> Result<Finding, LabError> {
    let known = counter(way.to, "Udp", "NoPorts")?;
    let told = refused(way.from, way.target)?;
    let arrived = counter(way.to, "Udp", "NoPorts")? > known;
    let measured = match (told, arrived) {
        (true, true) => "refused",
        (true, false) => "by another",
        (false, _) => "silence",
    };
    Ok(Finding::new(format!("UDP to a closed port {}", way.name), told && arrived, measured))
}

/// Whom it does not concern.
fn as_ever(served: &Served<'_>) -> Result<Vec<Finding>, LabError> {
    let world = served.world;
    let outwards = |name, from| Way {
        name,
        from,
        seen: DsLite::CGNAT.into(),
        to: &world.client,
        target: DsLite::CLIENT.into(),
    };
    let manage = Way {
        name: "client → VPS, IPv6",
        from: &world.client,
        seen: CLIENT6.into(),
        to: &world.vps,
        target: DsLite::VPS6.into(),
    };
    let mut findings = Vec::new();
    for way in
        [outwards("LAN host → client", &world.laptop), outwards("second → client", &world.second), manage]
    {
        findings.extend(talks(&way)?);
    }
    Ok(findings.into_iter().map(Finding::always).collect())
}

/// 40 bytes of header: the VPS knows its own link, and is told of the home's narrower line.
fn sizes(inwards: &Way<'_>, outwards: &Way<'_>) -> Result<Vec<Finding>, LabError> {
    let mtu = DsLite::LINE - 40;
    Ok(vec![
        question::told(inwards, 1500, 1460)?,
        question::told(inwards, 1460, mtu)?,
        question::passes(inwards, mtu)?,
        question::told(outwards, 1500, mtu)?,
        question::passes(outwards, mtu)?.always(),
    ])
}
