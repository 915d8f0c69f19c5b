//! The fast path against the translation core: each case of `crates/xlat/tests/cases`, and packets made up, through
//! the loaded program (`BPF_PROG_TEST_RUN`) and through [`Translator::translate`]. What the program translates is
//! equal byte for byte; what it does not translate it leaves as it was, and none of that is plain.
//!
//! Needs root. `STRADDLE_PACKETS` says how many packets are made up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../../xlat/tests/case/mod.rs"]
#[allow(dead_code, reason = "what the cases say of the outcome is told by the core here")]
mod case;
#[path = "fast/core.rs"]
mod core;
#[path = "fast/root.rs"]
mod root;
#[path = "fast/worlds.rs"]
#[allow(dead_code, reason = "what a carrier needs beyond")]
mod worlds;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use straddle_intent::object::{Tables, digest};
use straddle_kernel::fast::Loaded;
use straddle_wire::vnet;
use straddle_xlat::{Config, State, Translator};

use core::{Core, same};
use root::root;
use worlds::{Random, packet, worlds};

/// A link header: `BPF_PROG_TEST_RUN` passes packets with one.
const ETHERNET: usize = 14;
/// What a run takes at most: a page less what the kernel needs of it.
const LONGEST: usize = 3400;
const PACKETS: usize = 300_000;
/// `TC_ACT_REDIRECT`, `TC_ACT_UNSPEC`.
const REDIRECT: u32 = 7;
const UNSPEC: u32 = u32::MAX;

/// The program and the core, told the same.
struct Pair {
    program: Loaded,
    core: Translator,
    state: State,
    room: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fast,
    Slow,
}

impl Pair {
    fn new(config: &Config) -> Pair {
        let program =
            Loaded::new(&Tables::new(config), ETHERNET as u32).unwrap_or_else(|error| panic!("{error}"));
        let core = Translator::new(config.clone());
        Pair { program, core, state: State::new(0x5eed), room: vec![0; 70_000] }
    }

    fn core(&mut self, packet: &[u8]) -> Core {
        Core::of(&self.core, &mut self.state, packet)
    }

    /// Both translate; they must agree.
    fn check(&mut self, packet: &[u8]) -> (End, Core) {
        let core = self.core(packet);
        let six = packet.first().is_some_and(|byte| byte >> 4 == 6);
        // The kernel runs no program on less than a header.
        if packet.len() < if six { 40 } else { 20 } {
            return (End::Slow, core);
        }
        let kind = if six { [0x86, 0xdd] } else { [0x08, 0x00] };
        let frame = [&[0; 12][..], &kind, packet].concat();
        let (returned, out) = self.program.test(&frame, &mut self.room).unwrap();
        if returned == UNSPEC {
            assert!(out == frame, "left alone, and changed: {packet:02x?}");
            return (End::Slow, core);
        }
        assert_eq!(returned, REDIRECT, "{packet:02x?}");
        let out = out.get(ETHERNET..).unwrap();
        assert!(core.is_plain(packet), "the core says {:?} of {packet:02x?}", core.verdict);
        let (_, expected) = core.outs.first().unwrap();
        assert!(same(expected, out), "in {packet:02x?}\nexpected {expected:02x?}\nfound    {out:02x?}");
        (End::Fast, core)
    }
}

#[test]
fn every_case_as_the_core() {
    if !root("every_case_as_the_core") {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xlat/tests/cases");
    let (mut fast, mut slow) = (0, 0);
    // Many are told the same.
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    for (_, case) in case::cases(&folder) {
        let pair = pairs.entry(digest(&case.config)).or_insert_with(|| Pair::new(&case.config));
        for step in &case.steps {
            let packet: Vec<u8> = step.packet.bytes().map(|(value, _)| value).collect();
            // What a run can't pass: super-packets and begun checksums, and what is no frame.
            if step.packet.offload != vnet::Header::default() || packet.len() > LONGEST {
                continue;
            }
            match pair.check(&packet).0 {
                End::Fast => fast += 1,
                End::Slow => slow += 1,
            }
        }
    }
    assert!(fast > 100 && slow > 200, "{fast} went fast, {slow} slow");
}

#[test]
fn packets_made_up_as_the_core() {
    if !root("packets_made_up_as_the_core") {
        return;
    }
    let wanted = std::env::var("STRADDLE_PACKETS").ok().and_then(|count| count.parse().ok());
    let worlds = worlds();
    let each = wanted.unwrap_or(PACKETS) / worlds.len();
    let mut ends: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for (number, world) in worlds.iter().enumerate() {
        let mut random = Random(number as u64 + 1);
        let mut pair = Pair::new(&world.config);
        for _ in 0..each {
            let made = packet(world, &mut random);
            let (end, core) = pair.check(&made.bytes);
            let plain = made.changed.is_none() && core.is_plain(&made.bytes);
            let class = match (made.changed, core.is_plain(&made.bytes)) {
                (None, true) => made.class,
                (Some(changed), _) => changed,
                (None, false) => "for the core alone",
            };
            ends.entry(class).or_default()[usize::from(end == End::Slow)] += 1;
            assert!(!plain || end == End::Fast, "{class}: {:02x?} went slow", made.bytes);
        }
        let counts = pair.program.counts().unwrap();
        assert_eq!(counts.lost, 0);
    }
    let mut table = String::from("class                     fast      slow  slow share\n");
    for (class, [fast, slow]) in &ends {
        let share = *slow as f64 * 100.0 / (fast + slow) as f64;
        table += &format!("{class:20} {fast:9} {slow:9} {share:9.1} %\n");
    }
    std::io::stderr().write_all(table.as_bytes()).unwrap();
    for class in ["TCP", "UDP", "echo", "other transport"] {
        assert!(
            ends.get(class).is_some_and(|[fast, slow]| *fast > each / 50 && *slow == 0),
            "{class}: {ends:?}"
        );
    }
}

/// A large table has each of its mappings, and each length of them.
#[test]
fn every_mapping_of_a_large_table_as_the_core() {
    if !root("every_mapping_of_a_large_table_as_the_core") {
        return;
    }
    for (count, world) in
        [(5, worlds::mixed(5)), (20_000, worlds::mixed(20_000)), (100_000, worlds::mapped(100_000))]
    {
        let mut random = Random(count);
        let mut pair = Pair::new(&world.config);
        let mappings = world.config.eam.mappings();
        assert!(mappings.len() as u64 > count * 9 / 10, "{} of {count}", mappings.len());
        for mapping in mappings {
            for packet in worlds::both_ways(&world, mapping, &mut random) {
                assert_eq!(pair.check(&packet).0, End::Fast, "{mapping:?}");
            }
        }
    }
}

/// A header that is farther away than any packet reaches is what no verifier takes.
#[test]
fn a_refused_program_is_told_of_with_the_verifiers_log() {
    if !root("a_refused_program_is_told_of_with_the_verifiers_log") {
        return;
    }
    let Err(error) = Loaded::new(&Tables::example(), 1 << 30) else { panic!("the kernel took it") };
    let text = error.to_string();
    assert!(text.contains("Verifier output") && text.contains("processed"), "{text}");
    assert!(text.lines().count() <= 14, "the end of the log is enough: {text}");
}

/// Identifications that the program chooses: none twice within 65,536, in no order that meets the eye.
#[test]
fn identifications_do_not_repeat() {
    if !root("identifications_do_not_repeat") {
        return;
    }
    // Each processor has numbers of its own.
    let mut one = rustix::thread::CpuSet::new();
    one.set(0);
    rustix::thread::sched_setaffinity(None, &one).unwrap();
    let worlds = worlds();
    let mut pair = Pair::new(&worlds[0].config);
    let packet = worlds::plain6(&worlds[0]);
    let frame = [&[0; 12][..], &[0x86, 0xdd], &packet].concat();
    let mut seen = vec![false; 65_536];
    let mut last = 0_u16;
    let mut neighbours = 0;
    for _ in 0..65_536 {
        let (returned, out) = pair.program.test(&frame, &mut pair.room).unwrap();
        assert_eq!(returned, REDIRECT);
        let id = u16::from_be_bytes([out[ETHERNET + 4], out[ETHERNET + 5]]);
        assert!(!std::mem::replace(&mut seen[usize::from(id)], true), "{id} came twice");
        neighbours += usize::from(id == last.wrapping_add(1));
        last = id;
    }
    assert!(neighbours < 100, "{neighbours} followed their neighbour");
}

/// What 100,000 mappings cost for each packet, and what ten: `cargo test --test fast -- --ignored --nocapture`. Where each
/// packet is from and for another host, none finds what the one before has brought near.
#[test]
#[ignore = "a measurement"]
fn how_fast() {
    const RUNS: u32 = 10_000;
    let worlds = [10, 1_000, 100_000].map(|count| (count, worlds::mapped(count)));
    let pairs = worlds.each_ref().map(|(count, world)| {
        let begun = Instant::now();
        let pair = Pair::new(&world.config);
        eprintln!("{count} mappings: told in {:?}", begun.elapsed());
        pair
    });
    let mut times = [const { [const { Vec::new() }; 3] }; 3];
    for round in 0..7 {
        for (((_, world), pair), times) in worlds.iter().zip(&pairs).zip(&mut times) {
            for (others, times) in times.iter_mut().enumerate() {
                let mut random = Random(round);
                let mut total = Duration::ZERO;
                for run in 0..RUNS {
                    let seed = if others == 0 {
                        round
                    } else {
                        round << 33 | (others as u64) << 32 | u64::from(run)
                    };
                    let from = if others == 2 { random.next() as u32 } else { 0 };
                    let packet = worlds::towards_a_mapping(world, from, &mut Random(seed));
                    let frame = [&[0; 12][..], &[8, 0], &packet].concat();
                    let (returned, spent) = pair.program.time(&frame, 1).unwrap();
                    assert_eq!(returned, REDIRECT);
                    total += spent;
                }
                times.push(total / RUNS);
            }
        }
    }
    for ((count, _), times) in worlds.iter().zip(times) {
        let [same, to, both] = times.map(|mut times| {
            times.sort();
            times[times.len() / 2]
        });
        eprintln!(
            "{count} mappings: {same:?} a packet of one flow; to another host each {to:?}, and from another {both:?}"
        );
    }
}
