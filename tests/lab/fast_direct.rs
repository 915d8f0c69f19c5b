//! Past a translator's device: what comes in by one side of the gate goes out by the other at once.
//!
//! ```text
//!  client ── inet ── eth0 gate dc ── core ── server      bytes flow, either way
//! ```

use std::time::Duration;

use straddle_intent::object::{FastPath, Hook};
use straddle_kernel::Live;
use straddle_lab::host::Host;
use straddle_lab::probe::ping;
use straddle_lab::state::HostState;
use straddle_lab::straddle::{Installed, Straddle};
use straddle_lab::world::DataCentre;
use straddle_lab::{LabError, Peer, SIIT_CONFIG, wait};

use crate::fast::{LIMIT, while_bytes_flow};
use crate::fast_carrier::programs;
use crate::{exe, same, turn};

/// Times that a flow is waited for, each for 20 MB: 200 MB.
const TIMES: usize = 10;

/// The programs behind the gate's devices.
fn past(gate: &Host) -> Vec<FastPath> {
    let mut found = programs(gate);
    found.retain(|program| program.hook != Hook::Egress);
    found
}

/// How many packets went directly, and how many through the device.
fn counted(gate: &Installed<'_>) -> Result<(u64, u64), LabError> {
    let output = gate.try_verb(&["status", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let bridge = &status["bridges"][0];
    let packets = |counts: &serde_json::Value| -> u64 {
        assert_eq!(counts["lost"].as_u64().unwrap_or(0), 0, "{status}");
        ["to4", "to6"].iter().filter_map(|way| counts[way]["packets"].as_u64()).sum()
    };
    let direct = ["eth0", "dc"].iter().map(|dev| packets(&bridge["direct"][dev])).sum();
    Ok((direct, packets(&bridge["fast"]) + packets(&bridge["counters"])))
}

/// Whether pings of the client go past the device; none of them is lost.
fn pings_go(world: &DataCentre, gate: &Installed<'_>) -> Result<bool, LabError> {
    let before = counted(gate)?;
    let answered = ping(&world.client, DataCentre::SERVER.into(), 10)?;
    assert!(answered.complete(), "{answered:?}");
    let after = counted(gate)?;
    let (direct, through) = (after.0 - before.0, after.1 - before.1);
    assert!(direct + through >= 20 && (direct == 0 || through < 20), "{direct} directly, {through} not");
    Ok(direct >= 20)
}

/// Nobody answers at once, and everybody once it is undone.
fn obeyed(world: &DataCentre, gate: &Installed<'_>, change: &[&str], undo: &[&str]) -> Result<(), LabError> {
    world.gate.run(change)?;
    assert_eq!(ping(&world.client, DataCentre::SERVER.into(), 3)?.received, 0, "{change:?}");
    world.gate.run(undo)?;
    wait::until("packets to go directly again", LIMIT, || pings_go(world, gate).ok().filter(|go| *go))?;
    Ok(())
}

#[test]
fn packets_go_past_the_device_while_somebody_watches() -> Result<(), LabError> {
    let Some(_turn) = turn("packets_go_past_the_device_while_somebody_watches") else { return Ok(()) };
    let world = DataCentre::build(Peer::Tayga)?;
    let state = HostState::read(&world.gate)?;
    let text = format!("{SIIT_CONFIG}fast-path = \"require\"\ndirect = [\"eth0\", \"dc\"]\n");
    let straddle = Straddle::within(world.directory(), exe(), &text)?;
    let gate = straddle.on(&world.gate);
    let running = gate.run()?;
    let before = past(&world.gate);
    assert_eq!(before.len(), 2);
    assert!(pings_go(&world, &gate)?);

    let (there, back) = (DataCentre::SERVER.into(), DataCentre::embedded(DataCentre::CLIENT).into());
    for (hosts, to) in [((&world.client, &world.server), there), ((&world.server, &world.client), back)] {
        let before = counted(&gate)?;
        while_bytes_flow(hosts, to, |flow| (0..TIMES).try_for_each(|_| flow.goes_on("directly")))?;
        let after = counted(&gate)?;
        let (direct, through) = (after.0 - before.0, after.1 - before.1);
        assert!(direct > 99 * through && through > 0, "{direct} directly, {through} not");
    }

    world.gate.nft("add table inet other")?;
    let chain = ["nft", "add chain inet other stop { type filter hook forward priority 0; policy drop; }"];
    obeyed(&world, &gate, &chain, &["nft", "delete table inet other"])?;
    let nowhere = "ip route add unreachable 198.51.100.10/32".split(' ').collect::<Vec<_>>();
    let back = "ip route del unreachable 198.51.100.10/32".split(' ').collect::<Vec<_>>();
    obeyed(&world, &gate, &nowhere, &back)?;

    while_bytes_flow((&world.client, &world.server), there, |flow| {
        flow.goes_on("directly")?;
        // Dropped is killed.
        drop(running);
        let killed = counted(&gate)?;
        flow.goes_on("without a process")?;
        assert!(counted(&gate)?.0 > killed.0 + 1000, "what it said holds for a while");
        // As if that were over.
        let programs = past(&world.gate);
        let told = || Live::open().and_then(|mut live| live.watched(programs.iter(), None, Duration::ZERO));
        world.gate.inside(told)?.unwrap();
        flow.goes_on("through the device")?;
        assert!(!pings_go(&world, &gate)?, "nobody watches");

        let again = gate.run()?;
        assert_eq!(past(&world.gate), before, "they are adopted");
        assert!(pings_go(&world, &gate)?);
        flow.goes_on("directly again")?;
        assert_eq!(gate.json("status")?["well"], true);
        again.stop(LIMIT)?;
        flow.goes_on("after a good end")?;
        assert!(!pings_go(&world, &gate)?, "nobody watches");
        Ok(())
    })?;
    gate.down()?;
    assert_eq!(programs(&world.gate), []);
    same("after down", &state, &world.gate);
    Ok(())
}
