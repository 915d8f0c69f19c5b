//! How long one packet takes: `cargo test --release -p straddle-xlat --test pace -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, and packets that can be made")]

use std::hint::black_box;
use std::time::Instant;

use etherparse::PacketBuilder;
use straddle_wire::vnet::{Gso, Header, NEEDS_CSUM};
use straddle_xlat::{Config, State, Translator, Verdict, rfc6052};

const V4: ([u8; 4], [u8; 4]) = ([192, 0, 2, 1], [198, 51, 100, 2]);

#[test]
#[ignore = "a measurement"]
fn pace_of_each_direction() {
    let config = Config { pool6: vec![rfc6052::Prefix::WELL_KNOWN], ..Config::default() };
    let translator = Translator::new(config);
    let super_packet = |gso, start| Header {
        flags: NEEDS_CSUM,
        gso,
        gso_size: 1400,
        csum_start: start,
        csum_offset: 16,
        ..Header::default()
    };
    let v6 = V4.map(|octets| rfc6052::Prefix::WELL_KNOWN.embed(octets.into()).octets());
    let ip4 = || PacketBuilder::ipv4(V4.0, V4.1, 64);
    let ip6 = || PacketBuilder::ipv6(v6.0, v6.1, 64);
    let none = Header::default();
    pace(&translator, "4 to 6, UDP of 64 bytes", none, |out| ip4().udp(1, 2).write(out, &[7; 36]).unwrap());
    pace(&translator, "6 to 4, UDP of 64 bytes", none, |out| ip6().udp(1, 2).write(out, &[7; 16]).unwrap());
    pace(&translator, "4 to 6, TCP of 64 KB", super_packet(Gso::TcpV4, 20), |out| {
        ip4().tcp(1, 2, 3, 4).write(out, &[7; 64_000]).unwrap();
    });
    pace(&translator, "6 to 4, TCP of 64 KB", super_packet(Gso::TcpV6, 40), |out| {
        ip6().tcp(1, 2, 3, 4).write(out, &[7; 64_000]).unwrap();
    });
}

trait Pair {
    fn map(self, to: impl Fn([u8; 4]) -> [u8; 16]) -> ([u8; 16], [u8; 16]);
}

impl Pair for ([u8; 4], [u8; 4]) {
    fn map(self, to: impl Fn([u8; 4]) -> [u8; 16]) -> ([u8; 16], [u8; 16]) {
        (to(self.0), to(self.1))
    }
}

fn pace(translator: &Translator, name: &str, offload: Header, make: impl FnOnce(&mut Vec<u8>)) {
    let mut packet = Vec::new();
    make(&mut packet);
    let mut state = State::new(7);
    let mut bytes = 0;
    let begin = Instant::now();
    for now in 0..ROUNDS {
        let verdict = translator.translate(&mut state, now, &offload, black_box(&packet), &mut |out| {
            bytes += black_box(out.head).len() + black_box(out.payload).len();
        });
        assert_eq!(verdict, Verdict::Forward);
    }
    let nanoseconds = begin.elapsed().as_nanos() as f64 / ROUNDS as f64;
    println!("{name}: {nanoseconds:.1} ns, {} bytes out", bytes / ROUNDS as usize);
}

const ROUNDS: u64 = 5_000_000;
