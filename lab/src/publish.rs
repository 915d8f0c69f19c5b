mod address;
mod compared;
mod ports;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use crate::LabError;
use crate::host::Host;
use crate::probe::{Serving, Watch, counter, exchange, exchange_at, ping, stream, trace};
use crate::question::{Finding, Way, addresses, compare};
use crate::report::{Check, Kept, Report};
use crate::state::HostState;
use crate::straddle::Straddle;
use crate::world::DsLite;

/// How much of the address is published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PublishVariant {
    /// All of it, to one server.
    #[default]
    Address,
    /// Ports of it, to two servers.
    Ports,
}

impl PublishVariant {
    /// Both of them.
    pub const ALL: [PublishVariant; 2] = [PublishVariant::Address, PublishVariant::Ports];

    /// The file, as a user would write it.
    #[must_use]
    pub fn config(self) -> String {
        let ports = match self {
            PublishVariant::Address => "",
            PublishVariant::Ports => PORTS,
        };
        // Without it, the first large packet of all is lost, and tells.
        let mtu = match self {
            PublishVariant::Address => "",
            PublishVariant::Ports => "mtu = 1492\n",
        };
        format!("{HOSTS}{mtu}{ENTRY}{ports}")
    }
}

/// What to build and what to leave.
#[derive(Debug, Clone, Copy, Default)]
pub struct PublishOptions {
    /// How much is published.
    pub variant: PublishVariant,
    /// Leave the world standing, with the server published.
    pub keep: bool,
}

/// The world with servers in it.
struct Served<'a> {
    world: &'a DsLite,
    first: Serving,
    second: Serving,
}

/// Builds the world of the `publish` recipe, publishes a server with the real binary, and takes it back.
///
/// # Errors
/// When the world cannot be built or the binary fails. A measurement that is not as it should be is
/// a check of the report.
pub fn publish(
    options: &PublishOptions,
    straddle_exe: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, LabError> {
    progress("building the world");
    let world = DsLite::build()?;
    let straddle = Straddle::within(world.directory(), straddle_exe, &options.variant.config())?;
    let start = |host: &Host| Serving::start(host, world.directory());
    let served = Served { world: &world, first: start(&world.first)?, second: start(&world.second)? };

    progress("asking without a carrier");
    let before = served.ask(options.variant)?;
    let states = [HostState::read(&world.vps)?, HostState::read(&world.router)?];
    let watch = Watch::start(&world.client, DsLite::VPS6)?;

    progress("straddle up on the VPS and at home: asking again");
    let running = straddle.up_on(&[&world.vps, &world.router])?;
    let mut checks = compare(before, served.ask(options.variant)?);
    if options.variant == PublishVariant::Address {
        checks.push(address::unusual(&world)?);
    }
    progress("comparing the way through the carrier with native IPv6");
    checks.extend(compared::ways(&world, options.variant)?);
    checks.extend(nothing_else(&world)?);
    if running.is_empty() {
        checks.push(nobody_stays(&world, straddle_exe)?);
    }

    progress("straddle down: the server goes");
    straddle.down_on(&[&world.vps, &world.router], running)?;
    checks.push(reachable(watch)?);
    for (host, state) in [&world.vps, &world.router].into_iter().zip(&states) {
        checks.push(Check::unchanged(state, host)?);
        checks.push(straddle.on(host).forgot());
        checks.push(host.without(straddle_exe)?);
    }
    let Served { first, second, .. } = served;
    let kept = match options.keep {
        true => Some(keep(world, &straddle, [first, second])?),
        false => None,
    };
    Ok(page(options.variant, checks, kept))
}

impl Served<'_> {
    fn ask(&self, variant: PublishVariant) -> Result<Vec<Finding>, LabError> {
        match variant {
            PublishVariant::Address => address::ask(self),
            PublishVariant::Ports => ports::ask(self),
        }
    }
}

fn keep(world: DsLite, straddle: &Straddle, servers: [Serving; 2]) -> Result<Kept, LabError> {
    let running = straddle.up_on(&[&world.vps, &world.router])?;
    let enter = Kept::ways_in(world.hosts());
    let kept = Kept { enter, remove: world.keep()? };
    running.into_iter().for_each(crate::process::Process::leave);
    servers.into_iter().for_each(Serving::leave);
    Ok(kept)
}

/// A curl that has to get the file, from a server whose log then has this address of the asker's.
fn fetched(way: &Way<'_>, serving: &Serving, authority: &str) -> Result<Finding, LabError> {
    let known = serving.clients().len();
    let got = serving.fetch(way.from, &[], authority)?;
    let log = serving.clients();
    let asked = log.get(known..).unwrap_or_default();
    let seen = asked == [way.seen.to_string()];
    let name = format!("curl {}", way.name);
    let measured = match (got.intact, asked) {
        (_, []) => "nothing".into(),
        (true, [asker]) => format!("1 MB, log: {asker}"),
        (_, askers) => format!("{} bytes, log: {}", got.bytes, askers.join(" ")),
    };
    Ok(Finding::new(name, got.intact && seen, measured))
}

/// Pings that the receiver itself has to get: somebody else may well answer in its place.
fn pinged(way: &Way<'_>) -> Result<Finding, LabError> {
    let known = counter(way.to, "Icmp", "InEchos")?;
    let ping = ping(way.from, way.target, COUNT)?;
    let arrived = counter(way.to, "Icmp", "InEchos")? - known;
    let mean = ping.rtt_ms.map_or_else(String::new, |[_, mean, _]| format!(", {mean:.2} ms"));
    let measured = match arrived {
        0 => format!("0 of {COUNT} arrive"),
        _ => format!("{} of {COUNT}{mean}", ping.received),
    };
    let ok = ping.complete() && arrived == u64::from(COUNT);
    Ok(Finding::new(format!("ping {}", way.name), ok, measured))
}

/// A TCP connection and a datagram, each end with the address that it has to see of the other.
fn talks(way: &Way<'_>) -> Result<Vec<Finding>, LabError> {
    let stream = stream(way.from, way.to, way.target)?;
    let seen = stream.map(|stream| (Some(stream.seen_by_server), Some(stream.seen_by_client)));
    let datagram = exchange(way.from, way.to, way.target, crate::probe::Kind::Udp, 100)?;
    Ok(vec![
        addresses("TCP", way, seen.unwrap_or_default()),
        addresses("UDP", way, (datagram.seen_by_server, datagram.seen_by_client)),
    ])
}

/// Exactly these hops.
fn traced(way: &Way<'_>, expected: &[Ipv4Addr]) -> Result<Finding, LabError> {
    let hops: Vec<Option<IpAddr>> = trace(way.from, way.target)?.iter().map(|hop| hop.address).collect();
    let expected: Vec<Option<IpAddr>> = expected.iter().map(|hop| Some(IpAddr::from(*hop))).collect();
    let show = |hop: &Option<IpAddr>| hop.map_or_else(|| "*".into(), |hop| hop.to_string());
    let measured = hops.iter().map(show).collect::<Vec<_>>().join(" ");
    Ok(Finding::new(format!("traceroute {}", way.name), hops == expected, measured))
}

/// Whoever has the VPS, and sends what it likes into the carrier, reaches the server and nobody else at home.
fn nothing_else(world: &DsLite) -> Result<Vec<Check>, LabError> {
    let vps = &world.vps;
    let others = [DsLite::ROUTER, DsLite::LAPTOP];
    for other in others {
        vps.ip(&format!("route add {other}/32 dev {DEVICE}"))?;
    }
    let known = counter(&world.laptop, "Ip", "InReceives")?;
    let router = ping(vps, DsLite::ROUTER.into(), 5)?.received;
    let laptop = ping(vps, DsLite::LAPTOP.into(), 5)?.received;
    let arrived = counter(&world.laptop, "Ip", "InReceives")? - known;
    let listening = stream(vps, &world.router, DsLite::ROUTER.into())?;
    // The same way, to whom it is for: it is a way.
    let server = exchange_at(vps, &world.second, (DsLite::SECOND, OPEN).into(), OPEN, 100)?;
    let first = exchange_at(vps, &world.first, (DsLite::FIRST, OPEN_FIRST).into(), OPEN_FIRST, 100)?;
    for other in others {
        vps.ip(&format!("route del {other}/32 dev {DEVICE}"))?;
    }
    let seen = server.seen_by_server.or(first.seen_by_server);
    let leads = seen == Some(DsLite::PUBLIC.into());
    let seen = seen.map_or_else(|| "nothing".into(), |seen| format!("seen as {seen}"));
    let nobody = router == 0 && laptop == 0 && arrived == 0 && listening.is_none();
    let measured =
        format!("{router} pings answered by the router, {laptop} by the laptop, {arrived} packets there");
    Ok(vec![
        Check::new("the VPS reaches the server itself", leads, seen),
        Check::new("and nobody else at home", nobody, measured),
    ])
}

/// With carriers of the kernel's own no process of straddle is left on either host.
fn nobody_stays(world: &DsLite, exe: &Path) -> Result<Check, LabError> {
    let left = world.vps.processes_of(exe)? + world.router.processes_of(exe)?;
    let measured = format!("{left} processes, carriers of the kernel's own");
    Ok(Check::new("`up` alone is enough: no process stays", left == 0, measured))
}

/// The VPS over IPv6, all the time.
fn reachable(watch: Watch) -> Result<Check, LabError> {
    let reach = watch.stop()?;
    let measured = format!("{} of {} pings", reach.answered, reach.sent);
    let ok = reach.answered == reach.sent && reach.sent > 0;
    Ok(Check::new("VPS reachable over IPv6 throughout", ok, measured))
}

fn page(variant: PublishVariant, checks: Vec<Check>, kept: Option<Kept>) -> Report {
    let what = match variant {
        PublishVariant::Address => "all of 203.0.113.144",
        PublishVariant::Ports => "ports of 203.0.113.144",
    };
    Report {
        title: format!("Publish: {what} for servers at home behind DS-Lite"),
        drawing: DRAWING,
        traffic: None,
        attempts: Vec::new(),
        checks,
        notes: vec![NOTE.into()],
        kept,
    }
}

/// The carrier's device on both hosts.
const DEVICE: &str = "st-home";
const COUNT: u32 = 20;
/// A UDP port of the second server that is published by the list of ports, and one of the first's.
const OPEN: u16 = 27_020;
const OPEN_FIRST: u16 = 9101;

const HOSTS: &str = r#"[host.vps]
uplink = "eth0"
ipv4 = "203.0.113.144/24"
gateway4 = "203.0.113.1"
ipv6 = "2001:db8:6ef9::1"

[host.router]
uplink = "wan0"
ipv4 = "192.168.1.1/24"
ipv6 = "2001:db8:b0a8:fdd2::1"
"#;

const ENTRY: &str = r#"
[[publish]]
name = "home"
address = "203.0.113.144"
from = "vps"
to = "router"
target = "192.168.1.210"
"#;

const PORTS: &str = r#"ports = [
    "tcp/443",
    "tcp/8443 -> 192.168.1.211:443",
    "tcp/5000-5009 -> 192.168.1.211:5100",
    "udp/27015-27030 -> 192.168.1.211",
    "udp/9000-9003 -> 9100",
]
"#;

const NOTE: &str = "The VPS and the home's router call themselves 203.0.113.144 to the client, as every router \
does that changes a destination. A server's neighbours who call that address are the router, 192.168.1.1, to it.";

const DRAWING: &str = "
  client ─────────── inet ─────────── vps
  198.51.100.10       │               203.0.113.144
  2001:db8:c11::10    │               ║
                   provider           ║ carrier over IPv6,
                   CGNAT: 192.0.2.64  ║ by way of inet and provider
                      │ 1492          ║
                   router ════════════╝
                   192.168.1.1
          ┌───────────┼───────────┐
        first       second      laptop
        .210        .211        .50
";
