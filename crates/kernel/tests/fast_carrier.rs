//! The fast path of carriers against their core: packets made up, through the loaded programs (`BPF_PROG_TEST_RUN`)
//! and through [`encapsulate`] and [`decapsulate`]. What a program takes comes out as the core says, byte for byte;
//! what it does not take it leaves as it was, and none of that is plain.
//!
//! Needs root. `STRADDLE_PACKETS` says how many packets are made up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "fast/root.rs"]
mod root;
#[path = "fast/worlds.rs"]
#[allow(dead_code, reason = "what a translator needs beyond packets")]
mod worlds;

use std::io::Write as _;
use std::net::IpAddr;
use std::process::Command;

use straddle_encap::segment::segments;
use straddle_encap::{Kind, decapsulate, encapsulate};
use straddle_intent::object::Ends;
use straddle_kernel::fast::Loaded;
use straddle_wire::vnet;

use root::root;
use worlds::{Random, packet, worlds};

/// A link header: `BPF_PROG_TEST_RUN` passes packets with one.
const ETHERNET: usize = 14;
const PACKETS: usize = 200_000;
/// `TC_ACT_REDIRECT`, `TC_ACT_UNSPEC`.
const REDIRECT: u32 = 7;
const UNSPEC: u32 = u32::MAX;
const MTU: u16 = 1400;

const KINDS: [Kind; 4] =
    [Kind::Ip6gre { key: None }, Kind::Ip6gre { key: Some(0x0102_0304) }, Kind::Ip4ip6, Kind::Sit];

fn ends(kind: Kind) -> Ends {
    let [local, remote]: [IpAddr; 2] = match kind {
        Kind::Ip6gre { .. } | Kind::Ip4ip6 => ["2001:db8::1", "2001:db8::2"],
        Kind::Sit => ["192.0.2.1", "192.0.2.2"],
    }
    .map(|text| text.parse().unwrap());
    Ends { kind, local, remote, mtu: MTU.into() }
}

/// A network namespace in which there is a way to the peer, for this thread and what it spawns.
fn namespace() {
    // SAFETY: only this thread leaves the namespace, and it opens every descriptor that it uses afterwards.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
    let way = "link set lo up
        link add v0 type veth peer name v1
        link set v0 up
        link set v1 up
        address add 2001:db8::1/64 dev v0 nodad
        address add 192.0.2.1/24 dev v0
        neighbour add 2001:db8::2 lladdr 02:00:00:00:00:02 dev v0
        neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev v0";
    for line in way.lines() {
        assert!(Command::new("ip").args(line.split_whitespace()).status().unwrap().success(), "{line}");
    }
    for file in ["/proc/sys/net/ipv6/conf/lo/forwarding", "/proc/sys/net/ipv4/conf/lo/forwarding"] {
        std::fs::write(file, "1").unwrap();
    }
}

/// The outer header that the kernel writes before what a raw socket of ours sends.
fn outer(from: IpAddr, to: IpAddr, kind: Kind, class: u8, length: usize) -> Vec<u8> {
    let (protocol, length) = (kind.protocol(), length as u16);
    match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut bytes =
                vec![0x60 | class >> 4, class << 4, 0, 0, (length >> 8) as u8, length as u8, protocol, 64];
            bytes.extend([from.octets(), to.octets()].concat());
            bytes
        }
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (length + 20).to_be_bytes();
            let mut bytes = vec![0x45, class, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
            bytes.extend([from.octets(), to.octets()].concat());
            let sum: u32 = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            let checksum = !(((folded & 0xffff) + (folded >> 16)) as u16);
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            bytes
        }
        _ => unreachable!("both ends are of one version"),
    }
}

fn frame(packet: &[u8]) -> Vec<u8> {
    let kind = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&[0; 12][..], &kind, packet].concat()
}

/// What a program did with a packet: what came out, if it took it.
fn through(program: &Loaded, packet: &[u8], room: &mut [u8]) -> Option<Vec<u8>> {
    let frame = frame(packet);
    let (returned, out) = program.test(&frame, room).unwrap();
    if returned == UNSPEC {
        assert!(out == frame, "left alone, and changed: {packet:02x?}");
        return None;
    }
    assert_eq!(returned, REDIRECT, "{packet:02x?}");
    Some(out[ETHERNET..].to_vec())
}

struct Pair {
    ends: Ends,
    outward: Loaded,
    inward: Loaded,
    room: Vec<u8>,
}

impl Pair {
    fn new(kind: Kind) -> Pair {
        let ends = ends(kind);
        let loaded = |loaded: Result<Loaded, _>| loaded.unwrap_or_else(|error| panic!("{error}"));
        let outward = loaded(Loaded::outward(&ends, ETHERNET as u32));
        let inward = loaded(Loaded::inward(&ends, 1, "test"));
        Pair { ends, outward, inward, room: vec![0; 70_000] }
    }

    /// Into the tunnel; true when it went fast.
    fn out(&mut self, inner: &[u8], plain: bool) -> bool {
        let kind = self.ends.kind;
        let core = encapsulate(kind, inner).ok().filter(|_| {
            segments(vnet::Header::default(), inner).is_ok_and(|parts| parts.largest() <= usize::from(MTU))
        });
        let found = through(&self.outward, inner, &mut self.room);
        let Some(core) = core else {
            assert_eq!(found, None, "the core carries no {inner:02x?}");
            return false;
        };
        let prefix = core.prefix.as_bytes();
        let length = prefix.len() + inner.len();
        let head = outer(self.ends.local, self.ends.remote, kind, core.traffic_class, length);
        let expected = [&head, prefix, inner].concat();
        assert!(found.is_some() || !plain, "{kind:?}: {inner:02x?} went slow");
        assert!(found.iter().all(|found| *found == expected), "{kind:?}: {found:02x?} of {inner:02x?}");
        found.is_some()
    }

    /// Out of the tunnel, with something special made of it now and then; true when it went fast.
    fn back(&mut self, inner: &[u8], random: &mut Random) -> bool {
        let kind = self.ends.kind;
        let Ok(core) = encapsulate(kind, inner) else { return false };
        let class = if random.next().is_multiple_of(2) { core.traffic_class } else { random.next() as u8 };
        let payload = [core.prefix.as_bytes(), inner].concat();
        let right = outer(self.ends.remote, self.ends.local, kind, class, payload.len());
        let mut sent = [&right[..], &payload].concat();
        let changed = random.next().is_multiple_of(4);
        if changed {
            // Mostly in the headers.
            let within = if random.next().is_multiple_of(4) { sent.len() } else { right.len() + 28 };
            let at = random.next() as usize % within.min(sent.len());
            sent[at] ^= 1 << (random.next() % 8);
            if sent[0] >> 4 != right[0] >> 4 {
                return false;
            }
        }
        let found = through(&self.inward, &sent, &mut self.room);
        let (head, body) = sent.split_at_mut(right.len());
        let before = body.to_vec();
        let known = if kind == Kind::Sit { head == right } else { same6(head, &right) };
        let class = if kind == Kind::Sit { head[1] } else { head[0] << 4 | head[1] >> 4 };
        let expected =
            decapsulate(kind, body, class).ok().filter(|_| known).map(|inner| body[inner].to_vec());
        let fast = found.is_some();
        assert!(!fast || found == expected, "{kind:?}: {found:02x?} of {sent:02x?}");
        // A mark that must be passed on is the core's, and so are bytes behind the inner packet.
        let whole = expected.is_some_and(|inner| inner.len() + core.prefix.as_bytes().len() == before.len());
        let plain = !changed && whole && sent.ends_with(&before);
        assert!(fast || !plain, "{kind:?}: {sent:02x?} went slow");
        fast
    }
}

/// The same but for traffic class, flow label and hop limit.
fn same6(one: &[u8], other: &[u8]) -> bool {
    one[0] >> 4 == other[0] >> 4 && one[4..7] == other[4..7] && one[8..] == other[8..]
}

#[test]
fn carried_packets_made_up_as_the_core() {
    if !root("carried_packets_made_up_as_the_core") {
        return;
    }
    namespace();
    let wanted = std::env::var("STRADDLE_PACKETS").ok().and_then(|count| count.parse().ok());
    let each = wanted.unwrap_or(PACKETS) / KINDS.len();
    let worlds = worlds();
    for (number, kind) in KINDS.into_iter().enumerate() {
        let mut random = Random(number as u64 + 1);
        let mut pair = Pair::new(kind);
        let mut ends = [[0; 2]; 2];
        for at in 0..each {
            let made = packet(&worlds[at % worlds.len()], &mut random);
            // The kernel runs no program on less than a header.
            let least = if made.bytes[0] >> 4 == 6 { 40 } else { 20 };
            if made.bytes.len() < least {
                continue;
            }
            let plain = made.changed.is_none() && made.bytes.len() <= usize::from(MTU);
            ends[0][usize::from(pair.out(&made.bytes, plain))] += 1;
            ends[1][usize::from(pair.back(&made.bytes, &mut random))] += 1;
        }
        let lines = ["out", "in"].iter().zip(ends);
        for (way, [slow, fast]) in lines {
            std::io::stderr()
                .write_all(format!("{kind:?} {way}: fast {fast}, slow {slow}\n").as_bytes())
                .unwrap();
            assert!(fast > each / 5, "{kind:?} {way}: {fast} of {each}");
        }
    }
}
