//! The program that goes past a translator's device, in a network namespace whose routes it asks. What it sends is what
//! the host would have sent after both passes: the core's packet, two hops less. All else it leaves as it was.
//!
//! ```text
//!  IPv6, and what is mapped ── six ─┬─ four ── all other IPv4
//!                                  tun
//! ```
//!
//! Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "fast/core.rs"]
mod core;
#[path = "fast/host.rs"]
mod host;
#[path = "fast/root.rs"]
mod root;
#[path = "fast/worlds.rs"]
#[allow(dead_code, reason = "what other programs need beyond")]
mod worlds;

use std::collections::BTreeMap;
use std::time::Duration;

use straddle_intent::object::Tables;
use straddle_kernel::fast::{Loaded, Watch};
use straddle_xlat::{State, Translator};

use core::{Core, same};
use host::{ETHERNET, HARDWARE, REDIRECT, SHORTEST, TICKS, UNSPEC, index, ip, nft};
use root::root;
use worlds::{Made, Random, World, packet, worlds};

/// Both passes through the host take a hop each, the translator one.
const PASSES: u8 = 2;
const PACKETS: usize = 60_000;

/// A namespace for this thread, and the program in it.
struct Host {
    program: Loaded,
    six: u32,
    four: u32,
    translator: Translator,
    state: State,
    room: Vec<u8>,
}

impl Host {
    fn new(world: &World) -> Host {
        // SAFETY: only this thread leaves the namespace, and it has opened nothing in the former one.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        for dev in ["six", "four"] {
            ip(&format!("link add {dev} address 02:00:00:00:00:01 type veth peer name {dev}-peer"));
            ip(&format!("link set {dev} mtu 9000 up"));
            ip(&format!("link set {dev}-peer up"));
        }
        ip("tuntap add mode tun name tun");
        ip("link set tun mtu 9000 up");
        for key in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/thread-self/root/proc/sys/net/{key}"), "1").unwrap();
        }
        ip("-6 route add default dev six");
        ip("-4 route add default dev four");
        for pool in &world.config.pool6 {
            ip(&format!("-6 route add {} dev tun", pool.net()));
        }
        for mapping in world.config.eam.mappings() {
            ip(&format!("-4 route replace {} dev tun", mapping.v4));
        }
        let mut program = Loaded::direct(&Tables::new(&world.config), index("tun"), "").unwrap();
        program.watched(&watch()).unwrap();
        let translator = Translator::new(world.config.clone());
        Host {
            program,
            six: index("six"),
            four: index("four"),
            translator,
            state: State::new(1),
            room: vec![0; 70_000],
        }
    }

    /// Whether it goes directly. What it becomes then is compared.
    fn goes(&mut self, packet: &[u8]) -> bool {
        let six = packet[0] >> 4 == 6;
        let (dev, kind) = if six { (self.six, [0x86, 0xdd]) } else { (self.four, [0x08, 0x00]) };
        let frame = [&HARDWARE[..], &[0; 6], &kind, packet].concat();
        let (returned, out) = self.program.test_from(dev, &frame, &mut self.room).unwrap();
        if returned == UNSPEC {
            assert!(out == frame, "left alone, and changed: {packet:02x?}");
            return false;
        }
        assert_eq!(returned, REDIRECT, "{packet:02x?}");
        let core = Core::of(&self.translator, &mut self.state, &passed(packet));
        assert!(core.is_plain(packet), "the core says {:?} of {packet:02x?}", core.verdict);
        let ((_, expected), found) = (core.outs.first().unwrap(), out.get(ETHERNET..).unwrap());
        assert!(same(expected, found), "in {packet:02x?}\nexpected {expected:02x?}\nfound    {found:02x?}");
        true
    }

    /// How often packets were left for this reason.
    fn left(&self, reason: &str) -> u64 {
        let counts = self.program.counts().unwrap();
        counts.slow.iter().find(|(name, _)| *name == reason).map_or(0, |(_, count)| *count)
    }

    /// Has a packet that goes directly left for a reason, as long as something is so.
    fn left_while(
        &mut self,
        packet: &[u8],
        reason: &str,
        begin: impl Fn(&mut Host),
        end: impl Fn(&mut Host),
    ) {
        assert!(self.goes(packet), "before {reason}");
        begin(self);
        std::thread::sleep(TICKS);
        let before = self.left(reason);
        assert!(!self.goes(packet), "{reason}");
        assert_eq!(self.left(reason), before + 1, "{reason}: {:?}", self.program.counts().unwrap());
        end(self);
        std::thread::sleep(TICKS);
        assert!(self.goes(packet), "after {reason}");
    }
}

fn watch() -> Watch {
    Watch { lasts: Duration::from_secs(600), chains: Some(0), mtu: None, devices: Vec::new() }
}

/// The packet with the hops less that both passes take.
fn passed(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 6 {
        packet[7] = packet[7].saturating_sub(PASSES);
        return packet;
    }
    packet[8] = packet[8].saturating_sub(PASSES);
    packet[10..12].fill(0);
    let sum: u32 = packet[..20].chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Whether a packet has hops enough for all, and begins no TCP connection.
fn may_go(packet: &[u8]) -> bool {
    let (hops, protocol, at) =
        if packet[0] >> 4 == 6 { (packet[7], packet[6], 40) } else { (packet[8], packet[9], 20) };
    hops > PASSES + 1 && (protocol != 6 || packet[at + 13] & 2 == 0)
}

#[test]
fn packets_go_as_the_host_would_send_them() {
    if !root("packets_go_as_the_host_would_send_them") {
        return;
    }
    let worlds = worlds();
    let world = worlds.first().unwrap();
    let mut host = Host::new(world);
    let mut random = Random(7);
    let mut ends: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for _ in 0..PACKETS {
        let made = packet(world, &mut random);
        if made.bytes.len() < if made.bytes.first().is_some_and(|byte| byte >> 4 == 6) { 40 } else { 20 } {
            continue;
        }
        let went = host.goes(&made.bytes);
        let core = Core::of(&host.translator, &mut host.state, &passed(&made.bytes));
        let led = core.is_plain(&made.bytes) && is_led(world, &made.bytes, &core.outs[0].1);
        let plain = made.changed.is_none() && may_go(&made.bytes);
        let words = || format!("{}: {:02x?}", made.class, made.bytes.get(..64));
        assert!(led || !went, "led elsewhere: {}", words());
        assert!(went || !led || !plain, "left: {}", words());
        ends.entry(made.class).or_default()[usize::from(!went)] += 1;
    }
    for class in ["TCP", "UDP", "echo", "other transport"] {
        assert!(ends.get(class).is_some_and(|[went, _]| *went > PACKETS / 200), "{class}: {ends:?}");
    }
    assert_eq!(host.program.counts().unwrap().lost, 0);
}

/// Whether the routes of the namespace lead it through the device, and its answers back: its IPv4 address on the IPv6
/// host's side is a mapped one, and the other is not; likewise of the prefixes.
fn is_led(world: &World, before: &[u8], after: &[u8]) -> bool {
    let (six, four) = if before[0] >> 4 == 6 { (before, after) } else { (after, before) };
    let mapped = |octets: &[u8]| {
        let address = std::net::Ipv4Addr::from(<[u8; 4]>::try_from(octets).unwrap());
        world.config.eam.mappings().iter().any(|mapping| mapping.v4.contains(&address))
    };
    let within = |octets: &[u8]| {
        let address = std::net::Ipv6Addr::from(<[u8; 16]>::try_from(octets).unwrap());
        world.config.pool6.iter().any(|pool| pool.contains(address))
    };
    let (source, destination) = (mapped(&four[12..16]), mapped(&four[16..20]));
    let (from, to) = (within(&six[8..24]), within(&six[24..40]));
    if before[0] >> 4 == 6 {
        source && !destination && !from && to
    } else {
        destination && !source && from && !to
    }
}

/// A packet of that host that goes directly.
fn one(world: &World, host: &mut Host, six: bool) -> Vec<u8> {
    let mut random = Random(11);
    loop {
        let made = packet(world, &mut random);
        let longer = made.bytes.len() > 1300 && made.bytes.len() < 1400;
        if longer && made.class == "UDP" && (made.bytes[0] >> 4 == 6) == six && host.goes(&made.bytes) {
            return made.bytes;
        }
    }
}

#[test]
fn what_else_the_host_has_is_asked_for() {
    if !root("what_else_the_host_has_is_asked_for") {
        return;
    }
    let worlds = worlds();
    let world = worlds.first().unwrap();
    let mut host = Host::new(world);
    let tell = |watch: Watch| move |host: &mut Host| host.program.watched(&watch).unwrap();
    let line = |line: &'static str| move |_: &mut Host| ip(line);
    for six in [true, false] {
        let packet = one(world, &mut host, six);
        let out = if six { host.four } else { host.six };
        host.left_while(
            &packet,
            "unwatched",
            tell(Watch { lasts: Duration::ZERO, ..watch() }),
            tell(watch()),
        );
        // No chain of ours is there.
        host.left_while(&packet, "firewall", tell(Watch { chains: Some(1), ..watch() }), tell(watch()));
        host.left_while(&packet, "firewall", tell(Watch { chains: None, ..watch() }), tell(watch()));
        host.left_while(&packet, "route", tell(Watch { devices: vec![out], ..watch() }), tell(watch()));
        for (begin, end) in [
            ("-6 route replace unreachable default metric 1", "-6 route del unreachable default metric 1"),
            ("-4 route replace unreachable default metric 0", "-4 route replace default dev four"),
            ("-4 rule add iif tun blackhole", "-4 rule del iif tun blackhole"),
            ("-6 rule add iif six blackhole", "-6 rule del iif six blackhole"),
        ] {
            let concerns = six || !begin.contains("iif six");
            if concerns {
                host.left_while(&packet, "route", line(begin), line(end));
            }
        }
        host.left_while(&packet, "too-big", line("link set tun mtu 1280"), line("link set tun mtu 9000"));
        let narrow = if six {
            ["link set four mtu 1280", "link set four mtu 9000"]
        } else {
            ["link set six mtu 1280", "link set six mtu 9000"]
        };
        host.left_while(&packet, "too-big", line(narrow[0]), line(narrow[1]));
        host.left_while(&packet, "too-big", tell(Watch { mtu: Some(1280), ..watch() }), tell(watch()));
        let policy = "xfrm policy add src 192.0.2.200/32 dst 192.0.2.201/32 dir fwd";
        host.left_while(&packet, "ipsec", line(policy), line("xfrm policy flush"));
        let (from, to) = if six { ("six", "four") } else { ("four", "six") };
        for (hook, dev) in [("ingress", from), ("ingress", "tun"), ("egress", "tun"), ("egress", to)] {
            let chain =
                format!("add chain netdev t c {{ type filter hook {hook} device {dev} priority 0; }}");
            let begin = |_: &mut Host| nft(&["add table netdev t", &chain]);
            host.left_while(&packet, "firewall", begin, |_| nft(&["delete table netdev t"]));
        }
        // At AppArmor's place, too, and of the version that comes in and the other.
        for (family, priority) in [("ip", "-225"), ("ip6", "-225"), ("inet", "0")] {
            let chain = "type filter hook postrouting priority";
            let chain = format!("add chain {family} t c {{ {chain} {priority}; }}");
            let begin = |_: &mut Host| nft(&[&format!("add table {family} t"), &chain]);
            host.left_while(&packet, "firewall", begin, |_| nft(&[&format!("delete table {family} t")]));
        }
    }
}

/// Rules find ports where SCTP has them, and the SPI of ESP there.
#[test]
fn rules_that_look_at_ports_are_obeyed() {
    if !root("rules_that_look_at_ports_are_obeyed") {
        return;
    }
    let worlds = worlds();
    let world = worlds.first().unwrap();
    let mut host = Host::new(world);
    let mut random = Random(5);
    let mut obeyed = [[0; 2]; 2];
    while obeyed.as_flattened().contains(&0) {
        let Made { bytes, changed, .. } = packet(world, &mut random);
        if changed.is_some() {
            continue;
        }
        let six = bytes[0] >> 4 == 6;
        let (at, protocol) = if six { (40, bytes[6]) } else { (20, bytes[9]) };
        let which = [50, 132].iter().position(|known| *known == protocol);
        let (Some(which), Some(port)) = (which, bytes.get(at..at + 2)) else { continue };
        let port = u16::from_be_bytes([port[0], port[1]]);
        if port == 0 || bytes.len() < at + 4 || !host.goes(&bytes) {
            continue;
        }
        for family in ["-4", "-6"] {
            let [begin, end] =
                ["add", "del"].map(|verb| format!("{family} rule {verb} sport {port} blackhole"));
            host.left_while(&bytes, "route", |_| ip(&begin), |_| ip(&end));
        }
        obeyed[which][usize::from(six)] += 1;
    }
}

/// Ethernet adds to short frames what no host reads.
#[test]
fn short_packets_are_without_padding() {
    if !root("short_packets_are_without_padding") {
        return;
    }
    let worlds = worlds();
    let world = worlds.first().unwrap();
    let mut host = Host::new(world);
    let mut random = Random(3);
    let mut padded = 0;
    while padded < 100 {
        let Made { bytes, .. } = packet(world, &mut random);
        if bytes.len() < 20 || bytes.len() >= SHORTEST || bytes[0] >> 4 != 4 || !host.goes(&bytes) {
            continue;
        }
        padded += 1;
        let frame = |length: usize| {
            let mut frame = [&HARDWARE[..], &[0; 6], &[0x08, 0x00], &bytes].concat();
            frame.resize(ETHERNET + length, 0xaa);
            frame
        };
        let out = |frame: &[u8]| {
            let mut room = [0; 256];
            let (returned, out) = host.program.test_from(host.four, frame, &mut room).unwrap();
            (returned, out.to_vec())
        };
        assert_eq!(out(&frame(SHORTEST)), out(&frame(bytes.len())), "{bytes:02x?}");
        // No frame is too short for this.
        assert_eq!(out(&frame(SHORTEST + 1)), (UNSPEC, frame(SHORTEST + 1)));
    }
}
