//! The fast path of carriers: the kernel's programs at the tun device and behind the uplink.
//!
//! ```text
//!  client ── inet ── switch ── lender        bytes flow from the client to the borrower all the time
//!              │                 ║
//!              └────────────── borrower
//! ```

use std::time::Duration;

use straddle_intent::object::{FastPath, Hook, Object};
use straddle_intent::step::Step;
use straddle_kernel::{Kernel as _, Live};
use straddle_lab::host::Host;
use straddle_lab::probe::ping;
use straddle_lab::state::HostState;
use straddle_lab::straddle::{Installed, Straddle};
use straddle_lab::world::{BORROWED, UPLINK, World, WorldOptions};
use straddle_lab::{Carrier, LabError, wait};

use crate::fast::{LIMIT, while_bytes_flow};
use crate::{CARRIERS, exe, same, turn};

/// Longer than a running straddle takes to look again at what tells nobody.
const LOOK: Duration = Duration::from_secs(45);

/// The programs of ours on a host.
pub(crate) fn programs(host: &Host) -> Vec<FastPath> {
    host.inside(|| Live::open().unwrap().observe(&[]).unwrap().fast).unwrap()
}

fn behind_the_uplink(host: &Host) -> Option<FastPath> {
    programs(host).into_iter().find(|program| program.hook != Hook::Egress)
}

/// How many packets went fast and slow, both ways.
fn carried(host: &Installed<'_>) -> Result<(u64, u64), LabError> {
    let output = host.try_verb(&["status", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let bridge = &status["bridges"][0];
    let fast = ["outward", "inward"].iter().filter_map(|way| bridge["fast"][way]["packets"].as_u64()).sum();
    let slow = ["packets_out", "packets_in"].iter().filter_map(|way| bridge["counters"][way].as_u64()).sum();
    assert_eq!(bridge["fast"]["lost"].as_u64().unwrap_or(0), 0, "{status}");
    Ok((fast, slow))
}

#[test]
fn carried_bytes_flow_on_when_their_processes_are_killed() -> Result<(), LabError> {
    let Some(_turn) = turn("carried_bytes_flow_on_when_their_processes_are_killed") else { return Ok(()) };
    for carrier in CARRIERS {
        let world = World::build(WorldOptions::default())?;
        let states = [HostState::read(&world.lender)?, HostState::read(&world.borrower)?];
        let straddle = Straddle::borrow_by(&world, exe(), carrier, "require")?;
        let hosts = [straddle.on(&world.lender), straddle.on(&world.borrower)];
        let running = [hosts[0].run()?, hosts[1].run()?];
        let before = [programs(&world.lender), programs(&world.borrower)];
        assert_eq!(before.each_ref().map(Vec::len), [2, 2]);
        while_bytes_flow((&world.client, &world.borrower), BORROWED.into(), |flow| {
            flow.goes_on("with all")?;
            // Dropped is killed.
            drop(running);
            flow.goes_on("without a process")?;
            let former = carried(&hosts[0])?.0;
            let again = [hosts[0].run()?, hosts[1].run()?];
            assert_eq!([programs(&world.lender), programs(&world.borrower)], before, "they are adopted");
            flow.goes_on("with all again")?;
            assert!(carried(&hosts[0])?.0 > former, "and count on");
            for host in &hosts {
                let status = host.json("status")?;
                assert_eq!(status["well"], true, "{status}");
            }
            again.into_iter().try_for_each(|process| process.stop(LIMIT).map(drop))?;
            flow.goes_on("after a good end")
        })?;
        for (host, state) in [&world.lender, &world.borrower].into_iter().zip(states) {
            straddle.on(host).down()?;
            assert_eq!(programs(host), []);
            same("after down", &state, host);
        }
    }
    Ok(())
}

#[test]
fn carried_bytes_change_paths() -> Result<(), LabError> {
    let Some(_turn) = turn("carried_bytes_change_paths") else { return Ok(()) };
    let world = World::build(WorldOptions::default())?;
    let write = |word: &str| Straddle::borrow_by(&world, exe(), Carrier::Ip6gre, word);
    let straddle = write("auto")?;
    let hosts = [straddle.on(&world.lender), straddle.on(&world.borrower)];
    let running = [hosts[0].run()?, hosts[1].run()?];
    while_bytes_flow((&world.client, &world.borrower), BORROWED.into(), |flow| {
        flow.goes_on("fast")?;
        for host in &hosts {
            let (fast, slow) = carried(host)?;
            assert!(fast > 99 * slow, "{fast} packets went fast and {slow} slow");
        }
        write("off")?;
        hosts.iter().try_for_each(|host| host.up().map(drop))?;
        assert_eq!(programs(&world.lender), []);
        flow.goes_on("slow")?;
        let (fast, slow) = carried(&hosts[0])?;
        assert!(fast == 0 && slow > 1000, "{fast} packets went fast and {slow} slow");

        write("require")?;
        hosts.iter().try_for_each(|host| host.up().map(drop))?;
        flow.goes_on("fast again")?;
        assert!(carried(&hosts[0])?.0 > 1000);

        // Somebody takes them away.
        let gone = behind_the_uplink(&world.lender).expect("a program behind the uplink");
        world.lender.inside(|| {
            Live::open().unwrap().execute(&Step::Remove(Object::FastPath(gone.clone()))).unwrap()
        })?;
        world.lender.run(&["tc", "qdisc", "del", "dev", gone.serves(), "clsact"])?;
        wait::until("the programs to come back", LOOK, || {
            (programs(&world.lender).len() == 2).then_some(())
        })?;
        flow.goes_on("by programs that came back")
    })?;
    hosts.iter().try_for_each(|host| host.down().map(drop))?;
    running.into_iter().try_for_each(|process| process.ends(LIMIT))
}

/// Somebody else's filter at the uplink sees what it saw before, and stays.
#[test]
fn others_filters_at_the_uplink_stay() -> Result<(), LabError> {
    let Some(_turn) = turn("others_filters_at_the_uplink_stay") else { return Ok(()) };
    let world = World::build(WorldOptions::default())?;
    let lender = &world.lender;
    lender.run(&["tc", "qdisc", "add", "dev", UPLINK, "clsact"])?;
    // A classic program that matches everything.
    let everything = ["bpf", "bytecode", "1,6 0 0 4294967295", "flowid", "1:1"];
    lender.run(&[&["tc", "filter", "add", "dev", UPLINK, "ingress"], &everything[..]].concat())?;
    let shown =
        || lender.run(&["tc", "filter", "show", "dev", UPLINK, "ingress"]).map(|output| output.stdout);
    let before = shown()?;
    let straddle = Straddle::borrow_by(&world, exe(), Carrier::Ip4ip6, "require")?;
    straddle.on(lender).up()?;
    assert_eq!(shown()?, before);
    assert!(behind_the_uplink(lender).is_some());
    straddle.on(lender).down()?;
    assert_eq!(shown()?, before);
    assert_eq!(programs(lender), []);
    Ok(())
}

/// Whether a packet is one for IPsec is the kernel's to say: it sees them all while there is a policy.
#[test]
fn with_ipsec_policies_all_packets_go_slow() -> Result<(), LabError> {
    let Some(_turn) = turn("with_ipsec_policies_all_packets_go_slow") else { return Ok(()) };
    let world = World::build(WorldOptions::default())?;
    let straddle = Straddle::borrow_by(&world, exe(), Carrier::Ip4ip6, "require")?;
    let hosts = [straddle.on(&world.lender), straddle.on(&world.borrower)];
    let running = [hosts[0].run()?, hosts[1].run()?];
    let answered = || Ok::<_, LabError>(ping(&world.client, BORROWED.into(), 10)?.complete());
    assert!(answered()?);
    let (fast, slow) = carried(&hosts[0])?;
    assert!(fast >= 20, "{fast} packets went fast and {slow} slow");
    for way in ["in", "out"] {
        let ends = ["src", "198.18.0.1", "dst", "198.18.0.2"];
        world.lender.run(&[&["ip", "xfrm", "policy", "add"], &ends[..], &["dir", way]].concat())?;
    }
    assert!(answered()?);
    let after = carried(&hosts[0])?;
    assert!(after.0 == fast && after.1 >= slow + 20, "{after:?} after {fast} and {slow}");
    let status = hosts[0].json("status")?;
    assert_eq!(status["bridges"][0]["fast"]["slow_inward"][0][0], "ipsec", "{status}");
    world.lender.run(&["ip", "xfrm", "policy", "flush"])?;
    assert!(answered()?);
    assert!(carried(&hosts[0])?.0 >= fast + 20);
    hosts.iter().try_for_each(|host| host.down().map(drop))?;
    running.into_iter().try_for_each(|process| process.ends(LIMIT))
}

/// The borrower's uplink is a device above the one that has the cable.
#[test]
fn uplinks_above_others_carry_fast() -> Result<(), LabError> {
    let Some(_turn) = turn("uplinks_above_others_carry_fast") else { return Ok(()) };
    let above = [
        ("link add up0 type bridge", "link set eth0 master up0"),
        ("link add up0 link eth0 type macvlan mode bridge", "link set eth0 promisc on"),
    ];
    for (makes, joins) in above {
        let world = World::build(WorldOptions::default())?;
        world.borrower.ip(&format!(
            "
            {makes}
            address del 2001:db8:eec0::2/64 dev eth0
            {joins}
            link set up0 up
            address add 2001:db8:eec0::2/64 dev up0 nodad
            route replace default via 2001:db8:eec0::1 dev up0
            "
        ))?;
        let text = straddle_lab::straddle::config(Carrier::Ip6gre, "require");
        let (lender, borrower) = text.split_once("[host.borrower]").unwrap();
        let text = format!("{lender}[host.borrower]{}", borrower.replacen(UPLINK, "up0", 1));
        let straddle = Straddle::with_config(&world, exe(), &text)?;
        let hosts = [straddle.on(&world.lender), straddle.on(&world.borrower)];
        let running = [hosts[0].run()?, hosts[1].run()?];
        assert_eq!(behind_the_uplink(&world.borrower).map(|program| program.dev), Some("up0".into()));
        while_bytes_flow((&world.client, &world.borrower), BORROWED.into(), |flow| flow.goes_on(makes))?;
        for host in &hosts {
            let (fast, slow) = carried(host)?;
            assert!(fast > 99 * slow, "{makes}: {fast} packets went fast and {slow} slow");
        }
        hosts.iter().try_for_each(|host| host.down().map(drop))?;
        running.into_iter().try_for_each(|process| process.ends(LIMIT))?;
    }
    Ok(())
}
