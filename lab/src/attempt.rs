//! The attempt that does not work: the borrower bridged into the lender's network.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::borrow::BorrowOptions;
use crate::ethernet::End;
use crate::host::Host;
use crate::probe::{Resolution, ping, resolve};
use crate::report::{Attempt, Check, Kept, Report};
use crate::switch::{Filter, packets};
use crate::world::{BORROWED, BORROWER6, LENDER_MAC, LENDER6, World, WorldOptions};
use crate::{LabError, wait};

/// Builds the same world as [`borrow`](fn@crate::borrow), bridges an Ethernet carrier with the lender's
/// uplink, and shows by counters why nothing comes of it. A check is good when it shows what the
/// report claims.
///
/// # Errors
/// When the world cannot be built.
pub fn borrow_bridge(options: &BorrowOptions, progress: &mut dyn FnMut(&str)) -> Result<Report, LabError> {
    progress("building the world");
    let world = World::build(WorldOptions::default())?;
    progress("bridging an Ethernet carrier with the lender's uplink");
    let carrier = bridge(&world)?;
    progress("trying with the borrower's own MAC address");
    let own = attempt(&world, "own MAC", BORROWER_MAC, Filter::LenderOnly)?;
    progress("trying with the lender's MAC address at the borrower");
    let same = attempt(&world, "lender's MAC", LENDER_MAC, Filter::LenderOnly)?;
    let entry = bridge_entry(&world.lender)?;
    progress("trying with the switch's filter off");
    let control = attempt(&world, "no filter", BORROWER_MAC, Filter::Off)?;
    let mut checks = checks(&own, &same, &control, &entry);
    let mut notes = vec![WHY.to_owned()];
    match plain_gre_port(&world.lender)? {
        Some(check) => checks.push(check),
        None => notes.push(NO_IP6GRE.into()),
    }
    if carrier.iter().all(Option::is_none) {
        checks.push(Check::new("the Ethernet carrier is the kernel's ip6gretap", true, "at both ends"));
    }
    let kept = if options.keep { Some(Kept::keep(world)?) } else { None };
    if kept.is_some() && carrier.iter().any(Option::is_some) {
        notes.push(CARRIER_GONE.into());
    }
    drop(carrier);
    Ok(Report {
        title: "The attempt that fails: the borrower bridged into the lender's network".into(),
        drawing: DRAWING,
        traffic: None,
        attempts: vec![own, same, control],
        checks,
        notes,
        kept,
    })
}

/// Gives up the lender's IPv4 address and puts its uplink and the carrier into one bridge.
fn bridge(world: &World) -> Result<[Option<End>; 2], LabError> {
    let end = |host: &Host, local: Ipv6Addr, remote: Ipv6Addr| {
        let end = if of_kernel(host, local, remote)? { None } else { Some(End::open(host, TAP, remote)?) };
        host.ip("link set tap0 mtu 1442 addrgenmode none\nlink set tap0 up")?;
        Ok(end)
    };
    let ends = [end(&world.lender, LENDER6, BORROWER6)?, end(&world.borrower, BORROWER6, LENDER6)?];
    world.lender.ip("
        address del 192.0.2.158/24 dev eth0
        route del default via 2001:db8:aefc::1 dev eth0
        address del 2001:db8:aefc::2/64 dev eth0
        link add br0 address 02:00:00:00:00:02 type bridge
        link set eth0 master br0
        link set tap0 master br0
        link set br0 mtu 1500
        link set br0 up
        address add 2001:db8:aefc::2/64 dev br0 nodad
        route add default via 2001:db8:aefc::1 dev br0
    ")?;
    world.lender.nft(COUNTERS)?;
    forwarding(&world.lender)?;
    // The underlay has moved to the bridge: the carrier's own way must be there before it is judged.
    let borrower = BORROWER6.to_string();
    wait::until("the lender to reach the borrower over IPv6", Duration::from_secs(10), || {
        let asked = world.lender.try_run(&["ping", "-n", "-q", "-c", "1", "-W", "1", &borrower]).ok()?;
        asked.status.success().then_some(())
    })?;
    Ok(ends)
}

/// Whether the kernel has the device; where it has not, it is made in userspace.
fn of_kernel(host: &Host, local: Ipv6Addr, remote: Ipv6Addr) -> Result<bool, LabError> {
    let (local, remote) = (local.to_string(), remote.to_string());
    let add = ["ip", "link", "add", TAP, "type", "ip6gretap", "local", &local, "remote", &remote];
    Ok(host.try_run(&[&add[..], &["encaplimit", "none"]].concat())?.status.success())
}

/// Waits until both ports of the lender's bridge forward: the kernel notices a new port's carrier late.
fn forwarding(lender: &Host) -> Result<(), LabError> {
    wait::until("the bridge's ports to forward", Duration::from_secs(5), || {
        let ports = lender.run(&["bridge", "link", "show"]).ok()?.stdout;
        let of_bridge = ports.lines().filter(|line| line.contains("master br0"));
        (of_bridge.filter(|line| line.contains("state forwarding")).count() == 2).then_some(())
    })
}

fn attempt(world: &World, name: &'static str, mac: &str, filter: Filter) -> Result<Attempt, LabError> {
    world.switch.set_filter(filter)?;
    // Each attempt begins with a borrower that has just been set up.
    world.borrower.ip(&format!(
        "
        link set tap0 down
        link set tap0 address {mac}
        link set tap0 up
        address replace 192.0.2.158/24 dev tap0
        route replace default via 192.0.2.1
    "
    ))?;
    forwarding(&world.lender)?;
    wait::until("the borrower's tap to be up", Duration::from_secs(5), || {
        let shown = world.borrower.run(&["ip", "link", "show", "dev", TAP]).ok()?.stdout;
        (shown.contains("LOWER_UP") && !shown.contains("state DOWN")).then_some(())
    })?;
    let before = packets(&world.lender, "bridge", "attempt")?;
    let resolved = match resolve(&world.inet, "hoster", BORROWED)? {
        Resolution::Answered(address) => Some(address),
        Resolution::Silent => None,
    };
    let ping = ping(&world.client, BORROWED.into(), 5)?;
    let after = packets(&world.lender, "bridge", "attempt")?;
    let moved = |name: &str| {
        let of = |counts: &std::collections::BTreeMap<_, u64>| counts.get(name).copied();
        of(&after).unwrap_or_default() - of(&before).unwrap_or_default()
    };
    Ok(Attempt {
        name,
        ping,
        resolved,
        frames: world.switch.frames()?,
        to_carrier: moved("to_carrier"),
        to_lender: moved("to_lender"),
    })
}

fn checks(own: &Attempt, same: &Attempt, control: &Attempt, entry: &str) -> Vec<Check> {
    let lost = |attempt: &Attempt| attempt.ping.received == 0;
    let answered = |attempt: &Attempt| format!("{} of {}", attempt.ping.received, attempt.ping.sent);
    let at = |attempt: &Attempt| attempt.resolved.clone().unwrap_or_else(|| "no answer".into());
    let foreign = |attempt: &Attempt| format!("{} frames", attempt.frames.foreign);
    let kept = format!("{} kept, {} into the carrier", same.to_lender, same.to_carrier);
    let found = same.resolved.as_deref() == Some(LENDER_MAC);
    vec![
        Check::new("own MAC: unreachable", lost(own), answered(own)),
        Check::new("own MAC: the switch drops its frames", own.frames.foreign > 0, foreign(own)),
        Check::new("own MAC: the gateway cannot find it", own.resolved.is_none(), at(own)),
        Check::new("lender's MAC: unreachable", lost(same), answered(same)),
        Check::new("lender's MAC: the switch drops nothing", same.frames.foreign == 0, foreign(same)),
        Check::new("lender's MAC: the gateway finds it", found, at(same)),
        Check::new(
            "lender's MAC: its packets end at the lender",
            same.to_lender > 0 && same.to_carrier == 0,
            kept,
        ),
        Check::new("lender's MAC: the bridge's own entry", entry != NO_ENTRY, entry),
        Check::new("own MAC, no filter: reachable", control.ping.complete(), answered(control)),
    ]
}

/// What the lender's bridge knows of the lender's MAC address.
fn bridge_entry(lender: &Host) -> Result<String, LabError> {
    let table = lender.run(&["bridge", "fdb", "show", "br", "br0"])?.stdout;
    let entry = table.lines().find(|line| line.starts_with(LENDER_MAC) && line.contains("permanent"));
    Ok(entry.unwrap_or(NO_ENTRY).trim().to_owned())
}

/// Whether plain ip6gre, which carries no Ethernet, is refused as a port; `None` on a kernel without
/// it.
fn plain_gre_port(lender: &Host) -> Result<Option<Check>, LabError> {
    let (local, remote) = (LENDER6.to_string(), BORROWER6.to_string());
    let add = ["ip", "link", "add", "gre6", "type", "ip6gre", "local", &local, "remote", &remote];
    if !lender.try_run(&add)?.status.success() {
        return Ok(None);
    }
    let enslaved = lender.try_run(&["ip", "link", "set", "gre6", "master", "br0"])?;
    lender.ip("link delete gre6")?;
    let said = enslaved.stderr.trim().to_owned();
    Ok(Some(Check::new("plain ip6gre is refused as a bridge port", !enslaved.status.success(), said)))
}

const NO_ENTRY: &str = "none";
const TAP: &str = "tap0";
const BORROWER_MAC: &str = "02:00:00:00:00:0b";

/// Where the lender's bridge takes packets for the borrowed address.
const COUNTERS: &str = r#"
table bridge attempt {
    counter to_carrier { }
    counter to_lender { }
    chain forward {
        type filter hook forward priority 0; policy accept;
        iifname "eth0" oifname "tap0" ip daddr 192.0.2.158 counter name "to_carrier"
    }
    chain input {
        type filter hook input priority 0; policy accept;
        iifname "eth0" ip daddr 192.0.2.158 counter name "to_lender"
    }
}
"#;

const WHY: &str = "With a MAC address of its own the borrower is a stranger at the hoster's \
switch, and its frames are dropped. With the lender's MAC address its frames pass, but two ports \
of one bridge then have one address: the bridge holds it as its own (the permanent entry), so every \
answer ends at the lender and none enters the carrier. Straddle does not bridge but routes: the \
switch sees the lender's MAC address alone.";

const NO_IP6GRE: &str = "Not checked: that plain ip6gre, which carries no Ethernet, is refused as a \
bridge port. This kernel has no ip6gre.";

const CARRIER_GONE: &str = "The Ethernet carrier was part of this program and has ended with it: what \
stands is the world, with the lender's bridge.";

const DRAWING: &str = "
  client ───────── inet ──────────── switch ────────── lender: br0
  198.51.100.10    192.0.2.1         drops every       ├─ eth0
                   │                 source MAC but    └─ tap0
                   │ IPv6 only       the lender's         ║ Ethernet in GRE,
                   │                                      ║ by way of inet
                   └───────────────────────────── borrower: tap0
                                                  192.0.2.158
";
