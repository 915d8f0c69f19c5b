use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use crate::fast::FastPath;
use crate::host::Host;
use crate::names::NAME;
use crate::probe::{Serving, Watch, ping};
use crate::process::Process;
use crate::question::{self, Finding, Strangers, Way, compare};
use crate::report::{Check, Kept, Report};
use crate::state::HostState;
use crate::straddle::Straddle;
use crate::world::{Access, Network, PREFIX64};
use crate::{LabError, Peer, wait};

/// How the VM comes to know what the CLAT needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClatVariant {
    /// The file gives the NAT64's prefix, and an address of the VM's own network.
    #[default]
    Given,
    /// Router advertisements tell the prefix (RFC 8781).
    Pref64,
    /// The DNS64's answers tell the prefix (RFC 7050).
    Dns64,
    /// The VM has one address, and a prefix that is routed to it.
    Routed,
}

impl ClatVariant {
    /// All of them.
    pub const ALL: [ClatVariant; 4] =
        [ClatVariant::Given, ClatVariant::Pref64, ClatVariant::Dns64, ClatVariant::Routed];

    fn network(self, nat64: Peer) -> Network {
        Network { pref64: self == ClatVariant::Pref64, routed: self == ClatVariant::Routed, nat64 }
    }

    /// The file, as a user would write it.
    fn config(self, vm6: Ipv6Addr) -> String {
        let keys = match self {
            ClatVariant::Given => {
                format!("prefix64 = \"{PREFIX64}\"\naddress6 = \"2001:db8:eec0::464\"")
            }
            ClatVariant::Pref64 | ClatVariant::Dns64 => "prefix64 = \"discover\"".into(),
            ClatVariant::Routed => {
                format!("prefix64 = \"{PREFIX64}\"\nprefix6 = \"{}\"", Access::ROUTED)
            }
        };
        format!("[host.vm]\nuplink = \"eth0\"\nipv6 = \"{vm6}\"\n\n[[clat]]\nhost = \"vm\"\n{keys}\n")
    }
}

impl fmt::Display for ClatVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClatVariant::Given => "prefix and address given",
            ClatVariant::Pref64 => "prefix advertised",
            ClatVariant::Dns64 => "prefix from DNS64",
            ClatVariant::Routed => "routed prefix",
        })
    }
}

/// What to build, who translates, and what to leave.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClatOptions {
    /// What the VM has to find out by itself.
    pub variant: ClatVariant,
    /// TAYGA in straddle's place, set up by hand: it shows that the world is right.
    pub by_hand: bool,
    /// Who translates plain packets.
    pub fast_path: FastPath,
    /// Leave the world standing, with IPv4.
    pub keep: bool,
    /// Who is the NAT64.
    pub nat64: Peer,
}

/// Builds the world of the `clat` recipe, gives the VM IPv4 with the real binary, and takes it away again.
///
/// # Errors
/// When the world cannot be built or the binary fails. A measurement that is not as it should be is
/// a check of the report.
pub fn clat(
    options: &ClatOptions,
    straddle_exe: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, LabError> {
    progress("building the world");
    let world = Access::build(options.variant.network(options.nat64))?;
    let file = options.variant.config(world.vm6());
    let straddle = Straddle::within(world.directory(), straddle_exe, &options.fast_path.config(&file))?;

    progress("asking without a translator");
    let before = ask(&world, options)?;
    let state = HostState::read(&world.vm)?;
    let watch = Watch::start(&world.resolver, world.vm6())?;

    progress("a CLAT on the VM: asking again");
    let running = up(&world, &straddle, options)?;
    let parts = (file.as_str(), world.directory(), straddle_exe);
    let (after, switched) = options.fast_path.meanwhile(parts, &world.vm, || ask(&world, options))?;
    let mut checks = compare(before, after);
    checks.extend(options.fast_path.check(switched));
    if options.by_hand {
        checks.push(reachable(watch)?);
        return Ok(page(options, checks, None));
    }

    progress("straddle down: IPv4 goes");
    straddle.on(&world.vm).down()?;
    running.ends(END)?;
    checks.push(reachable(watch)?);
    checks.push(Check::unchanged(&state, &world.vm)?);
    checks.push(world.vm.without(straddle_exe)?);
    let kept = if options.keep { Some(keep(world, &straddle, options)?) } else { None };
    Ok(page(options, checks, kept))
}

/// Starts the translator, and returns when it has found out what it needs.
fn up(world: &Access, straddle: &Straddle, options: &ClatOptions) -> Result<Process, LabError> {
    let running = if options.by_hand { world.translate_by_hand()? } else { straddle.on(&world.vm).run()? };
    // Whoever does not find the prefix is told apart by the checks.
    let _ = wait::until("IPv4", DISCOVERED, || {
        ping(&world.vm, Access::WEB.into(), 1).ok().filter(|ping| ping.complete())
    });
    Ok(running)
}

fn keep(world: Access, straddle: &Straddle, options: &ClatOptions) -> Result<Kept, LabError> {
    let running = up(&world, straddle, options)?;
    let enter = Kept::ways_in(world.hosts());
    let kept = Kept { enter, remove: world.keep()? };
    running.leave();
    Ok(kept)
}

fn ask(world: &Access, options: &ClatOptions) -> Result<Vec<Finding>, LabError> {
    let way = Way {
        name: "vm → web",
        from: &world.vm,
        seen: Access::OUTSIDE.into(),
        to: &world.web,
        target: Access::WEB.into(),
    };
    // TAYGA drops an ICMPv6 error whose source it cannot translate.
    let strangers = if options.by_hand { Strangers::Unheard } else { Strangers::Heard };
    let mut findings = question::basics(&way)?;
    findings.extend(downloads(&world.vm, &world.web, world.directory())?);
    findings.push(question::hops(&way, &[Access::INET.into()], strangers)?);
    // The IPv4 packet is 20 bytes shorter than the IPv6 packet that it becomes.
    let narrow = Access::NARROW - 20;
    findings.push(question::told(&way, 1500, 1480)?);
    findings.push(question::told(&way, 1480, narrow)?);
    findings.push(question::passes(&way, narrow)?);
    findings.extend(question::rates(&way, world.directory())?);
    let (name, target) = ("vm → resolver, IPv6", IpAddr::from(Access::RESOLVER));
    findings.push(question::pinged(&Way { name, to: &world.resolver, target, ..way })?.always());
    Ok(findings)
}

/// By address; by name, which the DNS64 makes reachable anyway; and by name with IPv4 alone.
fn downloads(vm: &Host, web: &Host, directory: &Path) -> Result<Vec<Finding>, LabError> {
    let serving = Serving::start(web, directory)?;
    let address = Access::WEB.to_string();
    let findings = vec![
        question::fetched(format!("curl {address}"), serving.fetch(vm, &[], &address)?),
        question::fetched(format!("curl {NAME}"), serving.fetch(vm, &[], NAME)?).always(),
        question::fetched(format!("curl -4 {NAME}"), serving.fetch(vm, &["-4"], NAME)?),
    ];
    serving.stop()?;
    Ok(findings)
}

/// The VM over IPv6, from the provider's network, all the time.
fn reachable(watch: Watch) -> Result<Check, LabError> {
    let reach = watch.stop()?;
    let measured = format!("{} of {} pings", reach.answered, reach.sent);
    let ok = reach.answered == reach.sent && reach.sent > 0;
    Ok(Check::new("VM reachable over IPv6 throughout", ok, measured))
}

fn page(options: &ClatOptions, checks: Vec<Check>, kept: Option<Kept>) -> Report {
    let by = if options.by_hand { ", by TAYGA" } else { "" };
    Report {
        title: format!("CLAT{by}: an IPv6-only VM, {}; NAT64: {}", options.variant, options.nat64),
        drawing: DRAWING,
        traffic: None,
        attempts: Vec::new(),
        checks,
        notes: vec![NOTE.into()],
        kept,
    }
}

/// Longer than any way to discover a prefix takes.
const DISCOVERED: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(10);

const NOTE: &str = "Routers of an IPv6-only network have no IPv4 address: traceroute shows them as 192.0.0.8 \
(RFC 7600), TAYGA's own hop as 192.168.255.1.";

const DRAWING: &str = "
  vm ───────── edge ── 1440 ── core ──── nat64 ────── inet ─────── web
  IPv6 only    advertises       │        TAYGA,       192.0.2.1    198.51.100.10
               itself           │        masquerade                IPv4 only
                             resolver    to 192.0.2.64
                             DNS64
";
