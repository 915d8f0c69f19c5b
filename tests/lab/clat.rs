//! IPv4 for an IPv6-only VM, as `straddle lab clat` shows it, and the world that it happens in.
//!
//! ```text
//!  vm ── edge ── core ── nat64 ── inet ── web
//!                  │
//!               resolver
//! ```

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use straddle_lab::probe::ping;
use straddle_lab::process::Process;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{Access, Network};
use straddle_lab::{ClatOptions, ClatVariant, FastPath, LabError, clat, wait};

use crate::{exe, good, same, turn};

fn ipv4(variant: ClatVariant) {
    let mut stages = Vec::new();
    let options = ClatOptions { variant, fast_path: FastPath::Require, ..ClatOptions::default() };
    let report = clat(&options, exe(), &mut |stage| stages.push(stage.to_owned())).unwrap();
    good(&report);
    assert!(!stages.is_empty(), "progress is told");
}

#[test]
fn a_vm_has_ipv4_by_a_given_prefix() {
    let Some(_turn) = turn("a_vm_has_ipv4_by_a_given_prefix") else { return };
    ipv4(ClatVariant::Given);
}

#[test]
fn a_vm_has_ipv4_by_an_advertised_prefix() {
    let Some(_turn) = turn("a_vm_has_ipv4_by_an_advertised_prefix") else { return };
    ipv4(ClatVariant::Pref64);
}

#[test]
fn a_vm_has_ipv4_by_the_answers_of_a_dns64() {
    let Some(_turn) = turn("a_vm_has_ipv4_by_the_answers_of_a_dns64") else { return };
    ipv4(ClatVariant::Dns64);
}

#[test]
fn a_vm_has_ipv4_by_a_routed_prefix() {
    let Some(_turn) = turn("a_vm_has_ipv4_by_a_routed_prefix") else { return };
    ipv4(ClatVariant::Routed);
}

fn by(fast_path: FastPath) {
    let options = ClatOptions { variant: ClatVariant::Pref64, fast_path, ..ClatOptions::default() };
    good(&clat(&options, exe(), &mut |_| ()).unwrap());
}

/// Without the kernel's help.
#[test]
fn a_vm_has_ipv4_by_the_slow_path() {
    let Some(_turn) = turn("a_vm_has_ipv4_by_the_slow_path") else { return };
    by(FastPath::Off);
}

#[test]
fn a_vm_has_ipv4_while_the_paths_change_places() {
    let Some(_turn) = turn("a_vm_has_ipv4_while_the_paths_change_places") else { return };
    by(FastPath::Switched);
}

/// Somebody deletes the default route: it comes back. And whoever only waits costs nothing.
#[test]
fn what_was_taken_away_comes_back_and_waiting_costs_nothing() -> Result<(), LabError> {
    let Some(_turn) = turn("what_was_taken_away_comes_back_and_waiting_costs_nothing") else { return Ok(()) };
    let world = Access::build(Network::default())?;
    let file = "[host.vm]\nuplink = \"eth0\"\n\n[[clat]]\nhost = \"vm\"\nprefix64 = \"2001:db8:64::/96\"\n";
    let straddle = Straddle::within(world.directory(), exe(), file)?;
    let vm = straddle.on(&world.vm);
    let running = vm.run()?;
    world.vm.ip("route del default dev st-clat metric 4700")?;
    wait::until("the default route to come back", Duration::from_secs(5), || {
        let shown = world.vm.run(&["ip", "route", "show", "default"]).ok()?.stdout;
        shown.contains("st-clat").then_some(())
    })?;
    assert!(ping(&world.vm, Access::WEB.into(), 20)?.complete());

    let status = vm.json("status")?;
    let pid = status["served_by"].as_u64().unwrap();
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    // A second in which somebody else has something to do.
    world.web.run(&["ping", "-n", "-q", "-c", "11", "-i", "0.1", &Access::INET.to_string()])?;
    let spent = ticks() - before;
    assert!(spent <= 10, "{spent} ticks of a hundred for nothing");
    vm.down()?;
    running.ends(Duration::from_secs(10))
}

/// As long as no NAT64 is known, IPv4 fails at once: whoever has another way does not wait for this one.
#[test]
fn ipv4_fails_at_once_as_long_as_no_nat64_is_known() -> Result<(), LabError> {
    let Some(_turn) = turn("ipv4_fails_at_once_as_long_as_no_nat64_is_known") else { return Ok(()) };
    let world = Access::build(Network::default())?;
    world.resolver.nft(DEAF)?;
    let straddle = Straddle::within(world.directory(), exe(), DISCOVERS)?;
    let vm = straddle.on(&world.vm);
    let running = vm.run()?;
    let web = SocketAddr::from((Access::WEB, 80));
    let begun = Instant::now();
    let refused = world.vm.inside(|| TcpStream::connect_timeout(&web, Duration::from_secs(5)))?.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NetworkUnreachable, "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(1), "after {:?}", begun.elapsed());
    let status = vm.try_verb(&["status"])?.stdout;
    assert!(status.contains("1 answers of its own") && status.contains("no-prefix 1: "), "{status}");

    world.resolver.nft("delete table inet deaf")?;
    wait::until("the prefix", Duration::from_secs(15), || {
        ping(&world.vm, Access::WEB.into(), 1).ok().filter(|ping| ping.complete())
    })?;
    vm.down()?;
    running.ends(Duration::from_secs(10))
}

/// What the kernel would find out of an address of its own: somebody else has it.
#[test]
fn an_address_that_somebody_has_is_refused() -> Result<(), LabError> {
    let Some(_turn) = turn("an_address_that_somebody_has_is_refused") else { return Ok(()) };
    let world = Access::build(Network::default())?;
    world.edge.ip("address add 2001:db8:eec0::464/64 dev vm nodad")?;
    let state = HostState::read(&world.vm)?;
    let straddle = Straddle::within(world.directory(), exe(), GIVEN)?;
    let vm = straddle.on(&world.vm);
    let refused = vm.try_verb(&["up"])?;
    assert!(!refused.status.success(), "up went through");
    let told = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("somebody on eth0 answers for 2001:db8:eec0::464 already"), "{told}");
    same("after the refusal", &state, &world.vm);
    vm.verb(&["up", "--force"])?;
    vm.down()?;
    world.edge.ip("address del 2001:db8:eec0::464/64 dev vm\nneigh flush all")?;
    world.vm.ip("neigh flush all")?;
    vm.up()?;
    vm.down()?;
    same("after down", &state, &world.vm);
    Ok(())
}

/// A resolver that does not answer is waited for; a router that has something to tell meanwhile is heard.
#[test]
fn a_router_is_heard_while_a_resolver_is_silent() -> Result<(), LabError> {
    let Some(_turn) = turn("a_router_is_heard_while_a_resolver_is_silent") else { return Ok(()) };
    let mut world = Access::build(Network::default())?;
    world.resolver.nft(DEAF)?;
    let straddle = Straddle::within(world.directory(), exe(), DISCOVERS)?;
    let host = world.vm.clone();
    let vm = straddle.on(&host);
    let running = vm.run()?;
    wait::until("the resolver to be asked", Duration::from_secs(5), || {
        let asked = world.resolver.nft_json("list counter inet deaf asked").ok()?;
        asked["nftables"][1]["counter"]["packets"].as_u64().filter(|packets| *packets > 0)
    })?;
    let told = Instant::now();
    world.tell_pref64()?;
    wait::until("IPv4", Duration::from_secs(5), || {
        ping(&world.vm, Access::WEB.into(), 1).ok().filter(|ping| ping.complete())
    })?;
    assert!(told.elapsed() < Duration::from_millis(1500), "after {:?}", told.elapsed());
    vm.down()?;
    running.ends(Duration::from_secs(10))
}

/// IPv4 of the host's own comes and goes: connections through the CLAT stay, and so do its counters.
#[test]
fn native_ipv4_that_comes_and_goes_interrupts_nothing() -> Result<(), LabError> {
    let Some(_turn) = turn("native_ipv4_that_comes_and_goes_interrupts_nothing") else { return Ok(()) };
    let world = Access::build(Network::default())?;
    // The loops' own counters are asked: all packets go through them.
    let file = format!("{GIVEN}fast-path = \"off\"\n");
    let straddle = Straddle::within(world.directory(), exe(), &file)?;
    let vm = straddle.on(&world.vm);
    let running = vm.run()?;
    assert!(ping(&world.vm, Access::WEB.into(), 5)?.complete());
    let packets = || -> Result<(u64, bool), LabError> {
        let bridge = &vm.json("status")?["bridges"][0];
        let aside = !bridge["bridge"]["translator"]["aside"].is_null();
        Ok((bridge["counters"]["to6"]["packets"].as_u64().unwrap_or(0), aside))
    };
    let (before, aside) = packets()?;
    assert!(before >= 5 && !aside, "{before} packets");
    let leads = || {
        let shown = world.vm.run(&["ip", "route", "show", "default"]).ok()?.stdout;
        Some(shown.contains("st-clat"))
    };
    world.vm.ip("address add 10.9.9.2/24 dev eth0\nroute add default via 10.9.9.1")?;
    wait::until("the CLAT to stand aside", Duration::from_secs(5), || leads().filter(|leads| !leads))?;
    let (during, aside) = packets()?;
    assert!(during >= before && aside, "{before} packets, then {during}");
    world.vm.ip("route del default via 10.9.9.1\naddress del 10.9.9.2/24 dev eth0")?;
    wait::until("the CLAT to come forward", Duration::from_secs(5), || leads().filter(|leads| *leads))?;
    assert!(ping(&world.vm, Access::WEB.into(), 5)?.complete());
    let (after, aside) = packets()?;
    assert!(after >= before + 5 && !aside, "{before} packets, then {after}");
    vm.down()?;
    running.ends(Duration::from_secs(10))
}

/// The network is renumbered: the address moves to the network that stays, though the other is valid still.
#[test]
fn a_deprecated_network_is_left() -> Result<(), LabError> {
    let Some(_turn) = turn("a_deprecated_network_is_left") else { return Ok(()) };
    let world = Access::build(Network::default())?;
    world.vm.ip("address add 2001:db8:eeb0::7/64 dev eth0 nodad")?;
    let file = "[host.vm]\nuplink = \"eth0\"\n\n[[clat]]\nhost = \"vm\"\nprefix64 = \"2001:db8:64::/96\"\n";
    let straddle = Straddle::within(world.directory(), exe(), file)?;
    let vm = straddle.on(&world.vm);
    let running = vm.run()?;
    let translated = |net: &str| -> Option<()> {
        let shown = world.vm.run(&["ip", "-6", "route", "show", "dev", "st-clat"]).ok()?.stdout;
        shown.starts_with(net).then_some(())
    };
    assert!(translated("2001:db8:eeb0:").is_some(), "the first of two that are as good");
    world.vm.ip("address change 2001:db8:eeb0::7/64 dev eth0 preferred_lft 0 valid_lft 600")?;
    wait::until("another address", Duration::from_secs(5), || translated("2001:db8:eec0:"))?;
    wait::until("IPv4 by it", Duration::from_secs(5), || {
        ping(&world.vm, Access::WEB.into(), 1).ok().filter(|ping| ping.complete())
    })?;
    vm.down()?;
    running.ends(Duration::from_secs(10))
}

/// The same questions, answered by a translator that is not ours: what fails with ours alone is ours.
#[test]
fn the_access_network_is_right_by_tayga() {
    let Some(_turn) = turn("the_access_network_is_right_by_tayga") else { return };
    for variant in [ClatVariant::Given, ClatVariant::Routed] {
        let options = ClatOptions { variant, by_hand: true, ..ClatOptions::default() };
        good(&clat(&options, exe(), &mut |_| ()).unwrap());
    }
}

/// What arrives at the VM, decoded by scapy.
#[test]
fn advertisements_are_read_by_scapy() -> Result<(), LabError> {
    let Some(_turn) = turn("advertisements_are_read_by_scapy") else { return Ok(()) };
    let known = Command::new(PYTHON).args(["-c", "import scapy"]).output().unwrap();
    assert!(known.status.success(), "this test needs the package python3-scapy");
    let both = "prefix 2001:db8:eec0:: /64 L1 A1 86400\n";
    let pref64 = "pref64 2001:db8:64:: /96 600\n";
    for (network, options) in [
        (Network { pref64: true, ..Network::default() }, [both, pref64].concat()),
        (Network::default(), both.to_owned()),
        (Network { pref64: true, routed: true, ..Network::default() }, pref64.to_owned()),
    ] {
        let resolver: Ipv6Addr = Access::RESOLVER;
        let expected = format!(
            "from fe80::ff:fe00:1e to ff02::1 hop limit 255 checksum right\n\
             router 9000 M0 O0\n{options}resolver {resolver} 86400\n"
        );
        assert_eq!(heard(&Access::build(network)?)?, expected, "{network:?}");
    }
    Ok(())
}

/// Whom a host asks, it answers at once; nobody waits for the next of its own accord.
#[test]
fn a_router_that_is_asked_answers() -> Result<(), LabError> {
    let Some(_turn) = turn("a_router_that_is_asked_answers") else { return Ok(()) };
    let world = Access::build(Network::default())?;
    let script = format!("{HEAD}\n{ASK}");
    let took = world.vm.run(&[PYTHON, "-c", &script])?.stdout;
    let took: f64 = took.trim().parse().unwrap();
    assert!(took < 0.5, "answered after {took} s");
    Ok(())
}

fn heard(world: &Access) -> Result<String, LabError> {
    let script = format!("{HEAD}\n{DECODE}");
    let mut command = world.vm.command(PYTHON);
    command.args(["-c", &script]);
    let mut python = Process::start(command, &world.directory().join("scapy.log"))?;
    python.says("resolver", Duration::from_secs(20))?;
    Ok(python.log())
}

const DISCOVERS: &str = "
[host.vm]
uplink = \"eth0\"

[[clat]]
host = \"vm\"
";

const GIVEN: &str = "
[host.vm]
uplink = \"eth0\"

[[clat]]
host = \"vm\"
prefix64 = \"2001:db8:64::/96\"
address6 = \"2001:db8:eec0::464\"
";

/// A resolver that does not answer.
const DEAF: &str = "
table inet deaf {
    counter asked { }
    chain input {
        type filter hook input priority 0;
        udp dport 53 counter name asked drop;
    }
}
";

/// Debian's packages of Python belong to this one, whichever comes first in PATH.
const PYTHON: &str = "/usr/bin/python3";

const HEAD: &str = "
import socket, struct, time
from scapy.config import conf
conf.use_pcap = False
from scapy.all import AsyncSniffer, Ether, IPv6, NoPayload, Raw, sendp, raw, in6_chksum
from scapy.layers.inet6 import *
conf.iface = 'eth0'
def sniff(**more):
    return AsyncSniffer(iface='eth0', lfilter=lambda p: ICMPv6ND_RA in p, count=1, timeout=15, **more)
";

/// Older scapys do not know PREF64 and take all that follows for a part of it: the options are told apart by
/// their lengths, and this one is read here (RFC 8781 §4).
const DECODE: &str = "
sniffer = sniff()
sniffer.start()
sniffer.join()
packet = sniffer.results[0]
ip, ra = packet[IPv6], packet[ICMPv6ND_RA]
message = bytearray(raw(ip.payload)[:ip.plen])
told, message[2:4] = bytes(message[2:4]), b'\\0\\0'
right = struct.unpack('!H', told)[0] == in6_chksum(58, ip, bytes(message))
lines = ['from %s to %s hop limit %d checksum %s' % (ip.src, ip.dst, ip.hlim, 'right' if right else 'wrong')]
lines.append('router %d M%d O%d' % (ra.routerlifetime, ra.M, ra.O))
option = ra.payload
while not isinstance(option, NoPayload):
    kind, length = raw(option)[0], raw(option)[1]
    if kind == 3:
        lines.append('prefix %s /%d L%d A%d %d' % (option.prefix, option.prefixlen, option.L, option.A,
                                                 option.validlifetime))
    elif kind == 38:
        scaled = struct.unpack('!H', raw(option)[2:4])[0]
        assert length == 2
        prefix = socket.inet_ntop(socket.AF_INET6, raw(option)[4:16] + bytes(4))
        lines.append('pref64 %s /%d %d' % (prefix, [96, 64, 56, 48, 40, 32][scaled & 7], scaled >> 3 << 3))
    elif kind == 25:
        lines.append('resolver %s %d' % (option.dns[0], option.lifetime))
    else:
        lines.append('option %d' % kind)
    rest = raw(option)[length * 8:]
    option = icmp6ndoptscls.get(rest[0], Raw)(rest) if rest else NoPayload()
print('\\n'.join(lines), flush=True)
";

const ASK: &str = "
began = []
def ask():
    began.append(time.monotonic())
    sendp(Ether(dst='33:33:00:00:00:02') / IPv6(src='fe80::ff:fe00:e', dst='ff02::2', hlim=255) / ICMPv6ND_RS(),
          verbose=False)
first = sniff()
first.start()
first.join()
second = sniff(started_callback=ask)
second.start()
second.join()
assert len(second.results) == 1
print(time.monotonic() - began[0])
";
