use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::LabError;
use crate::probe::{Load, Web, exchange_at, fetch, throughput};
use crate::process::Process;
use crate::question::{Finding, compare};
use crate::report::{Check, Kept, Report};
use crate::state::HostState;
use crate::straddle::Straddle;
use crate::world::Rented;

/// What to leave.
#[derive(Debug, Clone, Copy, Default)]
pub struct RelayOptions {
    /// Leave the world standing, with the relays.
    pub keep: bool,
}

/// The file of the rented host, as a user would write it.
pub const RELAY_CONFIG: &str = "\
[host.vps]
uplink = \"eth0\"
ipv4   = \"192.0.2.158/24\"
ipv6   = \"2001:db8:aefc::2\"

[[relay]]
host   = \"vps\"
listen = \"tcp4/80-81\"
to     = \"[2001:db8:eec0::2]:80\"

[[relay]]
host   = \"vps\"
listen = [\"tcp4/5201\", \"udp4/5201\"]
to     = \"[2001:db8:eec0::2]:5201\"

[[relay]]
host   = \"vps\"
listen = \"udp4/5300\"
to     = \"[2001:db8:eec0::2]:5300\"

[[relay]]
name   = \"told\"
host   = \"vps\"
listen = \"tcp/8080\"
to     = \"[2001:db8:eec0::2]:8080\"
proxy-protocol = \"v2\"

[[relay]]
name   = \"embedded\"
host   = \"vps\"
listen = [\"tcp4/8064\", \"udp4/8064\"]
to     = \"[2001:db8:eec0::2]:80\"
source = \"embed\"
embed  = \"2001:db8:64::/96\"
";

/// Builds the world of the `relay` recipe, serves it with the real binary, and takes it away again.
///
/// # Errors
/// When the world cannot be built or the binary fails. A measurement that is not as it should be is
/// a check of the report.
pub fn relay(
    options: &RelayOptions,
    straddle_exe: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, LabError> {
    progress("building the world");
    let world = Rented::build()?;
    let straddle = Straddle::within(world.directory(), straddle_exe, RELAY_CONFIG)?;
    let web = Web::start(&world.home, world.directory())?;

    progress("asking without relays");
    let before = ask(&world)?;
    let state = HostState::read(&world.vps)?;

    progress("relays on the rented host: asking again");
    let running = straddle.on(&world.vps).run()?;
    let mut checks = compare(before, ask(&world)?);
    checks.push(dead(&world)?);
    checks.push(counted(&straddle, &world)?);

    progress("straddle down: nothing listens");
    straddle.on(&world.vps).down()?;
    running.ends(END)?;
    checks.push(Check::unchanged(&state, &world.vps)?);
    checks.push(world.vps.without(straddle_exe)?);
    if !options.keep {
        web.stop()?;
        return Ok(page(checks, None));
    }
    let running = straddle.on(&world.vps).run()?;
    let kept = keep(world, [running])?;
    Ok(page(checks, Some(kept)))
}

fn keep(world: Rented, running: [Process; 1]) -> Result<Kept, LabError> {
    let enter = Kept::ways_in(world.hosts());
    let kept = Kept { enter, remove: world.keep()? };
    running.into_iter().for_each(Process::leave);
    Ok(kept)
}

fn ask(world: &Rented) -> Result<Vec<Finding>, LabError> {
    let four = |port: u16| format!("http://{}:{port}", Rented::VPS);
    let six = format!("http://[{}]:8080", Rented::VPS6);
    let embedded = "2001:db8:64::c633:640a";
    Ok(vec![
        seen(world, "curl, server sees the relay", &four(80), &Rented::VPS6.to_string())?,
        seen(world, "curl, told by PROXY, IPv4", &four(8080), &Rented::CLIENT.to_string())?,
        seen(world, "curl, told by PROXY, IPv6", &six, &Rented::CLIENT6.to_string())?,
        seen(world, "curl, server sees IPv4 in IPv6", &four(8064), embedded)?,
        file(world, &four(80))?,
        hundred(world, &four(80))?,
        echoed(world, 100)?,
        echoed(world, 8192)?,
        rate(world, "TCP throughput", Load::Tcp)?,
        rate(world, "TCP throughput back", Load::TcpBack)?,
        rate(world, "UDP of 200 Mbit/s", Load::Udp)?,
        direct(world)?,
    ])
}

/// What the server takes for the client.
fn seen(world: &Rented, name: &str, url: &str, expected: &str) -> Result<Finding, LabError> {
    let got = fetch(&world.client, &format!("{url}/who"))?.map(|(body, _)| body);
    let address = got.as_deref().and_then(|body| body.split(' ').next());
    let measured =
        got.as_ref().map_or_else(|| "no answer".to_owned(), |_| address.unwrap_or_default().to_owned());
    Ok(Finding::new(name, address == Some(expected), measured))
}

fn file(world: &Rented, url: &str) -> Result<Finding, LabError> {
    let got = fetch(&world.client, &format!("{url}/file"))?.filter(|(body, _)| body.len() == 1_000_000);
    let measured =
        got.as_ref().map_or_else(|| "nothing".into(), |(_, seconds)| format!("1 MB in {seconds:.3} s"));
    Ok(Finding::new("curl, a file", got.is_some(), measured))
}

/// As a browser asks: each request by a connection of its own.
fn hundred(world: &Rented, url: &str) -> Result<Finding, LabError> {
    let url = format!("{url}/who?[1-100]");
    let began = Instant::now();
    let output = world.client.try_run(&["curl", "-sS", "-m", "10", "-H", "Connection: close", &url])?;
    let took = began.elapsed().as_secs_f64();
    let answers = output.stdout.matches(&Rented::VPS6.to_string()).count();
    let measured = if answers == 0 { "no answer".into() } else { format!("{answers} in {took:.3} s") };
    Ok(Finding::new("curl, 100 small requests", answers == 100, measured))
}

fn echoed(world: &Rented, size: usize) -> Result<Finding, LabError> {
    let seen = exchange_at(&world.client, &world.home, (Rented::VPS, 5300).into(), 5300, size)?;
    let works = seen.seen_by_server == Some(IpAddr::from(Rented::VPS6))
        && seen.seen_by_client == Some(IpAddr::from(Rented::VPS));
    let measured = if works { "answered" } else { "nothing" };
    Ok(Finding::new(format!("UDP of {size} bytes"), works, measured))
}

fn rate(world: &Rented, name: &str, load: Load) -> Result<Finding, LabError> {
    let measured = throughput(&world.client, &world.home, Rented::VPS.into(), load, world.directory())?;
    let works = measured.is_some_and(|measured| measured.bits_per_second > 1e6);
    let words = measured.map_or_else(
        || "no connection".into(),
        |measured| format!("{:.0} Mbit/s", measured.bits_per_second / 1e6),
    );
    Ok(Finding::new(name, works, words))
}

/// What needs no relay.
fn direct(world: &Rented) -> Result<Finding, LabError> {
    let url = format!("http://[{}]", Rented::HOME);
    let finding = seen(world, "curl, to the server itself, IPv6", &url, &Rented::CLIENT6.to_string())?;
    Ok(finding.always())
}

/// A port at which nobody listens at home.
fn dead(world: &Rented) -> Result<Check, LabError> {
    let began = Instant::now();
    let output =
        world.client.try_run(&["curl", "-sS", "-m", "10", &format!("http://{}:81/", Rented::VPS)])?;
    let took = began.elapsed();
    // Depending on how far curl had come it is a failed send, a reset or an empty reply; silence is 28.
    let told = !output.status.success() && output.status.code() != Some(28);
    let measured = format!("{} after {:.3} s", if told { "told" } else { "silence" }, took.as_secs_f64());
    Ok(Check::new("a target that is down is told at once", told && took < AT_ONCE, measured))
}

/// The counters say what has happened.
fn counted(straddle: &Straddle, world: &Rented) -> Result<Check, LabError> {
    let status = straddle.on(&world.vps).json("status")?;
    let bridges = status["bridges"].as_array().cloned().unwrap_or_default();
    let listeners = bridges.iter().flat_map(|bridge| bridge["counters"]["listeners"].as_array().cloned());
    let listeners: Vec<serde_json::Value> = listeners.flatten().collect();
    let of = |word: &str| listeners.iter().find(|one| one["listen"] == word);
    let refused = of("tcp4/80-81").and_then(|one| {
        let ends = one["ends"].as_array()?;
        ends.iter().find(|end| end[0] == "target-refused")?[1].as_u64()
    });
    let open: u64 = listeners
        .iter()
        .filter(|one| one["listen"].as_str().is_some_and(|word| word.starts_with("tcp")))
        .filter_map(|one| one["open"].as_u64())
        .sum();
    let accepted: u64 = listeners.iter().filter_map(|one| one["accepted"].as_u64()).sum();
    let measured =
        format!("{accepted} accepted, {open} open, {} refused by the target", refused.unwrap_or(0));
    Ok(Check::new("the counters say so", refused == Some(1) && open == 0 && accepted > 100, measured))
}

fn page(checks: Vec<Check>, kept: Option<Kept>) -> Report {
    Report {
        title: "Relay: an IPv6-only server at home, reached at a rented host's addresses".into(),
        drawing: DRAWING,
        traffic: None,
        attempts: Vec::new(),
        checks,
        notes: vec![NOTE.into()],
        kept,
    }
}

/// A host with nothing to say would be waited for much longer.
const AT_ONCE: Duration = Duration::from_secs(1);
const END: Duration = Duration::from_secs(20);

const NOTE: &str = "The server sees the client's own address where a PROXY header tells it, or, without any change \
to the server, as the last 32 bits of an address in 2001:db8:64::/96, which the internet leads to the rented host.";

const DRAWING: &str = "
  client ────────── inet ────────── vps, [[relay]]
  198.51.100.10      │              192.0.2.158
  2001:db8:c11::10   │              2001:db8:aefc::2
                    home, nginx
                    2001:db8:eec0::2, no IPv4
";
