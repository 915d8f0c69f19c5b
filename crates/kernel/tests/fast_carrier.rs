//! The fast path of carriers against their core: packets made up, through the loaded programs (`BPF_PROG_TEST_RUN`)
//! and through [`encapsulate`] and [`decapsulate`]. What a program takes comes out as the core says, byte for byte;
//! what it does not take it leaves as it was, and none of that is plain.
//!
//! Needs root. `STRADDLE_PACKETS` says how many packets are made up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "fast/outer.rs"]
mod outer;
#[path = "fast/root.rs"]
mod root;
#[path = "fast/worlds.rs"]
#[allow(dead_code, reason = "what a translator needs beyond packets")]
mod worlds;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use straddle_encap::segment::segments;
use straddle_encap::{Kind, decapsulate, encapsulate};
use straddle_intent::object::{Client, Ends, Peers};
use straddle_kernel::fast::Loaded;
use straddle_wire::vnet;

use outer::outer;
use root::root;
use worlds::{Random, World, packet, worlds};

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
    Ends { kind, local, peers: Peers::One { remote, mtu: MTU.into() } }
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
        neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev v0
        route add default via 192.0.2.2";
    for line in way.lines() {
        assert!(Command::new("ip").args(line.split_whitespace()).status().unwrap().success(), "{line}");
    }
    for file in ["/proc/sys/net/ipv6/conf/lo/forwarding", "/proc/sys/net/ipv4/conf/lo/forwarding"] {
        std::fs::write(file, "1").unwrap();
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
    fn new(ends: Ends) -> Pair {
        let loaded = |loaded: Result<Loaded, _>| loaded.unwrap_or_else(|error| panic!("{error}"));
        let outward = loaded(Loaded::outward(&ends, ETHERNET as u32));
        let inward = loaded(Loaded::inward(&ends, 1, "test"));
        Pair { ends, outward, inward, room: vec![0; 70_000] }
    }

    /// Into the tunnel; true when it went fast.
    fn out(&mut self, inner: &[u8], plain: bool) -> bool {
        let kind = self.ends.kind;
        let core = encapsulate(kind, inner).ok().zip(peer(&self.ends, inner, DESTINATION));
        let core = core.filter(|(_, peer)| {
            segments(vnet::Header::default(), inner).is_ok_and(|parts| parts.largest() <= peer.mtu as usize)
        });
        let found = through(&self.outward, inner, &mut self.room);
        let Some((core, peer)) = core else {
            assert_eq!(found, None, "the core carries no {inner:02x?}");
            return false;
        };
        let prefix = core.prefix.as_bytes();
        let length = prefix.len() + inner.len();
        let head = outer(self.ends.local, peer.remote, kind, core.traffic_class, length);
        let expected = [&head, prefix, inner].concat();
        assert!(found.is_some() || !plain, "{kind:?}: {inner:02x?} went slow");
        assert!(found.iter().all(|found| *found == expected), "{kind:?}: {found:02x?} of {inner:02x?}");
        found.is_some()
    }

    /// Out of the tunnel, from this peer, with something special made of it now and then; true when it went fast.
    fn back(&mut self, inner: &[u8], remote: IpAddr, random: &mut Random) -> bool {
        let kind = self.ends.kind;
        let Ok(core) = encapsulate(kind, inner) else { return false };
        let class = if random.next().is_multiple_of(2) { core.traffic_class } else { random.next() as u8 };
        let payload = [core.prefix.as_bytes(), inner].concat();
        let right = outer(remote, self.ends.local, kind, class, payload.len());
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
        let opened = decapsulate(kind, body, class).ok().filter(|_| known).map(|inner| body[inner].to_vec());
        let expected = opened.filter(|inner| may_send(&self.ends, inner, remote));
        let fast = found.is_some();
        assert!(!fast || found == expected, "{kind:?}: {found:02x?} of {sent:02x?}");
        // A mark that must be passed on is the core's, and so are bytes behind the inner packet.
        let whole =
            expected.as_ref().is_some_and(|inner| inner.len() + core.prefix.as_bytes().len() == before.len());
        // So is a network within another client's, if that one sends from it.
        let own = expected
            .is_some_and(|inner| peer(&self.ends, &inner, SOURCE).is_some_and(|peer| peer.remote == remote));
        let plain = !changed && whole && own && sent.ends_with(&before);
        assert!(fast || !plain, "{kind:?}: {sent:02x?} went slow");
        fast
    }
}

/// Where an address stands in an IPv6 header.
const SOURCE: usize = 8;
const DESTINATION: usize = 24;

/// Whom a packet goes to, or comes from.
struct Peer {
    remote: IpAddr,
    mtu: u32,
}

fn address(inner: &[u8], at: usize) -> Option<Ipv6Addr> {
    let bytes = inner.get(at..at + 16)?;
    <[u8; 16]>::try_from(bytes).ok().map(Ipv6Addr::from)
}

/// Of clients, that with the longest network of all that one of the packet's addresses is in.
fn peer(ends: &Ends, inner: &[u8], at: usize) -> Option<Peer> {
    let clients = match &ends.peers {
        Peers::One { remote, mtu } => return Some(Peer { remote: *remote, mtu: *mtu }),
        Peers::Clients(clients) => clients,
    };
    let address = address(inner, at).filter(|address| !of_the_link(*address))?;
    let nets = clients.iter().flat_map(|client| client.owned.iter().map(move |net| (net, client)));
    let found = nets.filter(|(net, _)| net.contains(&address)).max_by_key(|(net, _)| net.prefix_len());
    found.map(|(_, client)| Peer { remote: client.remote.into(), mtu: client.mtu })
}

/// Whether a packet may come from a peer: a client sends from any network of its own.
fn may_send(ends: &Ends, inner: &[u8], remote: IpAddr) -> bool {
    let Peers::Clients(clients) = &ends.peers else { return true };
    let [Some(source), Some(destination)] = [SOURCE, DESTINATION].map(|at| address(inner, at)) else {
        return false;
    };
    let client = clients.iter().find(|client| IpAddr::from(client.remote) == remote);
    let owns = client.is_some_and(|client| client.owned.iter().any(|net| net.contains(&source)));
    owns && !of_the_link(source) && !of_the_link(destination)
}

fn of_the_link(address: Ipv6Addr) -> bool {
    address.is_multicast() || address.is_unicast_link_local() || address.is_unspecified()
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
        let mut pair = Pair::new(ends(kind));
        let Peers::One { remote, .. } = pair.ends.peers else { unreachable!("one peer") };
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
            ends[1][usize::from(pair.back(&made.bytes, remote, &mut random))] += 1;
        }
        told(&format!("{kind:?}"), ends, each);
    }
}

/// At least a fifth went fast, each way.
fn told(what: &str, ends: [[usize; 2]; 2], each: usize) {
    for (way, [slow, fast]) in ["out", "in"].iter().zip(ends) {
        let line = format!("{what} {way}: fast {fast}, slow {slow}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        assert!(fast > each / 5, "{what} {way}: {fast} of {each}");
    }
}

/// A client's outer address.
fn remote(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + number)
}

/// Clients that share a device, each with a link's address and networks of its own. Paths differ in width.
fn sharing(count: u32, more: impl Fn(u32) -> Vec<String>) -> Ends {
    let client = |number: u32| {
        let link = Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(2 * number + 1));
        let owned = std::iter::once(link.to_string() + "/128").chain(more(number));
        let owned = owned.map(|net| net.parse().unwrap()).collect();
        Client { remote: remote(number), mtu: 1280 + number % 3 * 60, owned }
    };
    Ends { peers: Peers::Clients((0..count).map(client).collect()), ..ends(Kind::Sit) }
}

fn usual(number: u32) -> Vec<String> {
    match number % 3 {
        0 => Vec::new(),
        1 => vec![format!("2001:db9:{number:x}::/64")],
        _ => vec![format!("2001:dba:{number:x}::/48")],
    }
}

/// What no broker would give away: networks within others', and what is the link's.
fn unusual(number: u32) -> Vec<String> {
    let nets: &[&str] = match number {
        0 => &["2001:db9::/32", "fe80:1::/32"],
        1 => &["2001:db9:7::/48", "ff0e::/16"],
        2 => &["2001:db9:7:7::/64", "2001:db9:7:7::9/128"],
        3 => &["2001:db9:7:7::8/125", "::/96"],
        _ => &[],
    };
    nets.iter().map(|net| (*net).to_string()).collect()
}

fn every_length(number: u32) -> Vec<String> {
    let net = |length| ipnet::Ipv6Net::new(Ipv6Addr::from_bits(u128::MAX >> 3), length).unwrap().trunc();
    (0..128).filter(|length| length % 3 == number as u8).map(|length| net(length).to_string()).collect()
}

/// Addresses that mean something to clients.
fn known(ends: &Ends) -> World {
    let nets = ends.clients().iter().flat_map(|client| &client.owned);
    World::of(nets.flat_map(|net| [net.network(), net.broadcast()]).collect())
}

#[test]
fn clients_packets_made_up_as_the_core() {
    if !root("clients_packets_made_up_as_the_core") {
        return;
    }
    namespace();
    let wanted = std::env::var("STRADDLE_PACKETS").ok().and_then(|count| count.parse().ok());
    let each = wanted.unwrap_or(PACKETS) / 4;
    let worlds = [
        ("one client", sharing(1, usual)),
        ("clients", sharing(300, usual)),
        ("nested", sharing(4, unusual)),
        ("every length", sharing(3, every_length)),
    ];
    for (number, (what, ends)) in worlds.into_iter().enumerate() {
        let mut random = Random(number as u64 + 1);
        let world = known(&ends);
        let mut pair = Pair::new(ends);
        let mut counts = [[0; 2]; 2];
        let mut made_up = 0;
        while made_up < each {
            let made = packet(&world, &mut random);
            if made.bytes[0] >> 4 != 6 || made.bytes.len() < 40 {
                continue;
            }
            made_up += 1;
            let to = peer(&pair.ends, &made.bytes, DESTINATION);
            let fits = to.is_some_and(|peer| made.bytes.len() <= peer.mtu as usize);
            let plain = made.changed.is_none() && fits;
            counts[0][usize::from(pair.out(&made.bytes, plain))] += 1;
            // From the client whose the source is, from another, or from a stranger.
            let from = peer(&pair.ends, &made.bytes, SOURCE).filter(|_| !random.one_in(8));
            let count = pair.ends.clients().len() as u32;
            let any = || IpAddr::from(remote(random.below(count as usize + 1) as u32));
            let from = from.map_or_else(any, |peer| peer.remote);
            counts[1][usize::from(pair.back(&made.bytes, from, &mut random))] += 1;
        }
        told(what, counts, each);
    }
}

/// Each of many clients has its own peer, whichever of its networks a packet is for or from.
#[test]
fn every_client_of_many_as_the_core() {
    if !root("every_client_of_many_as_the_core") {
        return;
    }
    namespace();
    let mut pair = Pair::new(sharing(2_000, usual));
    let mut random = Random(1);
    for number in 0..2_000 {
        for net in pair.ends.clients()[number].owned.clone() {
            for at in [DESTINATION, SOURCE] {
                let mut inner = [&[0x60, 0, 0, 0, 0, 24, 17, 64][..], &[0x20; 32], &[0; 24]].concat();
                inner[at..at + 16].copy_from_slice(&net.broadcast().octets());
                match at {
                    DESTINATION => assert!(pair.out(&inner, true)),
                    _ => drop(pair.back(&inner, remote(number as u32).into(), &mut random)),
                }
                // From whoever else that is foreign.
                assert!(at == DESTINATION || !pair.back(&inner, remote(2_000).into(), &mut random));
            }
        }
    }
}

/// Where nobody is, all is left to the slow path.
#[test]
fn no_client_at_all() {
    if !root("no_client_at_all") {
        return;
    }
    namespace();
    let mut pair = Pair::new(sharing(0, usual));
    let inner = [&[0x60, 0, 0, 0, 0, 24, 17, 64][..], &[0x20; 32], &[0; 24]].concat();
    let head = outer(remote(0).into(), pair.ends.local, Kind::Sit, 0, inner.len());
    assert_eq!(through(&pair.outward, &inner, &mut pair.room), None);
    assert_eq!(through(&pair.inward, &[head, inner].concat(), &mut pair.room), None);
}

/// Where a jumbogram ends stands in an option, which the core does not read.
#[test]
fn jumbograms_are_left() {
    if !root("jumbograms_are_left") {
        return;
    }
    namespace();
    let mut jumbogram = [&[0x60, 0, 0, 0, 0, 0, 0, 64][..], &[0x20; 32]].concat();
    for kind in [Kind::Ip6gre { key: None }, Kind::Sit] {
        let mut pair = Pair::new(ends(kind));
        let Peers::One { remote, .. } = pair.ends.peers else { unreachable!("one peer") };
        // Of nothing (RFC 8200 section 4.7) the same is plain.
        for (next, goes) in [(0, false), (59, true)] {
            jumbogram[6] = next;
            assert_eq!(pair.out(&jumbogram, goes), goes, "{kind:?} {next}");
            let gre: &[u8] = if kind == Kind::Sit { &[] } else { &[0, 0, 0x86, 0xdd] };
            let sent = [gre, &jumbogram].concat();
            let sent = [outer(remote, pair.ends.local, kind, 0, sent.len()), sent].concat();
            let found = through(&pair.inward, &sent, &mut pair.room);
            assert_eq!(found, goes.then(|| jumbogram.clone()), "{kind:?} {next}");
        }
    }
}

/// What 10,000 clients cost for each packet, and what one: `cargo test --test fast_carrier -- --ignored --nocapture`. Where
/// each packet is for or from another client, none finds what the one before has brought near.
#[test]
#[ignore = "a measurement"]
fn how_fast() {
    namespace();
    let pairs = [1, 10, 1_000, 10_000].map(|count| {
        let ends = sharing(count, usual);
        let begun = Instant::now();
        let pair = Pair::new(ends);
        eprintln!("{count} clients: both programs told in {:?}", begun.elapsed());
        pair
    });
    let mut times = [const { [const { Vec::new() }; 4] }; 4];
    for round in 0..9 {
        for (pair, times) in pairs.iter().zip(&mut times) {
            let [same, another] = [true, false].map(|same| timed(pair, round, same));
            times.iter_mut().zip([same, another].concat()).for_each(|(times, time)| times.push(time));
        }
    }
    for (pair, times) in pairs.iter().zip(times) {
        let [out, back, out_other, back_other] = times.map(|mut times| {
            times.sort();
            times[times.len() / 2]
        });
        let count = pair.ends.clients().len();
        eprintln!(
            "{count} clients: {out:?} a packet outward and {back:?} inward of one client; \
             each of another {out_other:?} and {back_other:?}"
        );
    }
}

/// How long a packet takes outward and inward, where all are one client's or each is another's.
fn timed(pair: &Pair, round: u64, same: bool) -> [Duration; 2] {
    const RUNS: u32 = 10_000;
    let mut random = Random(round);
    let mut total = [Duration::ZERO; 2];
    let clients = pair.ends.clients();
    let first = random.below(clients.len());
    for _ in 0..RUNS {
        let ends = &clients[if same { first } else { random.below(clients.len()) }];
        // As much of the packets is for networks as for the links' addresses.
        let net = ends.owned[random.below(ends.owned.len())];
        for (way, program) in [&pair.outward, &pair.inward].into_iter().enumerate() {
            let mut inner = [&[0x60, 0, 0, 0, 0, 24, 17, 64][..], &[0x20; 32], &[0; 24]].concat();
            let at = [DESTINATION, SOURCE][way];
            inner[at..at + 16].copy_from_slice(&net.broadcast().octets());
            let head = outer(ends.remote.into(), pair.ends.local, Kind::Sit, 0, inner.len());
            let sent = if way == 0 { inner } else { [head, inner].concat() };
            let (returned, spent) = program.time(&frame(&sent), 1).unwrap();
            assert_eq!(returned, REDIRECT);
            total[way] += spent;
        }
    }
    total.map(|total| total / RUNS)
}
