//! IPv6 for hosts that have only IPv4, as `straddle lab tunnel6` shows it.
//!
//! ```text
//!  web ── inet ── vps       box and shed have tunnels to the vps
//!         │  │
//!        box shed ── pc
//! ```

use std::fs;
use std::net::Ipv6Addr;
use std::time::Duration;

use serde_json::Value;
use straddle_lab::host::Host;
use straddle_lab::probe::ping;
use straddle_lab::process::Process;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Broker;
use straddle_lab::{LabError, Tunnel6Options, tunnel6, wait};

use crate::crash::{Stage, every_kill_is_survived};
use crate::{exe, good, turn};

const LONG: Duration = Duration::from_secs(15);

#[test]
fn two_hosts_have_ipv6() -> Result<(), LabError> {
    let Some(_turn) = turn("two_hosts_have_ipv6") else { return Ok(()) };
    let mut stages = Vec::new();
    let report = tunnel6(&Tunnel6Options::default(), exe(), &mut |stage| stages.push(stage.to_owned()))?;
    good(&report);
    assert!(!stages.is_empty(), "progress is told");
    Ok(())
}

/// A world with one file for all, and a key.
fn world() -> Result<(Broker, Straddle), LabError> {
    let world = Broker::build()?;
    let key = world.directory().join("shed.key");
    let straddle = Straddle::within(world.directory(), exe(), &Broker::config(&key))?;
    straddle.on(&world.vps).verb(&["key", &key.display().to_string()])?;
    Ok((world, straddle))
}

fn stage(pick: fn(&Broker) -> &Host) -> Result<Stage, LabError> {
    let (world, straddle) = world()?;
    Ok(Stage { host: pick(&world).clone(), world: Box::new(world), straddle })
}

#[test]
fn a_server_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_server_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_survived(|| stage(|world| &world.vps))
}

#[test]
fn a_client_with_a_lan_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_client_with_a_lan_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_survived(|| stage(|world| &world.shed))
}

/// A client with IPv6 of its own keeps it; its tunnel answers all the same.
#[test]
fn a_client_keeps_the_ipv6_that_it_has() -> Result<(), LabError> {
    let Some(_turn) = turn("a_client_keeps_the_ipv6_that_it_has") else { return Ok(()) };
    let (world, straddle) = world()?;
    world.inet.ip("address add 2001:db8:b::1/64 dev box nodad")?;
    world.box_.ip("address add 2001:db8:b::7/64 dev eth0 nodad\nroute add default via 2001:db8:b::1")?;
    let running = [straddle.on(&world.vps).run()?, straddle.on(&world.box_).run()?];
    let way = world.box_.run(&["ip", "-6", "route", "get", &Broker::WEB.to_string()])?.stdout;
    assert!(way.contains("dev eth0") && way.contains("src 2001:db8:b::7"), "{way}");
    assert!(ping(&world.web, Broker::BOX.into(), 10)?.complete(), "reached by its tunnel");
    let shown = straddle.on(&world.box_).verb(&["plan"])?.stdout;
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert!(words.join(" ").contains("stays in front"), "{shown}");
    for (host, process) in [&world.vps, &world.box_].into_iter().zip(running) {
        straddle.on(host).down()?;
        process.ends(LONG)?;
    }
    Ok(())
}

/// A client's tunnel begins where the file says: what comes from elsewhere is nobody's, whatever is inside.
#[test]
fn a_tunnel_takes_nothing_from_elsewhere() -> Result<(), LabError> {
    let Some(_turn) = turn("a_tunnel_takes_nothing_from_elsewhere") else { return Ok(()) };
    let (world, straddle) = world()?;
    let own = fs::read_to_string(world.directory().join("straddle.toml")).unwrap();
    let folder = world.directory().join("elsewhere");
    fs::create_dir(&folder).unwrap();
    let elsewhere = Straddle::within(&folder, exe(), &own.replace("198.51.100.7/24", "198.51.100.8/24"))?;
    world.box_.ip("address add 198.51.100.8/24 dev eth0")?;
    let web = Broker::WEB.to_string();
    for fast in ["require", "off"] {
        let text = own.replace("[host.vps]", &format!("[host.vps]\nfast-path = \"{fast}\""));
        fs::write(world.directory().join("straddle.toml"), text).unwrap();
        let server = straddle.on(&world.vps).run()?;
        for (file, at_home) in [(&straddle, true), (&elsewhere, false)] {
            let client = file.on(&world.box_).run()?;
            if at_home {
                let first = || ping(&world.box_, Broker::WEB.into(), 1).ok().filter(|ping| ping.complete());
                wait::until("the box to reach the web", LONG, first)?;
            }
            let before = from_elsewhere(&straddle, &world.vps)?;
            world.box_.try_run(&["ping", "-n", "-q", "-c", "5", "-i", "0.01", "-W", "0.5", &web])?;
            let counted = || from_elsewhere(&straddle, &world.vps).ok().map(|now| now - before);
            if at_home {
                assert_eq!(counted(), Some(0), "fast-path {fast}");
            } else {
                let what = format!("five to be counted, fast-path {fast}");
                wait::until(&what, LONG, || counted().filter(|count| *count >= 5))?;
            }
            file.on(&world.box_).down()?;
            client.ends(LONG)?;
        }
        straddle.on(&world.vps).down()?;
        server.ends(LONG)?;
    }
    Ok(())
}

/// How many packets a server has dropped that came from no client's endpoint: they count at its first tunnel.
fn from_elsewhere(straddle: &Straddle, vps: &Host) -> Result<u64, LabError> {
    // The shed has not told yet where it is, so not all is in step.
    let shown = straddle.on(vps).try_verb(&["status", "--json"])?.stdout;
    let status: Value = serde_json::from_str(&shown).unwrap();
    let drops = status["bridges"][0]["counters"]["drops"].as_array().into_iter().flatten();
    Ok(drops.filter(|drop| drop[0] == "unknown-peer").filter_map(|drop| drop[1].as_u64()).sum())
}

/// Who is answered for follows the file while the server runs, and so does where answers come from.
#[test]
fn neighbours_follow_the_file() -> Result<(), LabError> {
    let Some(_turn) = turn("neighbours_follow_the_file") else { return Ok(()) };
    let (world, straddle) = world()?;
    let running = [straddle.on(&world.vps).run()?, straddle.on(&world.box_).run()?];
    let near = Broker::NEAR_BOX;
    let all = Broker::config(&world.directory().join("shed.key"));
    let reached = |address: Ipv6Addr, expected: bool| {
        let what = format!("{address} to be {}", if expected { "reached" } else { "silent" });
        wait::until(&what, LONG, || {
            world.inet.try_run(&["ip", "-6", "neigh", "flush", "dev", "hoster"]).ok()?;
            let found = ping(&world.web, address.into(), 1).ok()?.received > 0;
            (found == expected).then_some(())
        })
    };
    let change = |text: &str| -> Result<(), LabError> {
        fs::write(world.directory().join("straddle.toml"), text).unwrap();
        straddle.on(&world.vps).up().map(drop)
    };
    reached(near, true)?;
    change(&all.replace(", \"2001:db8:1:100::/64\"", ""))?;
    reached(near, false)?;
    reached(Broker::BOX, true)?;
    change(&all)?;
    reached(near, true)?;

    // From then on no entry of the kernel's is there, which would answer from its own address.
    change(&all.replace("on-link =", "neighbour-source = \"global\"\non-link ="))?;
    let entries = || Some(world.vps.run(&["ip", "-6", "neigh", "show", "proxy"]).ok()?.stdout);
    wait::until("the kernel's entries to go", LONG, || entries().filter(|shown| shown.trim().is_empty()))?;
    let file = world.directory().join("advertisements").display().to_string();
    // Neighbour advertisements (ICMPv6 136), solicited ones.
    let mut command = world.inet.command("tcpdump");
    command.args([
        "-n",
        "-U",
        "-i",
        "hoster",
        "-w",
        &file,
        "icmp6 and ip6[40] == 136 and ip6[44] & 0x40 != 0",
    ]);
    let mut capture = Process::start(command, &world.directory().join("tcpdump.log"))?;
    capture.says("listening", LONG)?;
    reached(Broker::BOX, true)?;
    reached(near, true)?;
    for address in [Broker::BOX, near] {
        let told = wait::until(&format!("an answer for {address}"), LONG, || {
            let heard = world.inet.run(&["tcpdump", "-n", "-r", &file]).ok()?.stdout;
            let told = heard.lines().filter(|line| line.contains(&format!("tgt is {address}")));
            Some(told.map(str::to_owned).collect::<Vec<_>>()).filter(|told| !told.is_empty())
        })?;
        assert!(told.iter().all(|line| line.contains(" 2001:db8:1::10 > ")), "{told:#?}");
    }
    capture.stop(LONG)?;
    for (host, process) in [&world.vps, &world.box_].into_iter().zip(running) {
        straddle.on(host).down()?;
        process.ends(LONG)?;
    }
    Ok(())
}

/// Somebody else's objects, of the same shape as ours: `up` refuses and names them, or leaves them alone.
#[test]
fn foreign_objects_are_left_alone() -> Result<(), LabError> {
    let Some(_turn) = turn("foreign_objects_are_left_alone") else { return Ok(()) };
    let refused = Some("not ours");
    let server: &[(&str, Option<&str>)] = &[
        ("tuntap add st-sit_clients mode tun", refused),
        ("route add 2001:db8:100:100::/64 via 2001:db8:1::1 metric 1024", refused),
        ("route add unreachable 2001:db8:100::/40 metric 4700", refused),
        ("route add unreachable 2001:db8:100::/40 metric 9", None),
        ("neigh add proxy 2001:db8:1::a3 dev eth0", None),
        ("neigh add proxy 2001:db8:1::77 dev eth0", None),
    ];
    let client: &[(&str, Option<&str>)] = &[
        ("tuntap add st-box mode tun", refused),
        ("route add default via fe80::1 dev eth0 metric 4600", refused),
        ("route add default via fe80::1 dev eth0 metric 5", None),
        ("-6 rule add from 2001:db8:1::a3 lookup 4801 pref 4601", refused),
        ("-6 rule add from 2001:db8:1::a3 lookup 77 pref 9", None),
        ("route add unreachable 2001:db8:100:100::/64 metric 4700", refused),
        ("address add 2001:db8:100:100::9/64 dev lo", None),
    ];
    let (world, straddle) = world()?;
    for (host, cases) in [(&world.vps, server), (&world.box_, client)] {
        for (line, refused) in cases {
            foreign(&straddle, host, line, *refused)?;
        }
    }
    Ok(())
}

fn foreign(straddle: &Straddle, host: &Host, line: &str, refused: Option<&str>) -> Result<(), LabError> {
    let bare = HostState::read(host)?;
    host.typed(&[&format!("ip {line}")])?;
    let before = HostState::read(host)?;
    let theirs = bare.difference(&before);
    assert!(!theirs.is_empty(), "{line}: there is something foreign");
    let up = straddle.on(host).try_verb(&["up"])?;
    let said = format!("{}{}", up.stdout, up.stderr);
    if let Some(words) = refused {
        assert!(!up.status.success() && said.contains(words), "{line}: up has to refuse\n{said}");
    } else {
        assert!(up.status.success(), "{line}: up has to work\n{said}");
        let now = bare.difference(&HostState::read(host)?);
        let gone: Vec<_> = theirs.iter().filter(|line| !now.contains(line)).collect();
        assert!(gone.is_empty(), "{line}: gone while up\n{gone:#?}");
        straddle.on(host).down()?;
    }
    let changes = before.difference(&HostState::read(host)?);
    assert!(changes.is_empty(), "{line}: not as it was before up\n{}", changes.join("\n"));
    host.typed(&[&format!("ip {}", line.replace(" add ", " del "))])
}
