//! Past a lender's device: what its uplink brings for the lent address, or from the borrower, leaves by it at once.
//!
//! ```text
//!  client ── inet ── switch ── lender        bytes flow between the client and the borrower, either way
//!              │                 ║
//!              └────────────── borrower
//! ```

use std::time::Duration;

use straddle_intent::object::{FastPath, Hook};
use straddle_kernel::Live;
use straddle_lab::host::Host;
use straddle_lab::probe::{Answer, knock, ping};
use straddle_lab::state::HostState;
use straddle_lab::straddle::{Installed, Straddle, config};
use straddle_lab::world::{BORROWED, CLIENT, World, WorldOptions};
use straddle_lab::{Carrier, LabError, wait};

use crate::fast::{Flow, LIMIT, while_bytes_flow};
use crate::fast_carrier::{behind_the_uplink, programs};
use crate::{CARRIERS, exe, same, turn};

/// Times that a flow is waited for, each for 20 MB: 200 MB.
const TIMES: usize = 10;

/// The file, with this word for `direct`.
fn text(carrier: Carrier, direct: bool) -> String {
    let fast = "fast-path = \"require\"\n";
    let tun = config(carrier, "require").replace(fast, &format!("{fast}carrier-backend = \"tun\"\n"));
    format!("{tun}direct = {direct}\n")
}

fn status(lender: &Installed<'_>) -> Result<serde_json::Value, LabError> {
    let output = lender.try_verb(&["status", "--json"])?;
    Ok(serde_json::from_str(&output.stdout).unwrap())
}

/// How many packets went directly outward and inward, and how many through the device.
fn counted(lender: &Installed<'_>) -> Result<([u64; 2], u64), LabError> {
    let status = status(lender)?;
    let (fast, slow) = (&status["bridges"][0]["fast"], &status["bridges"][0]["counters"]);
    assert_eq!(fast["lost"], 0, "{status}");
    let both = |counts: &serde_json::Value| {
        ["outward", "inward"].map(|way| counts[way]["packets"].as_u64().unwrap_or(0))
    };
    let (all, direct) = (both(fast), both(&fast["direct"]));
    let by_process = ["packets_out", "packets_in"].map(|key| slow[key].as_u64().unwrap_or(0));
    let through = all.iter().sum::<u64>() - direct.iter().sum::<u64>() + by_process.iter().sum::<u64>();
    Ok((direct, through))
}

/// What was counted during `work`.
fn during(
    lender: &Installed<'_>,
    work: impl FnOnce() -> Result<(), LabError>,
) -> Result<([u64; 2], u64), LabError> {
    let before = counted(lender)?;
    work()?;
    let after = counted(lender)?;
    Ok(([after.0[0] - before.0[0], after.0[1] - before.0[1]], after.1 - before.1))
}

/// Whether pings of the client go past the device, either way; none of them is lost.
fn pings_go(world: &World, lender: &Installed<'_>) -> Result<bool, LabError> {
    let (direct, through) = during(lender, || {
        let answered = ping(&world.client, BORROWED.into(), 10)?;
        assert!(answered.complete(), "{answered:?}");
        Ok(())
    })?;
    assert!(direct[0] + direct[1] + through >= 20, "{direct:?} directly, {through} not");
    Ok(direct[0] >= 10 && direct[1] >= 10)
}

fn pings_go_again(world: &World, lender: &Installed<'_>) -> Result<(), LabError> {
    wait::until("packets to go directly", LIMIT, || pings_go(world, lender).ok().filter(|go| *go)).map(drop)
}

/// Nobody answers at once, and everybody once it is undone.
fn obeyed(world: &World, lender: &Installed<'_>, change: &[&str], undo: &[&str]) -> Result<(), LabError> {
    world.lender.run(change)?;
    assert_eq!(ping(&world.client, BORROWED.into(), 3)?.received, 0, "{change:?}");
    let told = lender.try_verb(&["status"])?.stdout;
    assert_eq!(told.contains("\n  not at present, for firewall: "), change.contains(&"nft"), "{told}");
    world.lender.run(undo)?;
    pings_go_again(world, lender)
}

/// As if what a killed process said were over.
fn nobody_watches(lender: &Host) -> Result<(), LabError> {
    let programs: Vec<FastPath> = behind_the_uplink(lender).into_iter().collect();
    let told = || Live::open().and_then(|mut live| live.watched(programs.iter(), None, Duration::ZERO));
    lender.inside(told)?.unwrap();
    Ok(())
}

#[test]
fn a_lenders_packets_go_past_its_device_while_somebody_watches() -> Result<(), LabError> {
    let Some(_turn) = turn("a_lenders_packets_go_past_its_device_while_somebody_watches") else {
        return Ok(());
    };
    CARRIERS.into_iter().try_for_each(lent_by)
}

fn lent_by(carrier: Carrier) -> Result<(), LabError> {
    let world = World::build(WorldOptions::default())?;
    let states = [HostState::read(&world.lender)?, HostState::read(&world.borrower)?];
    let straddle = Straddle::with_config(&world, exe(), &text(carrier, true))?;
    let (lender, borrower) = (straddle.on(&world.lender), straddle.on(&world.borrower));
    let running = [lender.run()?, borrower.run()?];
    assert_eq!(programs(&world.lender).len(), 2);
    assert!(pings_go(&world, &lender)?);

    let (there, back) = (BORROWED.into(), CLIENT.into());
    for (hosts, to) in [((&world.client, &world.borrower), there), ((&world.borrower, &world.client), back)] {
        let (direct, through) = during(&lender, || {
            while_bytes_flow(hosts, to, |flow| (0..TIMES).try_for_each(|_| flow.goes_on("directly")))
        })?;
        let all = direct[0] + direct[1];
        assert!(all > 99 * through && through > 0, "{direct:?} directly, {through} not");
    }
    reads_well(&lender)?;

    world.lender.nft("add table inet other")?;
    let chain = ["nft", "add chain inet other stop { type filter hook forward priority 0; policy drop; }"];
    obeyed(&world, &lender, &chain, &["nft", "delete table inet other"])?;
    // Where packets from the borrower are looked up.
    let nowhere =
        |verb: &'static str| ["ip", "route", verb, "unreachable", "198.51.100.10/32", "table", "4601"];
    obeyed(&world, &lender, &nowhere("add"), &nowhere("del"))?;

    a_routes_mtu_counts(&world)?;

    let [by_lender, by_borrower] = running;
    let again = while_bytes_flow((&world.client, &world.borrower), there, |flow| {
        flow.goes_on("directly")?;
        // Dropped is killed.
        drop(by_lender);
        killed(&world, &lender, flow)
    })?;
    assert!(pings_go(&world, &lender)?);
    while_bytes_flow((&world.client, &world.borrower), there, |flow| {
        other_programs(&world, (&lender, carrier), flow)?;
        again.stop(LIMIT)?;
        flow.goes_on("after a good end")?;
        assert!(!pings_go(&world, &lender)?, "nobody watches");
        Ok(())
    })?;
    lender.down()?;
    borrower.down()?;
    by_borrower.ends(LIMIT)?;
    for (host, state) in [&world.lender, &world.borrower].into_iter().zip(states) {
        assert_eq!(programs(host), []);
        same("after down", &state, host);
    }
    Ok(())
}

/// A translator of the same host drops what comes in by the uplink; not what a lender lets pass, so that need not meet it.
#[test]
fn a_translators_rules_are_no_hindrance() -> Result<(), LabError> {
    let Some(_turn) = turn("a_translators_rules_are_no_hindrance") else { return Ok(()) };
    let world = World::build(WorldOptions::default())?;
    let siit = "[[siit]]\nhost = \"lender\"\npool6 = \"2001:db8:64::/96\"\nfast-path = \"off\"\n";
    let straddle = Straddle::with_config(&world, exe(), &(text(Carrier::Ip6gre, true) + siit))?;
    let (lender, borrower) = (straddle.on(&world.lender), straddle.on(&world.borrower));
    let running = [lender.run()?, borrower.run()?];
    let rules = world.lender.run(&["nft", "list", "chain", "inet", "straddle", "forward"])?.stdout;
    assert!(rules.contains("straddle siit-lender: "), "{rules}");
    assert!(pings_go(&world, &lender)?);
    lender.down()?;
    borrower.down()?;
    running.into_iter().try_for_each(|process| process.ends(LIMIT))
}

/// The kernel forwards by what a route says; programs are told of it by `run`.
fn a_routes_mtu_counts(world: &World) -> Result<(), LabError> {
    let route = |verb: &str| format!("route {verb} 198.51.100.0/24 via 192.0.2.1 dev eth0 onlink table 4601");
    world.lender.ip(&format!("{} mtu 1300", route("add")))?;
    wait::until("a packet that the route has no room for to be refused", LIMIT, || {
        let answer = knock(&world.borrower, CLIENT, 1400, Duration::from_secs(1)).ok()?;
        matches!(answer, Answer::FragNeeded { mtu: 1300, .. }).then_some(())
    })?;
    world.lender.ip(&route("del"))
}

/// Its lines fit into a terminal, and say why a connection's first packets took the other way.
fn reads_well(lender: &Installed<'_>) -> Result<(), LabError> {
    let told = lender.try_verb(&["status"])?.stdout;
    assert!(told.contains("\n  direct: "), "{told}");
    assert!(told.contains("\n  through the device for syn "), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    Ok(())
}

/// The program goes on, then goes through the device, and is adopted by the next `run`, which is returned.
fn killed(
    world: &World,
    lender: &Installed<'_>,
    flow: &Flow<'_>,
) -> Result<straddle_lab::process::Process, LabError> {
    let before = programs(&world.lender);
    let (direct, _) = during(lender, || flow.goes_on("without a process"))?;
    assert!(direct[0] > 1000, "what it said holds for a while: {direct:?}");
    nobody_watches(&world.lender)?;
    flow.goes_on("through the device")?;
    assert!(!pings_go(world, lender)?, "nobody watches");

    let again = lender.run()?;
    assert_eq!(programs(&world.lender), before, "they are adopted");
    flow.goes_on("directly again")?;
    assert_eq!(lender.json("status")?["well"], true);
    Ok(again)
}

/// A file without `direct` has another program behind the uplink, with what the former has counted, and back.
fn other_programs(
    world: &World,
    (lender, carrier): (&Installed<'_>, Carrier),
    flow: &Flow<'_>,
) -> Result<(), LabError> {
    let before = behind_the_uplink(&world.lender);
    let carried = || -> Result<[u64; 2], LabError> {
        let fast = &status(lender)?["bridges"][0]["fast"];
        Ok(["outward", "inward"].map(|way| fast[way]["packets"].as_u64().unwrap_or(0)))
    };
    let counts_on = |former: [u64; 2]| -> Result<[u64; 2], LabError> {
        let now = carried()?;
        assert!(now.iter().zip(former).all(|(now, former)| *now >= former), "{now:?} after {former:?}");
        Ok(now)
    };
    let former = carried()?;
    Straddle::with_config(world, exe(), &text(carrier, false))?;
    lender.up()?;
    assert_ne!(behind_the_uplink(&world.lender), before);
    assert_eq!(programs(&world.lender).iter().filter(|program| program.hook != Hook::Egress).count(), 1);
    let former = counts_on(former)?;
    flow.goes_on("without `direct`")?;
    assert!(!pings_go(world, lender)?);
    Straddle::with_config(world, exe(), &text(carrier, true))?;
    lender.up()?;
    assert_eq!(behind_the_uplink(&world.lender), before);
    counts_on(former)?;
    flow.goes_on("with `direct` again")?;
    pings_go_again(world, lender)
}
