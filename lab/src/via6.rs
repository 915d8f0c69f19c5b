use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::probe::{ArpWatch, ping};
use crate::process::Process;
use crate::question::{self, Finding, Pace, Strangers, Task, Way, compare};
use crate::report::{Check, Kept, Report};
use crate::state::HostState;
use crate::straddle::Straddle;
use crate::world::Chain;
use crate::{LabError, wait};

/// What to leave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Via6Options {
    /// Leave the world standing, with IPv4.
    pub keep: bool,
}

/// The file of the chain, as a user would write it.
pub const VIA6_CONFIG: &str = r#"[host.laptop]
uplink = "eth0"
ipv6 = "2001:db8:1::42"

[host.phone]
uplink = "eth0"
ipv6 = "2001:db8:2::43"

[host.near]
uplink = "far"
ipv6 = "2001:db8:3::1"

[host.far]
uplink = "inet"
ipv6 = "2001:db8:4::2"

[host.inet]
uplink = "web"
ipv6 = "2001:db8:4::1"

[[via6]]
host = "laptop"
address = "10.0.8.42"
gateway = "fe80::1"
router = "near"
host6 = "fe80::42"
router-dev = "laptop"

[[via6]]
host = "phone"
address = "10.0.8.43"
gateway = "fe80::1"
router = "near"
host6 = "fe80::43"
router-dev = "phone"

[[via6]]
host = "near"
gateway = "fe80::2"
router = "far"
host6 = "fe80::1"
router-dev = "near"
router-address = "10.255.0.2"

[[via6]]
host = "far"
gateway = "fe80::3"
router = "inet"
host6 = "fe80::2"
router-dev = "far"
"#;

/// Builds the world of the `via6` recipe, gives everybody in it IPv4 with the real binary, pulls each of its
/// cables, and takes IPv4 away again.
///
/// # Errors
/// When the world cannot be built or the binary fails. A measurement that is not as it should be is
/// a check of the report.
pub fn via6(
    options: &Via6Options,
    straddle_exe: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, LabError> {
    progress("building the world");
    let world = Chain::build()?;
    let straddle = Straddle::within(world.directory(), straddle_exe, VIA6_CONFIG)?;

    progress("asking without IPv4");
    let before = ask(&world, Pace::Together)?;
    let states = world.ours().map(HostState::read);

    progress("IPv4 by IPv6 neighbours: asking again");
    let arp = ArpWatch::start(world.ours())?;
    let running = up(&world, &straddle)?;
    let mut checks = compare(before, ask(&world, Pace::OneByOne)?);
    checks.extend(in_step(&world, &straddle)?);
    for (host, end) in world.ends() {
        progress(&format!("pulling the cable {end} of {}", host.name()));
        checks.push(flapped(&world, host, end)?);
    }
    checks.push(silent(&arp)?);

    progress("straddle down: IPv4 goes");
    for host in world.ours() {
        straddle.on(host).down()?;
    }
    running.into_iter().try_for_each(|process| process.ends(END))?;
    for (host, state) in world.ours().into_iter().zip(states) {
        checks.push(Check::unchanged(&state?, host)?);
        checks.push(host.without(straddle_exe)?);
    }
    let kept = if options.keep { Some(keep(world, &straddle)?) } else { None };
    Ok(Report {
        title: "IPv4 by way of IPv6 neighbours: no tunnel, no IPv4 on any link".into(),
        drawing: DRAWING,
        traffic: None,
        attempts: Vec::new(),
        checks,
        notes: vec![NOTE.into()],
        kept,
    })
}

fn up(world: &Chain, straddle: &Straddle) -> Result<Vec<Process>, LabError> {
    world.ours().into_iter().map(|host| straddle.on(host).run()).collect()
}

fn keep(world: Chain, straddle: &Straddle) -> Result<Kept, LabError> {
    let running = up(&world, straddle)?;
    let enter = Kept::ways_in(world.hosts());
    let kept = Kept { enter, remove: world.keep()? };
    running.into_iter().for_each(Process::leave);
    Ok(kept)
}

fn ask(world: &Chain, pace: Pace) -> Result<Vec<Finding>, LabError> {
    let (laptop, phone, web) = (&world.laptop, &world.phone, &world.web);
    let way = |name, from, seen: std::net::Ipv4Addr, to, target: std::net::Ipv4Addr| Way {
        name,
        from,
        seen: seen.into(),
        to,
        target: target.into(),
    };
    let out = way("laptop → web", laptop, Chain::LAPTOP, web, Chain::WEB);
    let back = way("web → laptop", web, Chain::WEB, laptop, Chain::LAPTOP);
    let beside = way("phone → laptop", phone, Chain::PHONE, laptop, Chain::LAPTOP);
    let to_narrow = way("laptop → web, narrow", laptop, Chain::LAPTOP, web, Chain::NARROW);
    let to_phone = way("web → phone, narrow", web, Chain::WEB, phone, Chain::PHONE);
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for way in [out, back, beside] {
        tasks.push(Box::new(move || question::basics(&way)));
    }
    // The first router has no IPv4 address at all.
    let hops: [IpAddr; 3] = [NOBODY.into(), Chain::FAR.into(), Chain::INET.into()];
    let hops_back: [IpAddr; 3] = [Chain::INET.into(), Chain::FAR.into(), NOBODY.into()];
    for (way, known) in [(out, hops), (back, hops_back)] {
        tasks.push(Box::new(move || Ok(vec![question::hops(&way, &known, Strangers::Heard)?])));
    }
    for way in [out, back] {
        tasks.push(Box::new(move || Ok(vec![question::passes(&way, 1500)?])));
    }
    let narrow = Chain::NARROW_MTU;
    for way in [to_narrow, to_phone] {
        tasks.push(Box::new(move || {
            let told = question::told(&way, 1500, narrow)?;
            Ok(vec![told, question::passes(&way, narrow)?])
        }));
    }
    let directory = world.directory();
    tasks.push(Box::new(move || question::rates(&out, directory)));
    let native = Way { name: "laptop → near, IPv6", to: &world.near, target: Chain::NEAR6.into(), ..out };
    tasks.push(Box::new(move || Ok(vec![question::pinged(&native)?.always()])));
    question::ask(tasks, pace)
}

/// What `status` says of each host.
fn in_step(world: &Chain, straddle: &Straddle) -> Result<Vec<Check>, LabError> {
    let one = |host: &Host| {
        let status = straddle.on(host).json("status")?;
        let well = status.get("well") == Some(&serde_json::Value::Bool(true));
        let measured = if well { "in step" } else { "not in step" };
        Ok(Check::new(format!("status on the {}", host.name()), well, measured))
    };
    world.ours().into_iter().map(one).collect()
}

/// A link goes down and comes up: the kernel has deleted the routes by it, and somebody brings them back.
fn flapped(world: &Chain, host: &Host, end: &str) -> Result<Check, LabError> {
    let before = routes(host)?;
    host.ip(&format!("link set {end} down"))?;
    let gone = routes(host)?;
    host.ip(&format!("link set {end} up"))?;
    let began = Instant::now();
    // Too late is told by the check.
    let back = wait::until("the routes", LATE, || routes(host).ok().filter(|now| *now == before)).is_ok();
    let took = began.elapsed();
    let answered = if back { world.answers()? } else { None };
    let ok = back && took < Duration::from_secs(1) && gone != before && answered.is_some();
    let measured = match (gone != before, back, answered) {
        (false, ..) => "nothing had gone".into(),
        (_, false, _) => format!("not back after {} s", LATE.as_secs()),
        (_, _, None) => format!("back after {} ms, but nothing passes", took.as_millis()),
        (_, _, Some(passed)) => {
            let since = (took + passed).as_millis();
            format!("routes after {} ms, packets after {since} ms", took.as_millis())
        }
    };
    Ok(Check::new(format!("{end} of the {} goes down and up", host.name()), ok, measured))
}

/// Every IPv4 route of ours, as the kernel has it, with the link-local addresses that they lead to.
fn routes(host: &Host) -> Result<String, LabError> {
    let shown = host.direct(&["ip", "-4", "route", "show", "proto", MARK], "")?.stdout;
    let alive = |line: &&str| !line.contains("dead");
    Ok(shown.lines().filter(alive).map(|line| format!("{}\n", line.trim())).collect())
}

impl Chain {
    /// How long it takes until both hosts behind the routers reach the server, and it them.
    fn answers(&self) -> Result<Option<Duration>, LabError> {
        let began = Instant::now();
        let ways: [(&Host, IpAddr); 4] = [
            (&self.laptop, Chain::WEB.into()),
            (&self.phone, Chain::WEB.into()),
            (&self.web, Chain::LAPTOP.into()),
            (&self.web, Chain::PHONE.into()),
        ];
        for (from, target) in ways {
            let answer = || ping(from, target, 1).ok().filter(|ping| ping.received > 0);
            if wait::until("an answer", LATE, answer).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(began.elapsed()))
    }
}

/// Neighbours are found by IPv6 alone. The server asks by ARP, which shows that it would be heard.
fn silent(arp: &ArpWatch) -> Result<Check, LabError> {
    let heard = arp.count(Chain::WEB_MAC)?;
    let ok = heard.others == 0 && heard.known > 0;
    let measured = format!("{} there, {} from the server beyond", heard.others, heard.known);
    Ok(Check::new("no ARP on any link without IPv4", ok, measured))
}

/// The protocol number of our routes.
const MARK: &str = "46";
/// What a router without an address answers from (RFC 7600).
const NOBODY: std::net::Ipv4Addr = std::net::Ipv4Addr::new(192, 0, 0, 8);
const LATE: Duration = Duration::from_secs(5);
const END: Duration = Duration::from_secs(10);

const NOTE: &str = "A router without an IPv4 address answers from 192.0.0.8 (RFC 7600), which a strict \
reverse-path filter drops; near has none, far was given 10.255.0.2 by `router-address`. All three routers \
filter strictly; straddle has loosened just what has to hear near.";

const DRAWING: &str = "
  laptop ───────── near ─────── far ─────── inet ───────── web
  10.0.8.42         │           10.255.0.2  198.51.100.1   198.51.100.10
                   1400                                    198.51.100.11, 1400
                    │
                  phone
                  10.0.8.43
  ╰──── IPv6 alone on these links ────╯     ╰── IPv4 ──╯
";
