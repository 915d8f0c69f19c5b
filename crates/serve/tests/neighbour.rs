//! A hoster's link on which a whole prefix is delivered; needs root.
//!
//! ```text
//!  gateway ──────┐
//!  2001:db8:1::1 │                 server ─────────────── client
//!                ├── switch ────── 2001:db8:1::2          2001:db8:1::3
//!  other ────────┘                 forwards, answers      2001:db8:1:100::10
//!  2001:db8:1::7
//! ```
//! For the gateway 2001:db8:1::/64 and 2001:db8:1:100::/56 are on-link.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

use std::io::Write;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use straddle_lab::guard::Guard;
use straddle_lab::host::Host;
use straddle_lab::process::Process;
use straddle_lab::{LabError, wait};
use straddle_serve::neighbour::{Manner, Responder, Source, Table};

const SERVER: &str = "2001:db8:1::2";
/// Assigned, one as a single address and one within a prefix.
const SINGLE: &str = "2001:db8:1::3";
const ROUTED: &str = "2001:db8:1:100::10";
const LONG: Duration = Duration::from_secs(20);

/// Hosts, in the order of the figure.
struct World {
    gateway: Host,
    other: Host,
    switch: Host,
    server: Host,
    guard: Guard,
}

/// `None` without root.
fn world(test: &str) -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "{test} needs root, and CI must not skip it");
        // Not `eprintln`, which the test harness swallows.
        std::io::stderr().write_all(format!("SKIPPED (needs root): {test}\n").as_bytes()).unwrap();
        return None;
    }
    Some(build().unwrap())
}

fn build() -> Result<World, LabError> {
    let mut guard = Guard::start()?;
    let (gateway, other, switch) = (guard.host("gateway")?, guard.host("other")?, guard.host("switch")?);
    let (server, client) = (guard.host("server")?, guard.host("client")?);
    let port = |name: &str, host: &Host| {
        format!(
            "link add {name} type veth peer name eth0 netns {}\nlink set {name} master sw0 up\n",
            host.namespace()
        )
    };
    switch.ip(&format!(
        "link add sw0 type bridge mcast_snooping 0\nlink set sw0 up\n{}{}{}",
        port("gateway", &gateway),
        port("other", &other),
        port("server", &server)
    ))?;
    gateway.ip("
        link set eth0 up
        address add 2001:db8:1::1/64 dev eth0 nodad
        route add 2001:db8:1:100::/56 dev eth0
    ")?;
    other.ip("link set eth0 up\naddress add 2001:db8:1::7/64 dev eth0 nodad")?;
    server.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    server.ip(&format!(
        "
        link add client type veth peer name eth0 netns {}
        link set client up
        address add fe80::1/64 dev client nodad
        link set eth0 up
        address add {SERVER}/64 dev eth0 nodad
        route add {SINGLE}/128 dev client
        route add 2001:db8:1:100::/64 dev client
        ",
        client.namespace()
    ))?;
    client.ip(&format!(
        "
        link set eth0 up
        address add {SINGLE}/128 dev eth0 nodad
        address add {ROUTED}/64 dev eth0 nodad
        route add ::/0 via fe80::1 dev eth0
        "
    ))?;
    let world = World { gateway, other, switch, server, guard };
    for host in [&world.gateway, &world.server] {
        world.settled(host)?;
    }
    Ok(world)
}

impl World {
    /// Waits until the host's link-local address can be used.
    fn settled(&self, host: &Host) -> Result<(), LabError> {
        wait::until("addresses that are no longer tentative", LONG, || {
            let shown = host.run(&["ip", "-6", "addr", "show", "dev", "eth0"]).ok()?.stdout;
            (shown.contains("fe80") && !shown.contains("tentative")).then_some(())
        })
    }

    fn responder(&self, manner: Manner, assigned: &[&str]) -> Responder {
        let table = table(assigned);
        self.server.inside(|| Responder::begin("eth0", manner, table)).unwrap().unwrap()
    }

    /// The time in milliseconds of one ping from the gateway, whose neighbour table is empty before.
    fn ping(&self, target: &str) -> Option<f64> {
        self.gateway.run(&["ip", "neigh", "flush", "all"]).unwrap();
        let asked = self.gateway.try_run(&["ping", "-n", "-c", "1", "-W", "2", target]).unwrap();
        let (_, time) = asked.stdout.split_once("time=")?;
        time.split_whitespace().next()?.parse().ok()
    }

    /// The target is not to be found: nobody answers the gateway.
    fn not_found(&self, target: &str) {
        assert_eq!(self.ping(target), None, "{target}");
        let shown = self.gateway.run(&["ip", "-6", "neigh", "show", target]).unwrap().stdout;
        assert!(!shown.contains("lladdr"), "{shown}");
    }
}

fn table(assigned: &[&str]) -> Table {
    Table::new(assigned.iter().map(|net| net.parse().unwrap()), [SERVER.parse::<Ipv6Addr>().unwrap()])
}

const ROUTER: Manner = Manner { source: Source::LinkLocal, router: true };
const ALL: [&str; 2] = ["2001:db8:1::3/128", "2001:db8:1:100::/64"];

fn count(responder: &Responder, name: &str) -> u64 {
    let counts = responder.report().solicitations;
    counts.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
}

/// Waits until the responder has counted as many.
fn counted(responder: &Responder, name: &str, least: u64) {
    wait::until(name, LONG, || (count(responder, name) >= least).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {:?}", responder.report()));
}

#[test]
fn assigned_addresses_are_answered_and_no_others() {
    let Some(world) = world("assigned_addresses_are_answered_and_no_others") else { return };
    world.not_found(SINGLE);
    let responder = world.responder(ROUTER, &ALL);
    for target in [SINGLE, ROUTED] {
        // The kernel's proxy waits up to 800 ms.
        let time = world.ping(target).unwrap_or_else(|| panic!("{target}: {:?}", responder.report()));
        assert!(time < 100.0, "{target}: {time} ms");
        let shown = world.gateway.run(&["ip", "-6", "neigh", "show", target]).unwrap().stdout;
        assert!(shown.contains("router") && shown.contains("REACHABLE"), "{shown}");
    }
    assert_eq!(responder.report().solicitations, [("answered", 2)]);
    assert_eq!((responder.report().groups, responder.report().groups_refused), (1, 0));
    for (index, target) in ["2001:db8:1::4", "2001:db8:1:101::10"].into_iter().enumerate() {
        world.not_found(target);
        counted(&responder, "not-assigned", index as u64 + 1);
    }
    assert!(world.ping(SERVER).is_some());
    counted(&responder, "own-address", 1);
    assert_eq!(count(&responder, "answered"), 2);
}

#[test]
fn what_is_assigned_can_be_exchanged() {
    let Some(world) = world("what_is_assigned_can_be_exchanged") else { return };
    let responder = world.responder(ROUTER, &[]);
    world.not_found(ROUTED);
    responder.assign(table(&["2001:db8:1:100::/64"])).unwrap();
    assert!(world.ping(ROUTED).is_some());
    world.not_found(SINGLE);
    responder.assign(table(&["2001:db8:1::3/128"])).unwrap();
    assert!(world.ping(SINGLE).is_some());
    world.not_found(ROUTED);
}

/// An address that is configured on the hoster's link comes up, though the responder has it assigned too.
#[test]
fn a_duplicate_address_probe_is_not_answered() {
    let Some(world) = world("a_duplicate_address_probe_is_not_answered") else { return };
    let responder = world.responder(ROUTER, &ALL);
    world.other.ip(&format!("address add {SINGLE}/64 dev eth0")).unwrap();
    counted(&responder, "duplicate-probe", 1);
    let shown = wait::until("the end of the probe", LONG, || {
        let shown = world.other.run(&["ip", "-6", "addr", "show", "dev", "eth0"]).ok()?.stdout;
        (!shown.contains("tentative")).then_some(shown)
    });
    let shown = shown.unwrap();
    assert!(shown.contains(SINGLE) && !shown.contains("dadfailed"), "{shown}");
    assert_eq!(count(&responder, "answered"), 0);
}

#[test]
fn the_source_is_as_chosen() {
    let Some(world) = world("the_source_is_as_chosen") else { return };
    let global: Ipv6Addr = SERVER.parse().unwrap();
    let check = |source: Source, router: bool, expected: &str| {
        let _responder = world.responder(Manner { source, router }, &ALL);
        let log = world.guard.directory().join("capture");
        let mut command = world.gateway.command("tcpdump");
        command.args(["-i", "eth0", "-n", "-v", "-l", "-c", "1"]);
        let about = format!(
            "icmp6 and ip6[40] == 136 and dst host 2001:db8:1::1 and ip6[48:4] == {:#x}",
            0x2001_0db8_u32
        );
        command.arg(about);
        let mut capture = Process::start(command, &log).unwrap();
        capture.says("listening on", LONG).unwrap();
        assert!(world.ping(ROUTED).is_some());
        capture.says("neighbor advertisement", LONG).unwrap();
        let flags = if router { "Flags [router, solicited]" } else { "Flags [solicited]" };
        let seen = capture.log();
        assert!(seen.contains(&format!(" {expected}")) && seen.contains(" > 2001:db8:1::1: "), "{seen}");
        assert!(seen.contains(flags) && seen.contains("destination link-address option"), "{seen}");
        capture.ends(LONG).unwrap();
    };
    check(Source::LinkLocal, true, "fe80::");
    check(Source::Global(global), false, &format!("{SERVER} >"));
    check(Source::AsAsked(global), true, &format!("{SERVER} >"));
}

#[test]
fn it_goes_on_after_the_link_was_down() {
    let Some(world) = world("it_goes_on_after_the_link_was_down") else { return };
    let responder = world.responder(ROUTER, &ALL);
    assert!(world.ping(ROUTED).is_some());
    for flap in 1..=3 {
        world
            .server
            .ip(&format!("link set eth0 down\nlink set eth0 up\naddress replace {SERVER}/64 dev eth0 nodad"))
            .unwrap();
        world.settled(&world.server).unwrap();
        for target in [ROUTED, SINGLE] {
            wait::until("an answer after the flap", LONG, || world.ping(target))
                .unwrap_or_else(|error| panic!("{flap}: {error}: {:?}", responder.report()));
        }
    }
    assert!(!is_ended(&responder, Duration::ZERO));
}

#[test]
fn it_begins_on_a_device_that_is_down() {
    let Some(world) = world("it_begins_on_a_device_that_is_down") else { return };
    world.server.ip("link set eth0 down").unwrap();
    let responder = world.responder(ROUTER, &ALL);
    world.server.ip(&format!("link set eth0 up\naddress replace {SERVER}/64 dev eth0 nodad")).unwrap();
    world.settled(&world.server).unwrap();
    wait::until("an answer", LONG, || world.ping(SINGLE))
        .unwrap_or_else(|error| panic!("{error}: {:?}", responder.report()));
}

#[test]
fn it_ends_with_its_device() {
    let Some(world) = world("it_ends_with_its_device") else { return };
    let responder = world.responder(ROUTER, &ALL);
    assert!(!is_ended(&responder, Duration::ZERO));
    world.switch.ip("link delete server").unwrap();
    assert!(is_ended(&responder, LONG));
    let refused = world.server.inside(|| Responder::begin("eth0", ROUTER, table(&[]))).unwrap();
    let refused = refused.map(drop).unwrap_err().to_string();
    assert_eq!(refused, "finding the uplink: No such device (os error 19)");
}

/// The switch keeps back what no port has asked for: single addresses are found all the same.
#[test]
fn single_addresses_are_found_through_a_switch_that_snoops() {
    let Some(world) = world("single_addresses_are_found_through_a_switch_that_snoops") else { return };
    let settings =
        "mcast_snooping 1 mcast_querier 1 mcast_query_response_interval 10 mcast_startup_query_interval 10";
    let words = format!("ip link set sw0 type bridge {settings}");
    world.switch.run(&words.split_whitespace().collect::<Vec<_>>()).unwrap();
    let responder = world.responder(ROUTER, &ALL);
    // It snoops as soon as it keeps something back.
    wait::until("the switch to snoop", LONG, || world.ping(ROUTED).is_none().then_some(())).unwrap();
    let heard = count(&responder, "answered");
    wait::until("an answer through the switch", LONG, || world.ping(SINGLE))
        .unwrap_or_else(|error| panic!("{error}: {:?}", responder.report()));
    counted(&responder, "answered", heard + 1);
}

/// A thousand single addresses are more groups than one socket may join.
#[test]
fn many_groups() {
    let Some(world) = world("many_groups") else { return };
    let nets: Vec<String> = (0..1000).map(|index| format!("2001:db8:1::1:{index:x}/128")).collect();
    let nets: Vec<&str> = nets.iter().map(String::as_str).collect();
    let begin = Instant::now();
    let responder = world.responder(ROUTER, &nets);
    assert_eq!((responder.report().groups, responder.report().groups_refused), (1000, 0));
    responder.assign(table(&nets[500..])).unwrap();
    assert_eq!(responder.report().groups, 500);
    let shown = world.server.run(&["ip", "maddr", "show", "dev", "eth0"]).unwrap().stdout;
    assert!(shown.contains("ff02::1:ff01:3e7") && !shown.contains("ff02::1:ff01:1\n"), "{shown}");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

fn is_ended(responder: &Responder, patience: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(responder.ended(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::try_from(patience).unwrap())).unwrap();
    !fds[0].revents().is_empty()
}
