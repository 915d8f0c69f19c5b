//! What has to hold while the address is lent, and after it has come back.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use crate::LabError;
use crate::host::Host;
use crate::probe::{Answer, Kind, Ping, Resolution, Watch, download, exchange, knock, ping, resolve, stream};
use crate::report::{BeforeAfter, Check};
use crate::state::HostState;
use crate::straddle::Carrier;
use crate::world::{BORROWED, CLIENT, LENDER_MAC, NOBODY, World};

/// One direction between the client and the borrower.
struct Way<'a> {
    name: &'static str,
    from: &'a Host,
    source: Ipv4Addr,
    to: &'a Host,
    target: Ipv4Addr,
}

/// Everything while the address is at the borrower.
pub(super) fn moved(world: &World, carrier: Carrier, traffic: &BeforeAfter) -> Result<Vec<Check>, LabError> {
    let (client, borrower) = (&world.client, &world.borrower);
    let (there, back) = ("client → borrower", "borrower → client");
    let ways = [
        Way { name: there, from: client, source: CLIENT, to: borrower, target: BORROWED },
        Way { name: back, from: borrower, source: BORROWED, to: client, target: CLIENT },
    ];
    let mut checks = Vec::new();
    for way in &ways {
        checks.extend(one_way(way)?);
    }
    checks.push(one_hop_more(traffic));
    checks.extend(path_mtu(client, carrier)?);
    checks.push(fetched(world)?);
    checks.extend(neighbours(&world.inet)?);
    let dropped = world.switch.frames()?.foreign;
    let measured = format!("{dropped} frames dropped");
    checks.push(Check::new("the hoster's switch has no complaint", dropped == 0, measured));
    Ok(checks)
}

/// With carriers of the kernel's own no process of straddle is left on either host.
pub(super) fn nobody_stays(world: &World, exe: &Path) -> Result<Check, LabError> {
    let mut left = 0;
    for host in [&world.lender, &world.borrower] {
        left += host.processes_of(exe)?;
    }
    let measured = format!("{left} processes, carriers of the kernel's own");
    Ok(Check::new("`up` alone is enough: no process stays", left == 0, measured))
}

/// The lender over IPv6, all the time.
pub(super) fn watched(watch: Watch) -> Result<Check, LabError> {
    let reach = watch.stop()?;
    let measured = format!("{} of {} pings", reach.answered, reach.sent);
    let ok = reach.answered == reach.sent && reach.sent > 0;
    Ok(Check::new("lender reachable over IPv6 throughout", ok, measured))
}

/// Both hosts after `down`, against what they were.
pub(super) fn returned(world: &World, before: &[HostState; 2]) -> Result<Vec<Check>, LabError> {
    let mut checks = Vec::new();
    for (host, before) in [&world.lender, &world.borrower].into_iter().zip(before) {
        checks.push(Check::unchanged(before, host)?);
    }
    let back = ping(&world.client, BORROWED.into(), 20)?;
    checks.push(pinged("the lender answers at its address again", back));
    Ok(checks)
}

fn one_way(way: &Way<'_>) -> Result<Vec<Check>, LabError> {
    let mut checks = vec![pinged(&format!("ping {}", way.name), ping(way.from, way.target.into(), 20)?)];
    let stream = stream(way.from, way.to, way.target.into())?;
    let seen = stream.map(|stream| (Some(stream.seen_by_server), Some(stream.seen_by_client)));
    checks.push(addresses("TCP", way, seen.unwrap_or_default()));
    let kinds = [
        ("UDP", Kind::Udp, 100),
        ("UDP, 8 KB in fragments", Kind::Udp, 8192),
        ("IP protocol 132", Kind::Protocol(132), 100),
        ("IP protocol 253", Kind::Protocol(253), 100),
    ];
    for (name, kind, size) in kinds {
        let seen = exchange(way.from, way.to, way.target, kind, size)?;
        checks.push(addresses(name, way, (seen.seen_by_server, seen.seen_by_client)));
    }
    Ok(checks)
}

fn pinged(name: &str, ping: Ping) -> Check {
    let mean = ping.rtt_ms.map_or_else(String::new, |[_, mean, _]| format!(", {mean:.2} ms"));
    Check::new(name, ping.complete(), format!("{} of {}{mean}", ping.received, ping.sent))
}

/// Each side has to see the other by its own address.
fn addresses(what: &str, way: &Way<'_>, seen: (Option<IpAddr>, Option<IpAddr>)) -> Check {
    let expected = (Some(way.source.into()), Some(way.target.into()));
    let name = format!("{what} {}", way.name);
    if seen == expected {
        return Check::new(name, true, "addresses kept");
    }
    let show = |address: Option<IpAddr>| address.map_or_else(|| "nothing".into(), |a| a.to_string());
    let measured = format!(
        "receiver saw {} for {}, sender saw {} for {}",
        show(seen.0),
        way.source,
        show(seen.1),
        way.target
    );
    Check::new(name, false, measured)
}

fn one_hop_more(traffic: &BeforeAfter) -> Check {
    let (before, after) = (&traffic.before.hops, &traffic.after.hops);
    let arrived =
        |hops: &[crate::probe::Hop]| hops.last().is_some_and(|hop| hop.address == Some(BORROWED.into()));
    let ok = after.len() == before.len() + 1 && arrived(before) && arrived(after);
    let measured = format!("{} hops, then {}", before.len(), after.len());
    Check::new("traceroute shows one hop more", ok, measured)
}

fn path_mtu(client: &Host, carrier: Carrier) -> Result<Vec<Check>, LabError> {
    let mtu = carrier.mtu();
    let big = knock(client, BORROWED, 1500, ANSWER)?;
    let told = matches!(big, Answer::FragNeeded { mtu: told, .. } if told == mtu);
    let fits = knock(client, BORROWED, mtu, ANSWER)?;
    Ok(vec![
        Check::new(format!("1500 bytes, DF: told to send {mtu}"), told, words(big)),
        Check::new(format!("{mtu} bytes, DF: answered"), fits == Answer::Reply, words(fits)),
    ])
}

fn words(answer: Answer) -> String {
    match answer {
        Answer::Reply => "reply".into(),
        Answer::FragNeeded { mtu, from } => format!("MTU {mtu}, says {from}"),
        Answer::Error { kind, code, from } => format!("ICMP {kind}/{code} from {from}"),
        Answer::Silence => "silence".into(),
    }
}

fn fetched(world: &World) -> Result<Check, LabError> {
    let got = download(&world.client, &world.borrower, BORROWED.into(), world.directory())?;
    let measured = format!("{} bytes in {:.3} s", got.bytes, got.seconds);
    Ok(Check::new("curl fetches 1 MB from nginx at the borrower", got.intact, measured))
}

fn neighbours(gateway: &Host) -> Result<Vec<Check>, LabError> {
    let show = |resolution: &Resolution| match resolution {
        Resolution::Answered(address) => address.clone(),
        Resolution::Silent => "no answer".into(),
    };
    let ours = resolve(gateway, "hoster", BORROWED)?;
    let other = resolve(gateway, "hoster", NOBODY)?;
    let found = ours == Resolution::Answered(LENDER_MAC.into());
    let silent = other == Resolution::Silent;
    Ok(vec![
        Check::new(format!("the gateway finds {BORROWED}"), found, show(&ours)),
        Check::new(format!("and nobody at {NOBODY}"), silent, show(&other)),
    ])
}

const ANSWER: Duration = Duration::from_secs(1);
