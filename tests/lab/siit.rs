//! A stateless translator at the gate of an IPv6-only data centre, as `straddle lab siit` shows it, and the
//! world that it happens in.
//!
//! ```text
//!  client ── inet ── gate ── core ── server
//!                              │
//!                             peer ── far
//! ```

use std::net::IpAddr;
use std::time::Duration;

use straddle_lab::host::Host;
use straddle_lab::probe::{download, ping};
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::DataCentre;
use straddle_lab::{FastPath, LabError, Peer, SIIT_CONFIG, SiitOptions, siit, wait};

use crate::{exe, good, same, turn};

#[test]
fn a_data_centre_is_reached_through_its_gate() {
    let Some(_turn) = turn("a_data_centre_is_reached_through_its_gate") else { return };
    let mut stages = Vec::new();
    let options = SiitOptions { fast_path: FastPath::Require, ..SiitOptions::default() };
    let report = siit(&options, exe(), &mut |stage| stages.push(stage.to_owned())).unwrap();
    good(&report);
    assert!(!stages.is_empty(), "progress is told");
}

/// Without the kernel's help.
#[test]
fn a_data_centre_is_reached_by_the_slow_path() {
    let Some(_turn) = turn("a_data_centre_is_reached_by_the_slow_path") else { return };
    let options = SiitOptions { fast_path: FastPath::Off, ..SiitOptions::default() };
    good(&siit(&options, exe(), &mut |_| ()).unwrap());
}

/// Who is asked notices nothing of who answers.
#[test]
fn a_data_centre_is_reached_while_the_paths_change_places() {
    let Some(_turn) = turn("a_data_centre_is_reached_while_the_paths_change_places") else { return };
    let options = SiitOptions { fast_path: FastPath::Switched, ..SiitOptions::default() };
    good(&siit(&options, exe(), &mut |_| ()).unwrap());
}

/// The same questions, answered by a translator that is not ours: what fails with ours alone is ours.
#[test]
fn the_data_centre_is_right_by_tayga() {
    let Some(_turn) = turn("the_data_centre_is_right_by_tayga") else { return };
    let options = SiitOptions { by_hand: true, ..SiitOptions::default() };
    good(&siit(&options, exe(), &mut |_| ()).unwrap());
}

/// A gate that was no router before translates, forwards nothing else, and is no router afterwards.
#[test]
fn a_gate_that_is_no_router_becomes_none() -> Result<(), LabError> {
    let Some(_turn) = turn("a_gate_that_is_no_router_becomes_none") else { return Ok(()) };
    let world = DataCentre::build(Peer::Tayga)?;
    world.gate.sysctl("net/ipv4/ip_forward", "0")?;
    world.gate.sysctl("net/ipv6/conf/all/forwarding", "0")?;
    // A way through the gate that needs no translator.
    world.gate.ip("address add 2001:db8:46:1::1/64 dev eth0 nodad")?;
    world.inet.ip("
        address add 2001:db8:46:1::2/64 dev gate nodad
        route add 2001:db8:46::/64 via 2001:db8:46:1::1
    ")?;
    world.core.ip("route add 2001:db8:46:1::/64 via 2001:db8:46::1")?;
    let core: IpAddr = "2001:db8:46::2".parse().unwrap();
    let state = HostState::read(&world.gate)?;

    let straddle = Straddle::within(world.directory(), exe(), SIIT_CONFIG)?;
    let gate = straddle.on(&world.gate);
    let running = gate.run()?;
    let client: IpAddr = DataCentre::embedded(DataCentre::CLIENT).into();
    let ways: [(&Host, &Host, IpAddr); 2] =
        [(&world.client, &world.server, DataCentre::SERVER.into()), (&world.server, &world.client, client)];
    for (from, to, target) in ways {
        let answered = ping(from, target, 5)?;
        assert!(answered.complete(), "{} pings {target}: {answered:?}", from.name());
        let fetched = download(from, to, target, world.directory())?;
        assert!(fetched.intact, "{} from {target}: {fetched:?}", from.name());
    }
    assert_eq!(ping(&world.inet, core, 3)?.received, 0, "what needs no translator does not pass");

    gate.down()?;
    running.ends(Duration::from_secs(10))?;
    same("after down", &state, &world.gate);
    world.gate.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    assert!(ping(&world.inet, core, 3)?.complete(), "and would, if the gate were a router");
    Ok(())
}

/// An edge relay: the server's IPv4 address is one of the gate's own network, so the gate answers for it.
#[test]
fn an_address_beside_the_gate_is_answered_for() -> Result<(), LabError> {
    let Some(_turn) = turn("an_address_beside_the_gate_is_answered_for") else { return Ok(()) };
    let world = DataCentre::build(Peer::Tayga)?;
    let state = HostState::read(&world.gate)?;
    let file =
        SIIT_CONFIG.replace("\"2001:db8:3::/120\", \"203.0.113.0/24\"", "\"2001:db8:3::a\", \"192.0.2.40\"");
    assert_ne!(file, SIIT_CONFIG);
    let straddle = Straddle::within(world.directory(), exe(), &file)?;
    let gate = straddle.on(&world.gate);
    let running = gate.run()?;
    let address: IpAddr = "192.0.2.40".parse().unwrap();
    for from in [&world.inet, &world.client] {
        let answered = ping(from, address, 5)?;
        assert!(answered.complete(), "{} pings {address}: {answered:?}", from.name());
    }
    gate.down()?;
    running.ends(Duration::from_secs(10))?;
    same("after down", &state, &world.gate);
    Ok(())
}

/// Whoever sends as somebody of the other network would look like that one there (RFC 6052 §5.1).
#[test]
fn false_sources_are_not_translated() -> Result<(), LabError> {
    let Some(_turn) = turn("false_sources_are_not_translated") else { return Ok(()) };
    let world = DataCentre::build(Peer::Tayga)?;
    let straddle = Straddle::within(world.directory(), exe(), SIIT_CONFIG)?;
    let gate = straddle.on(&world.gate);
    let running = gate.run()?;
    let refused = || -> Result<serde_json::Value, LabError> {
        Ok(gate.json("status")?["bridges"][0]["false_sources"].clone())
    };
    let client = DataCentre::embedded(DataCentre::CLIENT);
    assert!(ping(&world.server, client.into(), 3)?.complete(), "the server as itself");
    assert_eq!(refused()?, 0);
    let lie = DataCentre::embedded([192, 0, 2, 1].into());
    world.server.ip(&format!("address add {lie}/128 dev lo nodad"))?;
    let target = client.to_string();
    let asked = world.server.try_run(&[
        "ping",
        "-6",
        "-c",
        "3",
        "-i",
        "0.2",
        "-W",
        "1",
        "-I",
        &lie.to_string(),
        &target,
    ])?;
    assert!(!asked.status.success(), "{}", asked.stdout);
    assert_eq!(refused()?, 3, "{asked:?}\n{:?}", world.gate.run(&["nft", "list", "ruleset"])?.stdout);
    let shown = gate.verb(&["status"])?.stdout;
    assert!(shown.contains("false-source 3: "), "{shown}");
    gate.down()?;
    running.ends(Duration::from_secs(10))
}

/// As a container engine does that starts later: it makes the host a router, with a device of its own.
#[test]
fn whoever_makes_a_router_of_the_gate_has_one() -> Result<(), LabError> {
    let Some(_turn) = turn("whoever_makes_a_router_of_the_gate_has_one") else { return Ok(()) };
    let world = DataCentre::build(Peer::Tayga)?;
    let keys = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
    for key in keys {
        world.gate.sysctl(key, "0")?;
    }
    let straddle = Straddle::within(world.directory(), exe(), SIIT_CONFIG)?;
    let gate = straddle.on(&world.gate);
    let running = gate.run()?;
    let dropped = || {
        let shown = world.gate.run(&["nft", "list", "table", "inet", "straddle"]).ok()?.stdout;
        // A false source is dropped whatever the gate is.
        Some(shown.lines().any(|line| line.contains("drop") && !line.contains("counter")))
    };
    assert_eq!(dropped(), Some(true), "what is newly forwarded is held to what is translated");
    for key in keys {
        world.gate.sysctl(key, "1")?;
    }
    world.gate.ip("link add theirs type veth peer name others")?;
    wait::until("the gate to be a router", Duration::from_secs(5), || dropped().filter(|dropped| !dropped))?;
    world.gate.ip("link del theirs")?;
    let theirs = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.contains("st-siit")).map(str::to_owned).collect()
    };
    let forwarding = || -> Result<Vec<String>, LabError> {
        Ok(theirs(&world.gate.run(&["sysctl", "-a", "--pattern", r"net\.ipv[46]\..*forwarding$"])?.stdout))
    };
    let before = forwarding()?;
    gate.down()?;
    running.ends(Duration::from_secs(10))?;
    assert_eq!(forwarding()?, before, "down leaves it a router");
    Ok(())
}
