use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use crate::host::Host;
use crate::probe::{Answer, Serving, authority, knock, ping};
use crate::process::Process;
use crate::question::{self, Finding, Pace, Task, Way, compare};
use crate::report::{Check, Kept, Report};
use crate::state::HostState;
use crate::straddle::Straddle;
use crate::world::Broker;
use crate::{LabError, wait};

/// What to leave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tunnel6Options {
    /// Leave the world standing, with its tunnels.
    pub keep: bool,
}

/// Builds the world of the `tunnel6` recipe, gives two hosts IPv6 with the real binary, and takes it away
/// again.
///
/// # Errors
/// When the world cannot be built or the binary fails. A measurement that is not as it should be is
/// a check of the report.
pub fn tunnel6(
    options: &Tunnel6Options,
    straddle_exe: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, LabError> {
    progress("building the world");
    let world = Broker::build()?;
    let key = world.directory().join("shed.key");
    let straddle = Straddle::within(world.directory(), straddle_exe, &Broker::config(&key))?;
    straddle.on(&world.vps).verb(&["key", &key.display().to_string()])?;

    progress("asking without a tunnel");
    let before = ask(&world, Pace::Together)?;
    let ends = [&world.vps, &world.box_, &world.shed];
    let states: Vec<HostState> = ends.iter().map(|host| HostState::read(host)).collect::<Result<_, _>>()?;

    progress("tunnels to two clients: asking again");
    let running = up(&world, &straddle)?;
    let mut checks = compare(before, ask(&world, Pace::OneByOne)?);
    progress("who is asked for, who sends, who has no route");
    checks.extend(neighbours(&world, &straddle)?);
    checks.push(spoofed(&world, &straddle)?);
    checks.extend(unassigned(&world)?);
    progress("the server's uplink flaps");
    checks.push(flapped(&world)?);
    progress("a client changes its IPv4 address during a download");
    checks.push(moved(&world, &straddle)?);

    progress("straddle down: IPv6 goes");
    let [first, second] = Broker::SHED4;
    world.move_shed(second, first)?;
    for (host, process) in ends.iter().zip(running) {
        straddle.on(host).down()?;
        process.ends(END)?;
    }
    for (host, state) in ends.iter().zip(&states) {
        checks.push(Check::unchanged(state, host)?);
    }
    checks.push(world.vps.without(straddle_exe)?);
    let kept = if options.keep { Some(keep(world, &straddle)?) } else { None };
    Ok(page(checks, kept))
}

/// Starts all three, and returns when both clients have IPv6: one has to tell its endpoint first.
fn up(world: &Broker, straddle: &Straddle) -> Result<[Process; 3], LabError> {
    let running =
        [straddle.on(&world.vps).run()?, straddle.on(&world.box_).run()?, straddle.on(&world.shed).run()?];
    for client in [&world.box_, &world.shed] {
        // Whoever does not get it is told apart by the checks.
        let _ = wait::until("IPv6", TOLD, || {
            ping(client, Broker::WEB.into(), 1).ok().filter(|ping| ping.complete())
        });
    }
    Ok(running)
}

fn keep(world: Broker, straddle: &Straddle) -> Result<Kept, LabError> {
    let running = up(&world, straddle)?;
    let enter = Kept::ways_in(world.hosts());
    let kept = Kept { enter, remove: world.keep()? };
    running.into_iter().for_each(Process::leave);
    Ok(kept)
}

fn ask(world: &Broker, pace: Pace) -> Result<Vec<Finding>, LabError> {
    let way = |name, from, seen: Ipv6Addr, to, target: Ipv6Addr| Way {
        name,
        from,
        seen: seen.into(),
        to,
        target: target.into(),
    };
    let (web, box_, shed, pc) = (&world.web, &world.box_, &world.shed, &world.pc);
    let from_box = way("box → web", box_, Broker::BOX, web, Broker::WEB);
    let to_box = way("web → box", web, Broker::WEB, box_, Broker::BOX);
    let ways = [
        from_box,
        to_box,
        way("shed → web", shed, Broker::SHED, web, Broker::WEB),
        way("pc → web", pc, Broker::PC, web, Broker::WEB),
        way("web → pc", web, Broker::WEB, pc, Broker::PC),
        way("box → shed", box_, Broker::BOX, shed, Broker::SHED),
    ];
    let directory = world.directory();
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for way in ways {
        tasks.push(Box::new(move || {
            aware(&way)?;
            question::basics(&way)
        }));
    }
    let near = way("web → box, on-link", web, Broker::WEB, box_, Broker::NEAR_BOX);
    tasks.push(Box::new(move || Ok(vec![question::pinged(&near)?])));
    for way in [from_box, to_box, near] {
        tasks.push(Box::new(move || downloaded(&way, directory)));
    }
    let hops = [Broker::AT_BOX.into(), Broker::GATEWAY.into()];
    tasks.push(Box::new(move || Ok(vec![question::hops(&from_box, &hops, question::Strangers::Heard)?])));
    tasks.push(Box::new(move || sizes(&to_box)));
    tasks.push(Box::new(move || question::rates(&from_box, directory)));
    let native = way("vps → web", &world.vps, Broker::VPS, web, Broker::WEB);
    tasks.push(Box::new(move || Ok(vec![question::pinged(&native)?.always()])));
    question::ask(tasks, pace)
}

/// Routers of IPv6 divide nothing: the first packet that is too large is lost, and tells its sender. Both ends
/// send one that may be.
fn aware(way: &Way<'_>) -> Result<(), LabError> {
    for (from, target) in [(way.from, way.target), (way.to, way.seen)] {
        from.try_run(&[
            "ping",
            "-n",
            "-q",
            "-c",
            "2",
            "-i",
            "0.1",
            "-W",
            "0.2",
            "-s",
            "1452",
            &target.to_string(),
        ])?;
    }
    Ok(())
}

fn sizes(way: &Way<'_>) -> Result<Vec<Finding>, LabError> {
    Ok(vec![question::told(way, 1500, 1480)?, question::passes(way, 1480)?])
}

fn downloaded(way: &Way<'_>, directory: &Path) -> Result<Vec<Finding>, LabError> {
    let serving = Serving::start(way.to, directory)?;
    let got = serving.fetch(way.from, &[], &authority(way.target))?;
    serving.stop()?;
    Ok(vec![question::fetched(format!("curl {}", way.name), got)])
}

/// The gateway solicits those that it has packets for: whoever has one of the hoster's addresses is
/// answered for, and nobody else.
fn neighbours(world: &Broker, straddle: &Straddle) -> Result<Vec<Check>, LabError> {
    let asked = [
        (Broker::BOX, true),
        (Broker::AT_BOX, true),
        (Broker::SHED, true),
        (Broker::NOBODY, false),
        (Broker::NEAR_BOX, true),
        (Broker::NEAR_NOBODY, false),
    ];
    let one = |(address, expected): (Ipv6Addr, bool)| {
        world.inet.try_run(&["ip", "-6", "neigh", "flush", "dev", "hoster"])?;
        ping(&world.inet, address.into(), 1)?;
        let answered = || solicited(&world.inet, address);
        let found = wait::until("the solicitation's end", ANSWER, || answered().ok().flatten())?;
        let words = if expected { "answered" } else { "not answered" };
        let name = format!("solicitation of {address}: {words}");
        let measured = if found { "an answer" } else { "no answer" };
        Ok(Check::new(name, found == expected, measured))
    };
    let mut checks = asked.into_iter().map(one).collect::<Result<Vec<_>, _>>()?;
    checks.push(configured(world, straddle)?);
    Ok(checks)
}

/// A neighbour that takes an address of an assigned network asks before whether somebody has it (RFC 4862 §5.4);
/// that question is none for the server.
fn configured(world: &Broker, straddle: &Straddle) -> Result<Check, LabError> {
    let address = Broker::NEAR_BOX.to_string();
    world.inet.sysctl("net/ipv6/conf/hoster/accept_dad", "1")?;
    world.inet.ip(&format!("address add {address}/128 dev hoster"))?;
    let failed = wait::until("the address to be probed", ANSWER, || {
        let shown = world.inet.ip_json(&format!("-6 address show to {address} dev hoster")).ok()?;
        let info = &shown[0]["addr_info"][0];
        (info["tentative"] != true).then(|| info["dadfailed"] == true)
    })?;
    world.inet.ip(&format!("address del {address}/128 dev hoster"))?;
    let status = straddle.on(&world.vps).json("status")?;
    let ends = status["neighbours"]["solicitations"].as_array().into_iter().flatten();
    let heard: u64 = ends.filter(|end| end[0] == "duplicate-probe").filter_map(|end| end[1].as_u64()).sum();
    let answered = if failed { "answered" } else { "not answered" };
    let name = format!("a neighbour's probe for {address}: not answered");
    Ok(Check::new(name, heard > 0 && !failed, format!("{heard} heard, {answered}")))
}

/// Whether a neighbour has answered; none while that is open.
fn solicited(gateway: &Host, address: Ipv6Addr) -> Result<Option<bool>, LabError> {
    let found = gateway.ip_json(&format!("-6 neigh show {address} dev hoster"))?;
    let states: Vec<&str> = found
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|entry| entry["state"].as_array().into_iter().flatten())
        .filter_map(serde_json::Value::as_str)
        .collect();
    Ok(match states.as_slice() {
        [] | ["INCOMPLETE"] => None,
        ["FAILED"] => Some(false),
        _ => Some(true),
    })
}

/// One client takes an address of another one's, and sends from it.
fn spoofed(world: &Broker, straddle: &Straddle) -> Result<Check, LabError> {
    let (before, seen_before) = (foreign(world, straddle)?, received(&world.web)?);
    let shed = Broker::SHED.to_string();
    world.box_.ip(&format!("address add {shed}/128 dev lo"))?;
    let words =
        ["ping", "-n", "-q", "-c", "5", "-i", "0.01", "-W", "0.5", "-I", &shed, &Broker::WEB.to_string()];
    world.box_.try_run(&words)?;
    world.box_.ip(&format!("address del {shed}/128 dev lo"))?;
    // Both ends are processes: what was sent is counted a little later.
    let _ = wait::until("all to be counted", ANSWER, || {
        (foreign(world, straddle).ok()? >= before + 5).then_some(())
    });
    let dropped = foreign(world, straddle)?.saturating_sub(before);
    let arrived = received(&world.web)? - seen_before;
    let measured = format!("{dropped} of 5 counted as foreign-source, {arrived} arrived");
    Ok(Check::new("box can't send from shed's address", dropped == 5 && arrived == 0, measured))
}

/// What the server has dropped of the first client's because it was not the client's.
fn foreign(world: &Broker, straddle: &Straddle) -> Result<u64, LabError> {
    let status = straddle.on(&world.vps).json("status")?;
    let bridges = status["bridges"].as_array().into_iter().flatten();
    let drops = bridges
        .filter(|bridge| bridge["bridge"]["name"] == "box")
        .flat_map(|bridge| bridge["counters"]["drops"].as_array().into_iter().flatten());
    let foreign = drops.filter(|drop| drop[0] == "foreign-source").filter_map(|drop| drop[1].as_u64());
    Ok(foreign.sum())
}

/// Echo requests that a host has seen (`Icmp6InEchos`).
fn received(host: &Host) -> Result<u64, LabError> {
    let text = host.run(&["cat", "/proc/net/snmp6"])?.stdout;
    let line = text.lines().find_map(|line| line.strip_prefix("Icmp6InEchos"));
    let number = line.and_then(|number| number.trim().parse().ok());
    number.ok_or(LabError::Unreadable { tool: "snmp6", text })
}

/// Addresses that nobody has: one answer each, that there is no route, from whoever it belongs to.
fn unassigned(world: &Broker) -> Result<Vec<Check>, LabError> {
    let one = |address: Ipv6Addr| {
        // The gateway knows the server again, whom it was made to forget.
        wait::until("the vps to answer the gateway", ANSWER, || {
            ping(&world.inet, Broker::VPS.into(), 1).ok().filter(|ping| ping.complete())
        })?;
        let before = carried(&world.vps, "eth0")?;
        let answer = knock(&world.web, IpAddr::from(address), 100, ANSWER)?;
        let passed = carried(&world.vps, "eth0")? - before;
        let no_route = matches!(answer, Answer::Error { kind: 1, code: 0, .. });
        let measured = match answer {
            Answer::Error { kind, code, from } => format!("ICMPv6 {kind}/{code} from {from}"),
            Answer::Reply | Answer::FragNeeded { .. } | Answer::Silence => format!("{answer:?}"),
        };
        let name = format!("{address}: no route, and no loop");
        // In and out once with the tunnel's packets, and whatever neighbours ask.
        Ok(Check::new(name, no_route && passed <= LOOP, format!("{measured}, {passed} packets")))
    };
    Broker::UNASSIGNED.into_iter().map(one).collect()
}

/// Packets that a device has sent.
fn carried(host: &Host, dev: &str) -> Result<u64, LabError> {
    let text = host.run(&["cat", &format!("/sys/class/net/{dev}/statistics/tx_packets")])?.stdout;
    text.trim().parse().map_err(|_| LabError::Unreadable { tool: "statistics", text })
}

/// The kernel deletes proxy entries and addresses with the link; what is the host's own comes back by hand.
fn flapped(world: &Broker) -> Result<Check, LabError> {
    world.vps.ip("link set eth0 down\nlink set eth0 up")?;
    world.vps.ip("address add 2001:db8:1::10/64 dev eth0 nodad\nroute add default via 2001:db8:1::1")?;
    world.vps.ip("route add default via 192.0.2.1")?;
    let back = wait::until("the tunnels to be back", HEALED, || {
        world.inet.try_run(&["ip", "-6", "neigh", "flush", "dev", "hoster"]).ok()?;
        let there = |address: Ipv6Addr| ping(&world.web, address.into(), 3).is_ok_and(|ping| ping.complete());
        [Broker::BOX, Broker::SHED, Broker::PC, Broker::NEAR_BOX].into_iter().all(there).then_some(())
    });
    let measured = if back.is_ok() { "reached again" } else { "not reached" };
    Ok(Check::new("a link flap of the server's uplink heals", back.is_ok(), measured))
}

/// The client's provider changes its address while a file comes through the tunnel.
fn moved(world: &Broker, straddle: &Straddle) -> Result<Check, LabError> {
    let serving = Serving::start(&world.web, world.directory())?;
    let target = authority(Broker::WEB.into());
    let got = std::thread::scope(|scope| {
        let fetching = scope.spawn(|| serving.fetch_slowly(&world.shed, &target));
        let begun = wait::until("the download to begin", ANSWER, || {
            let shown = world.web.run(&["ss", "-Htn", "state", "established", "sport = :80"]).ok()?;
            (!shown.stdout.trim().is_empty()).then_some(())
        });
        let [first, second] = Broker::SHED4;
        begun.and_then(|()| world.move_shed(first, second))?;
        match fetching.join() {
            Ok(got) => got,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    serving.stop()?;
    let followed = wait::until("the vps to follow", TOLD, || {
        let status = straddle.on(&world.vps).json("status").ok()?;
        let bridges = status["bridges"].as_array().into_iter().flatten();
        let mut remotes = bridges.map(|bridge| &bridge["bridge"]["carrier"]["remote"]);
        remotes.any(|remote| *remote == Broker::SHED4[1].to_string().as_str()).then_some(())
    });
    let followed = followed.is_ok();
    let whole = if got.intact { "whole" } else { "not whole" };
    let measured =
        format!("{whole} in {:.1} s, the vps {} it", got.seconds, if followed { "followed" } else { "lost" });
    Ok(Check::new("shed changes its address during a download", got.intact && followed, measured))
}

fn page(checks: Vec<Check>, kept: Option<Kept>) -> Report {
    Report {
        title: "A private tunnel broker: IPv6 for two hosts that have only IPv4".into(),
        drawing: DRAWING,
        traffic: None,
        attempts: Vec::new(),
        checks,
        notes: vec![NOTE.into()],
        kept,
    }
}

/// Longer than a first message with its answer takes.
const TOLD: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(5);
const HEALED: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(10);
/// More than a request, its answers and some solicitations are, and far less than a packet that goes round
/// until its hop limit is reached.
const LOOP: u64 = 10;

const NOTE: &str = "The hoster delivers 2001:db8:1::/64 and 2001:db8:1:100::/56 on-link, where neighbours are \
solicited, and routes 2001:db8:100::/40 to the vps. The shed tells its IPv4 address in signed messages.";

const DRAWING: &str = "
  web ──────────── inet ──────────── vps
  2001:db8:c11::10  │  │             192.0.2.10, 2001:db8:1::10/64
  IPv6 only         │  │             serves both tunnels
                    │  └─── shed ──────── pc
                    │       203.0.113.9,  2001:db8:102::5
                    │       later .77
                   box
                   198.51.100.7, IPv4 only
";
