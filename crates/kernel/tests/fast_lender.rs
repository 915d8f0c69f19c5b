//! A lender's program, in a network namespace whose routes it asks. What it sends is what the host would have sent after
//! both passes: the core's packet, with one hop less within. What may not leave at once comes in by the tun device as it
//! was sent; all else it leaves as it was.
//!
//! ```text
//!  all of IPv4, and the borrower in IPv6 ── wan ── tun: the address that is lent
//! ```
//!
//! Needs root. `STRADDLE_PACKETS` says how many packets are made up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "fast/host.rs"]
mod host;
#[path = "fast/outer.rs"]
mod outer;
#[path = "fast/root.rs"]
mod root;
#[path = "fast/worlds.rs"]
#[allow(dead_code, reason = "what translators need beyond packets")]
mod worlds;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use straddle_encap::{Kind, encapsulate};
use straddle_intent::object::{Ends, Peers};
use straddle_kernel::fast::{Loaded, Watch};

use host::{ETHERNET, HARDWARE, REDIRECT, SHORTEST, TICKS, UNSPEC, index, ip, nft};
use outer::outer;
use root::root;
use worlds::{Made, Random, World, packet, worlds};

const PACKETS: usize = 40_000;
const LENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
const CARRIER_MTU: usize = 1400;
/// Where an IPv4 header has its TTL, checksum and addresses.
const TTL: usize = 8;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It left at once.
    Direct,
    /// It was decapsulated, and comes in by the device.
    Device,
    /// Nothing was done.
    Left,
}

/// A namespace for this thread, and the program in it.
struct Lender {
    program: Loaded,
    kind: Kind,
    local: IpAddr,
    remote: IpAddr,
    wan: u32,
    room: Vec<u8>,
}

impl Lender {
    fn new(kind: Kind) -> Lender {
        // SAFETY: only this thread leaves the namespace, and it has opened nothing in the former one.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        ip("link add wan address 02:00:00:00:00:01 type veth peer name wan-peer");
        ip("link set wan mtu 9000 up");
        ip("link set wan-peer mtu 9000 up");
        ip("tuntap add mode tun name tun");
        ip("link set tun mtu 1400 up");
        for key in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/thread-self/root/proc/sys/net/{key}"), "1").unwrap();
        }
        ip("address add 2001:db8::1/64 dev wan nodad");
        ip("-4 route add default dev wan");
        ip(&format!("-4 route add {LENT}/32 dev tun"));
        let [local, remote] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
        let ends = Ends { kind, local, peers: Peers::One { remote, mtu: CARRIER_MTU as u32 } };
        let mut program = Loaded::lending(&ends, LENT, index("tun"), "").unwrap();
        program.watched(&watch()).unwrap();
        Lender { program, kind, local, remote, wan: index("wan"), room: vec![0; 70_000] }
    }

    fn run(&mut self, kind: [u8; 2], packet: &[u8]) -> Option<Vec<u8>> {
        let frame = [&HARDWARE[..], &[0; 6], &kind, packet].concat();
        let (returned, out) = self.program.test_from(self.wan, &frame, &mut self.room).unwrap();
        if returned == UNSPEC {
            assert!(out == frame, "left alone, and changed: {packet:02x?}");
            return None;
        }
        assert_eq!(returned, REDIRECT, "{packet:02x?}");
        Some(out.get(ETHERNET..).unwrap().to_vec())
    }

    /// An outer packet around this inner one, from one end to the other.
    fn around(&self, [from, to]: [IpAddr; 2], inner: &[u8]) -> Option<Vec<u8>> {
        let core = encapsulate(self.kind, inner).ok()?;
        let prefix = core.prefix.as_bytes();
        let head = outer(from, to, self.kind, core.traffic_class, prefix.len() + inner.len());
        Some([&head, prefix, inner].concat())
    }

    /// A packet from the internet. What it becomes is compared.
    fn lend(&mut self, packet: &[u8]) -> End {
        let Some(found) = self.run([0x08, 0x00], packet) else { return End::Left };
        // Without what Ethernet adds to short ones.
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let whole = if packet.len() <= SHORTEST { &packet[..total] } else { packet };
        let expected = self.around([self.local, self.remote], &passed(whole));
        assert_eq!(Some(found), expected, "of {packet:02x?}");
        assert!(may_pass(packet) && packet[DESTINATION..][..4] == LENT.octets(), "{packet:02x?}");
        End::Direct
    }

    /// A packet from the borrower. What it becomes is compared.
    fn take_back(&mut self, inner: &[u8]) -> End {
        let Some(sent) = self.around([self.remote, self.local], inner) else { return End::Left };
        let Some(found) = self.run([0x86, 0xdd], &sent) else { return End::Left };
        if found == inner {
            return End::Device;
        }
        assert_eq!(found, passed(inner), "of {inner:02x?}");
        assert!(may_pass(inner) && inner[SOURCE..][..4] == LENT.octets(), "{inner:02x?}");
        End::Direct
    }

    /// The way of a packet that is from or for the address.
    fn goes(&mut self, back: bool, packet: &[u8]) -> End {
        if back { self.take_back(packet) } else { self.lend(packet) }
    }

    /// How often packets were left for this reason.
    fn left(&self, reason: &str) -> u64 {
        let past = self.program.carried().unwrap().direct.unwrap();
        past.slow.iter().filter(|(name, _)| *name == reason).map(|(_, count)| count).sum()
    }

    /// Has a packet that goes directly go another way for a reason.
    fn goes_not(&mut self, back: bool, packet: &[u8], reason: &str) {
        let before = self.left(reason);
        let other = if back { End::Device } else { End::Left };
        assert_eq!(self.goes(back, packet), other, "{reason}");
        assert_eq!(self.left(reason), before + 1, "{reason}: {:?}", self.program.carried().unwrap());
    }

    /// The same as long as something is so.
    fn goes_not_while(
        &mut self,
        (back, packet): (bool, &[u8]),
        reason: &str,
        begin: impl Fn(&mut Lender),
        end: impl Fn(&mut Lender),
    ) {
        assert_eq!(self.goes(back, packet), End::Direct, "before {reason}");
        begin(self);
        std::thread::sleep(TICKS);
        self.goes_not(back, packet, reason);
        end(self);
        std::thread::sleep(TICKS);
        assert_eq!(self.goes(back, packet), End::Direct, "after {reason}");
    }
}

fn watch() -> Watch {
    Watch { lasts: Duration::from_secs(600), chains: Some(0), mtu: None, devices: Vec::new() }
}

/// Puts bytes in place, an even count at an even offset, with the header's checksum as right or wrong as it was (RFC 1624).
fn put(packet: &mut [u8], at: usize, bytes: &[u8]) {
    let words =
        |bytes: &[u8]| -> u32 { bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum() };
    let before = words(&packet[at..at + bytes.len()]);
    let sum = u32::from(!(words(&packet[CHECKSUM..CHECKSUM + 2]) as u16));
    let sum = sum + 0xffff * bytes.len() as u32 / 2 - before + words(bytes);
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !(((folded & 0xffff) + (folded >> 16)) as u16);
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// The packet with one hop less.
fn passed(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let word = [packet[TTL].wrapping_sub(1), packet[TTL + 1]];
    put(&mut packet, TTL, &word);
    packet
}

/// Whether a host passes a packet on that looks so, and nobody must see it before.
fn may_pass(packet: &[u8]) -> bool {
    let fragment = packet[6] & 0x3f != 0 || packet[7] != 0;
    let hosts = [SOURCE, DESTINATION].iter().all(|at| ![0, 127].contains(&packet[*at]) && packet[*at] < 224);
    let begins = packet[9] == 6 && packet[33] & 2 != 0;
    packet[0] == 0x45 && !fragment && packet[TTL] > 1 && hosts && !begins
}

/// An IPv4 packet made up, mostly from or for the address.
fn made_up(worlds: &[World], random: &mut Random, back: bool) -> Made {
    loop {
        let mut made = packet(&worlds[random.below(worlds.len())], random);
        if made.bytes.len() < 20 || made.bytes[0] >> 4 != 4 {
            continue;
        }
        if !random.one_in(8) {
            put(&mut made.bytes, if back { SOURCE } else { DESTINATION }, &LENT.octets());
        }
        return made;
    }
}

#[test]
fn lent_packets_go_as_the_host_would_send_them() {
    if !root("lent_packets_go_as_the_host_would_send_them") {
        return;
    }
    let wanted = std::env::var("STRADDLE_PACKETS").ok().and_then(|count| count.parse().ok());
    let packets = wanted.unwrap_or(PACKETS);
    let worlds = worlds();
    for (number, kind) in
        [Kind::Ip6gre { key: None }, Kind::Ip6gre { key: Some(7) }, Kind::Ip4ip6].into_iter().enumerate()
    {
        let mut lender = Lender::new(kind);
        let mut random = Random(number as u64 + 1);
        let mut counts = [[0; 3]; 2];
        for round in 0..packets / 3 {
            let back = round % 2 == 1;
            let made = made_up(&worlds, &mut random, back);
            let (own, other) = if back { (SOURCE, DESTINATION) } else { (DESTINATION, SOURCE) };
            let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&made.bytes[at..at + 4]).unwrap());
            let known = address(own) == LENT && address(other) != LENT && !address(other).is_link_local();
            let short = made.bytes.len() <= if back { 9000 } else { CARRIER_MTU };
            let plain = made.changed.is_none() && known && short && may_pass(&made.bytes);
            let end = lender.goes(back, &made.bytes);
            assert!(end == End::Direct || !plain, "{end:?} {back}: {}: {:02x?}", made.class, made.bytes);
            counts[usize::from(back)][end as usize] += 1;
        }
        let carried = lender.program.carried().unwrap();
        let past = carried.direct.clone().unwrap();
        assert_eq!(past.outward.packets, counts[0][End::Direct as usize] as u64);
        assert_eq!(past.inward.packets, counts[1][End::Direct as usize] as u64);
        assert_eq!(carried.inward.packets, (counts[1][0] + counts[1][1]) as u64);
        assert_eq!((carried.outward, carried.lost), (past.outward, 0));
        // Many of all, each way.
        assert!(counts.iter().all(|[direct, ..]| *direct > packets / 60), "{counts:?}");
        assert!(counts[1][End::Device as usize] > packets / 60 && counts[0][End::Left as usize] > 0);
    }
}

/// A UDP packet of 1,308 bytes that goes directly.
fn one(back: bool) -> Vec<u8> {
    let other = IpAddr::from([198, 51, 100, 9]);
    let [from, to] = if back { [LENT.into(), other] } else { [other, LENT.into()] };
    let udp = [&[0, 53, 0, 53, 5, 8, 0, 0], &[0; 1280][..]].concat();
    let mut packet = [outer(from, to, Kind::Sit, 0, udp.len()), udp].concat();
    put(&mut packet, TTL, &[64, 17]);
    packet
}

/// The same with something of it changed.
fn changed(mut packet: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    put(&mut packet, at, bytes);
    packet
}

#[test]
fn what_a_host_would_look_at_goes_through_it() {
    if !root("what_a_host_would_look_at_goes_through_it") {
        return;
    }
    let mut lender = Lender::new(Kind::Ip6gre { key: None });
    for back in [false, true] {
        let packet = one(back);
        assert_eq!(lender.goes(back, &packet), End::Direct);
        let mut syn = changed(packet.clone(), TTL, &[64, 6]);
        syn[33] = 2;
        lender.goes_not(back, &syn, "syn");
        lender.goes_not(back, &changed(packet.clone(), TTL, &[1, 17]), "hops");
        // More are to come, or some came before.
        lender.goes_not(back, &changed(packet.clone(), 6, &[0x20, 0]), "fragment");
        lender.goes_not(back, &changed(packet.clone(), 6, &[0, 1]), "fragment");
        let mut options = packet.clone();
        options[0] = 0x46;
        lender.goes_not(back, &options, "options");
        let mut wrong = packet.clone();
        wrong[CHECKSUM] ^= 1;
        lender.goes_not(back, &wrong, "shape");
        let other = if back { DESTINATION } else { SOURCE };
        for address in [[0, 0, 0, 0], [127, 0, 0, 1], [169, 254, 1, 1], [224, 0, 0, 1], [255; 4]] {
            lender.goes_not(back, &changed(packet.clone(), other, &address), "address");
        }
        // To itself by the internet, or from there.
        lender.goes_not(back, &changed(packet.clone(), other, &LENT.octets()), "route");
    }
    // An acknowledgement without options, and what no frame is too short for.
    let mut short = outer([198, 51, 100, 9].into(), LENT.into(), Kind::Sit, 0, 20);
    put(&mut short, TTL, &[64, 6]);
    for (length, end) in [(40, End::Direct), (SHORTEST, End::Direct), (SHORTEST + 1, End::Left)] {
        short.resize(length, 0);
        assert_eq!(lender.lend(&short), end, "{length}");
    }
    // What is the lender's own, such as its errors, is none of the address's.
    lender.goes_not(true, &changed(one(true), SOURCE, &[192, 0, 0, 8]), "address");
    let before = lender.program.carried().unwrap().direct.unwrap().slow;
    assert_eq!(lender.lend(&changed(one(false), DESTINATION, &[192, 0, 0, 8])), End::Left);
    assert_eq!(lender.program.carried().unwrap().direct.unwrap().slow, before, "for somebody else");
}

#[test]
fn what_else_a_lender_has_is_asked_for() {
    if !root("what_else_a_lender_has_is_asked_for") {
        return;
    }
    let mut lender = Lender::new(Kind::Ip4ip6);
    let tell = |watch: Watch| move |lender: &mut Lender| lender.program.watched(&watch).unwrap();
    let line = |line: &'static str| move |_: &mut Lender| ip(line);
    for back in [false, true] {
        let packet = (back, &one(back)[..]);
        let nobody = Watch { lasts: Duration::ZERO, ..watch() };
        lender.goes_not_while(packet, "unwatched", tell(nobody), tell(watch()));
        // No chain of ours is there.
        for chains in [Some(1), None] {
            lender.goes_not_while(packet, "firewall", tell(Watch { chains, ..watch() }), tell(watch()));
        }
        for (begin, end) in [
            ("-4 rule add iif tun blackhole", "-4 rule del iif tun blackhole"),
            ("-4 rule add iif wan blackhole", "-4 rule del iif wan blackhole"),
            ("-4 rule add ipproto udp sport 53 blackhole", "-4 rule del ipproto udp sport 53 blackhole"),
            ("-4 route add unreachable 198.51.100.9", "-4 route del unreachable 198.51.100.9"),
        ] {
            lender.goes_not_while(packet, "route", line(begin), line(end));
        }
        // Where rules find ports: of DCCP, ESP, SCTP and UDP-Lite as of UDP, of AH behind its first word.
        for (protocol, port) in [(33, 53), (50, 53), (132, 53), (136, 53), (51, 1288)] {
            let packet = changed(one(back), TTL, &[64, protocol]);
            let [begin, end] = ["add", "del"]
                .map(|verb| format!("-4 rule {verb} ipproto {protocol} sport {port} blackhole"));
            lender.goes_not_while((back, &packet), "route", |_| ip(&begin), |_| ip(&end));
        }
        let narrow = if back {
            ["link set wan mtu 1290", "link set wan mtu 9000"]
        } else {
            ["link set tun mtu 1290", "link set tun mtu 1400"]
        };
        lender.goes_not_while(packet, "too-big", line(narrow[0]), line(narrow[1]));
        lender.goes_not_while(packet, "too-big", tell(Watch { mtu: Some(1290), ..watch() }), tell(watch()));
        let bearer = "link add link wan name upper type macvlan";
        lender.goes_not_while(packet, "port", line(bearer), line("link del upper"));
        for direction in ["fwd", "out"] {
            let policy = format!("xfrm policy add src 192.0.2.200/32 dst 192.0.2.201/32 dir {direction}");
            lender.goes_not_while(packet, "ipsec", |_| ip(&policy), line("xfrm policy flush"));
            let none =
                |action| move |_: &mut Lender| ip(&format!("xfrm policy setdefault {direction} {action}"));
            lender.goes_not_while(packet, "ipsec", none("block"), none("accept"));
        }
        // At AppArmor's place, too.
        let chains = [("ip", "postrouting", "-225"), ("inet", "prerouting", "0"), ("ip", "forward", "0")];
        for (family, hook, priority) in chains {
            let chain = format!("add chain {family} t c {{ type filter hook {hook} priority {priority}; }}");
            let begin = |_: &mut Lender| nft(&[&format!("add table {family} t"), &chain]);
            lender.goes_not_while(packet, "firewall", begin, |_| nft(&[&format!("delete table {family} t")]));
        }
        // Where the device is, and where the uplink sends; what is sent by that in the tunnel is the host's own.
        for (hook, dev) in [("ingress", "wan"), ("ingress", "tun"), ("egress", "tun"), ("egress", "wan")] {
            let chain =
                format!("add chain netdev t c {{ type filter hook {hook} device {dev} priority 0; }}");
            let begin = |_: &mut Lender| nft(&["add table netdev t", &chain]);
            let end = |_: &mut Lender| nft(&["delete table netdev t"]);
            if back || (hook, dev) != ("egress", "wan") {
                lender.goes_not_while(packet, "firewall", begin, end);
            }
        }
        // What there is for IPv6 is passed by anyway: the outer packets are the host's own.
        nft(&["add table ip6 t", "add chain ip6 t c { type filter hook forward priority 0; }"]);
        std::thread::sleep(TICKS);
        assert_eq!(lender.goes(back, packet.1), End::Direct);
        nft(&["delete table ip6 t"]);
    }
}
