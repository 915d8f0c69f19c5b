use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::fast::FastPath;
use crate::probe::{Serving, Watch};
use crate::process::Process;
use crate::question::{self, Finding, Pace, Strangers, Task, Way, compare};
use crate::report::{Check, Kept, Report};
use crate::state::HostState;
use crate::straddle::Straddle;
use crate::world::DataCentre;
use crate::{LabError, Peer};

/// Who translates, and what to leave.
#[derive(Debug, Clone, Copy, Default)]
pub struct SiitOptions {
    /// TAYGA in straddle's place, set up by hand: it shows that the world is right.
    pub by_hand: bool,
    /// Who translates plain packets.
    pub fast_path: FastPath,
    /// Leave the world standing, with the translator.
    pub keep: bool,
    /// The translator in front of the host behind the data centre.
    pub peer: Peer,
}

/// The file of the gate, as a user would write it.
pub const SIIT_CONFIG: &str = "\
[host.gate]
uplink = \"eth0\"
ipv6 = \"2001:db8:46::1\"

[[siit]]
host = \"gate\"
pool6 = \"2001:db8:64::/96\"
eam = [[\"2001:db8:3::/120\", \"203.0.113.0/24\"]]
";

/// Builds the world of the `siit` recipe, opens its gate with the real binary, and closes it again.
///
/// # Errors
/// When the world cannot be built or the binary fails. A measurement that is not as it should be is
/// a check of the report.
pub fn siit(
    options: &SiitOptions,
    straddle_exe: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, LabError> {
    progress("building the world");
    let world = DataCentre::build(options.peer)?;
    let straddle = Straddle::within(world.directory(), straddle_exe, &options.fast_path.config(SIIT_CONFIG))?;

    progress("asking without a translator");
    let before = ask(&world, options, Pace::Together)?;
    let state = HostState::read(&world.gate)?;
    let watch = Watch::start(&world.server, DataCentre::GATE6)?;

    progress("a translator on the gate: asking again");
    let running = up(&world, &straddle, options)?;
    let parts = (SIIT_CONFIG, world.directory(), straddle_exe);
    let asking = || ask(&world, options, Pace::OneByOne);
    let (after, switched) = options.fast_path.meanwhile(parts, &world.gate, asking)?;
    let mut checks = compare(before, after);
    checks.extend(options.fast_path.check(switched));
    if options.by_hand {
        checks.push(reachable(watch)?);
        return Ok(page(options, checks, None));
    }

    progress("straddle down: the gate closes");
    straddle.on(&world.gate).down()?;
    running.ends(END)?;
    checks.push(reachable(watch)?);
    checks.push(Check::unchanged(&state, &world.gate)?);
    checks.push(world.gate.without(straddle_exe)?);
    let kept = if options.keep { Some(keep(world, &straddle, options)?) } else { None };
    Ok(page(options, checks, kept))
}

fn up(world: &DataCentre, straddle: &Straddle, options: &SiitOptions) -> Result<Process, LabError> {
    if options.by_hand { world.translate_by_hand() } else { straddle.on(&world.gate).run() }
}

fn keep(world: DataCentre, straddle: &Straddle, options: &SiitOptions) -> Result<Kept, LabError> {
    let running = up(&world, straddle, options)?;
    let enter = Kept::ways_in(world.hosts());
    let kept = Kept { enter, remove: world.keep()? };
    running.leave();
    Ok(kept)
}

/// The ways of the world, each named by its ends.
struct Ways<'a> {
    inwards: Way<'a>,
    outwards: Way<'a>,
    through_two: Way<'a>,
    back_through_two: Way<'a>,
    turned: Way<'a>,
}

fn ways(world: &DataCentre) -> Ways<'_> {
    let (client, server, far) = (&world.client, &world.server, &world.far);
    let embedded = |address| IpAddr::from(DataCentre::embedded(address));
    let four = |name, from, seen: std::net::Ipv4Addr, to, target: std::net::Ipv4Addr| Way {
        name,
        from,
        seen: seen.into(),
        to,
        target: target.into(),
    };
    let (at_client, at_server, at_far) = (DataCentre::CLIENT, DataCentre::SERVER, DataCentre::FAR);
    Ways {
        inwards: Way {
            seen: embedded(at_client),
            ..four("client → server", client, at_client, server, at_server)
        },
        outwards: Way {
            target: embedded(at_client),
            ..four("server → client", server, at_server, client, at_client)
        },
        through_two: four("client → far", client, at_client, far, at_far),
        back_through_two: four("far → client", far, at_far, client, at_client),
        turned: Way { target: embedded(at_far), ..four("server → far", server, at_server, far, at_far) },
    }
}

fn ask(world: &DataCentre, options: &SiitOptions, pace: Pace) -> Result<Vec<Finding>, LabError> {
    let ways = ways(world);
    let Ways { inwards, outwards, through_two, back_through_two, turned } = &ways;
    let directory = world.directory();
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for way in [inwards, outwards, through_two, back_through_two] {
        tasks.push(Box::new(|| question::basics(way)));
    }
    // RFC 7757 §4: packets between two mapped hosts turn round at the gate. TAYGA does not do that.
    if !options.by_hand {
        tasks.push(Box::new(|| question::basics(turned)));
    }
    for way in [inwards, outwards] {
        tasks.push(Box::new(|| downloaded(way, directory)));
    }
    // TAYGA drops an ICMPv6 error whose source it cannot translate.
    let strangers = if options.by_hand { Strangers::Unheard } else { Strangers::Heard };
    let to_the_gate = [DataCentre::INET.into(), DataCentre::GATE.into()];
    let inet = DataCentre::embedded(DataCentre::INET_AT_GATE);
    let from_the_gate = [DataCentre::GATE6.into(), inet.into()];
    let hops = [(inwards, to_the_gate), (outwards, from_the_gate), (through_two, to_the_gate)];
    for (way, known) in hops {
        tasks.push(Box::new(move || Ok(vec![question::hops(way, &known, strangers)?])));
    }
    tasks.push(Box::new(|| sizes(through_two, outwards)));
    tasks.push(Box::new(|| question::rates(inwards, directory)));
    let (name, target) = ("server → gate, IPv6", DataCentre::GATE6.into());
    let native = Way { name, to: &world.gate, target, ..*outwards };
    tasks.push(Box::new(move || Ok(vec![question::pinged(&native)?.always()])));
    question::ask(tasks, pace)
}

/// An IPv4 packet is 20 bytes shorter than the IPv6 packet that it becomes, and that is what both sides
/// have to be told: first by the gate, then by the router of a narrow link.
fn sizes(inwards: &Way<'_>, outwards: &Way<'_>) -> Result<Vec<Finding>, LabError> {
    let mtu = DataCentre::NARROW_MTU;
    let target = DataCentre::embedded(DataCentre::NARROW).into();
    let outwards = Way { name: "server → client, narrow", target, ..*outwards };
    [
        question::told(inwards, 1500, 1480),
        question::told(inwards, 1480, mtu - 20),
        question::passes(inwards, mtu - 20),
        question::told(&outwards, 1500, mtu + 20),
        question::passes(&outwards, mtu + 20),
    ]
    .into_iter()
    .collect()
}

fn downloaded(way: &Way<'_>, directory: &Path) -> Result<Vec<Finding>, LabError> {
    let serving = Serving::start(way.to, directory)?;
    let got = serving.fetch(way.from, &[], &crate::probe::authority(way.target))?;
    serving.stop()?;
    Ok(vec![question::fetched(format!("curl {}", way.name), got)])
}

/// The gate over IPv6, from the data centre, all the time.
fn reachable(watch: Watch) -> Result<Check, LabError> {
    let reach = watch.stop()?;
    let measured = format!("{} of {} pings", reach.answered, reach.sent);
    let ok = reach.answered == reach.sent && reach.sent > 0;
    Ok(Check::new("gate reachable over IPv6 throughout", ok, measured))
}

fn page(options: &SiitOptions, checks: Vec<Check>, kept: Option<Kept>) -> Report {
    let by = if options.by_hand { ", by TAYGA" } else { "" };
    Report {
        title: format!("SIIT{by}: an IPv6-only data centre on the IPv4 internet; peer: {}", options.peer),
        drawing: DRAWING,
        traffic: None,
        attempts: Vec::new(),
        checks,
        notes: vec![NOTE.into()],
        kept,
    }
}

const END: Duration = Duration::from_secs(10);

const NOTE: &str = "The server is 203.0.113.10 by an explicit mapping (RFC 7757), the client 2001:db8:64:: \
and its IPv4 address (RFC 6052). A router without a mapping is 192.0.0.8 to IPv4 hosts.";

const DRAWING: &str = "
  client ────────── inet ────── gate ────── core ────── server
  198.51.100.10     1400        [[siit]]     │          2001:db8:3::a,
  198.51.100.11     to .11                  1400        known as 203.0.113.10
  IPv4 only                                  │          IPv6 only
                                            peer ────── far
                                            TAYGA       203.0.113.77
                                                        IPv4 only
";
