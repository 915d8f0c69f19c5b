//! `straddle translate` as a script sees it: captures made here, byte for byte, and what is told of them.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

const FILE: &str = r#"
[host.gate]
uplink = "eth0"
ipv6   = "2001:db8:eec0::2"

[[siit]]
name  = "net"
host  = "gate"
pool6 = "64:ff9b::/96"
eam   = [["2001:db8:3::/120", "198.51.100.0/24"]]
own4  = "203.0.113.1"
"#;

/// 192.0.2.1 > 198.51.100.7, UDP to port 53, five bytes.
const QUERY: &str = "45000021 00010000 4011 8e8f c0000201 c6336407  9c40 0035 000d 0000 68656c6c6f";
/// The same as it comes out, its checksum computed.
const QUERY6: &str = "60000000 000d 11 3f 0064ff9b0000000000000000c0000201 20010db8000300000000000000000007 \
                      9c40 0035 000d 2fc8 68656c6c6f";
/// The same at its last hop.
const DYING: &str = "45000021 00010000 0111 cd8f c0000201 c6336407  9c40 0035 000d 0000 68656c6c6f";
/// 192.0.2.1 > 198.51.100.7, a timestamp request.
const OBSOLETE: &str =
    "45000028 00010000 4001 8e98 c0000201 c6336407 0d0073a3 0000 0000 01107eb9 01107eb9 01107eb9";
/// 2001:db8:3::7 > 2001:db8::1, no next header.
const ELSEWHERE: &str =
    "60000000 0000 3b 40 20010db8000300000000000000000007 20010db8000000000000000000000001";
const MACS: &str = "020000000002 020000000001";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// A header of 16 and 32 bit fields, in the order of bytes that the capture has.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

impl Order {
    fn long(self, number: u32) -> [u8; 4] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn short(self, number: u16) -> [u8; 2] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    /// Each packet a second after the one before, with the same fraction; `more` bytes were not captured.
    fn pcap(self, magic: u32, link: u32, fraction: u32, packets: &[&str], more: u32) -> Vec<u8> {
        let mut file = [self.long(magic).as_slice(), &self.short(2), &self.short(4), &[0; 8]].concat();
        file.extend([self.long(262_144), self.long(link)].concat());
        for (index, packet) in packets.iter().map(|packet| bytes(packet)).enumerate() {
            let length = packet.len() as u32;
            let fields = [1_700_000_000 + index as u32, fraction, length, length + more];
            file.extend(fields.map(|field| self.long(field)).concat());
            file.extend(packet);
        }
        file
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let body = [body, &[0; 3][..body.len().next_multiple_of(4) - body.len()]].concat();
        let length = self.long(body.len() as u32 + 12);
        [&self.long(kind), &length, body.as_slice(), &length].concat()
    }

    fn section(self) -> Vec<u8> {
        let magic = self.long(0x1a2b_3c4d);
        self.block(0x0a0d_0d0a, &[magic.as_slice(), &self.short(1), &self.short(0), &[0xff; 8]].concat())
    }

    /// With `if_tsresol` and `if_tsoffset`.
    fn interface(self, link: u16, resolution: u8, offset: u32) -> Vec<u8> {
        let head = [self.short(link).as_slice(), &[0; 2], &self.long(0)].concat();
        let long = if self.big { [[0; 4], self.long(offset)] } else { [self.long(offset), [0; 4]] };
        let code = |code: [u16; 2]| code.map(|field| self.short(field)).concat();
        let options = [code([9, 1]), vec![resolution, 0, 0, 0], code([14, 8]), long.concat()].concat();
        self.block(1, &[head, options, vec![0; 4]].concat())
    }

    fn enhanced(self, interface: u32, units: u64, packet: &str) -> Vec<u8> {
        let packet = bytes(packet);
        let length = packet.len() as u32;
        let fields = [interface, (units >> 32) as u32, units as u32, length, length];
        self.block(6, &[fields.map(|field| self.long(field)).concat(), packet].concat())
    }

    fn simple(self, packet: &str) -> Vec<u8> {
        let packet = bytes(packet);
        self.block(3, &[self.long(packet.len() as u32).to_vec(), packet].concat())
    }
}

const LITTLE: Order = Order { big: false };
const BIG: Order = Order { big: true };
const MICRO: u32 = 0xa1b2_c3d4;
const NANO: u32 = 0xa1b2_3c4d;

/// A folder of this test alone.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, capture: &[u8]) -> Self {
        let place = Self(std::env::temp_dir().join(format!("straddle-{name}-{}", std::process::id())));
        fs::create_dir_all(&place.0).unwrap();
        fs::write(place.0.join("straddle.toml"), FILE).unwrap();
        fs::write(place.0.join("in"), capture).unwrap();
        place
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_straddle"));
        command.current_dir(&self.0).args(["translate", "--config", "straddle.toml", "in"]).args(words);
        command.output().unwrap()
    }

    fn files(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Time, verdict and reason of each packet.
fn check(name: &str, capture: &[u8], expected: &[(&str, &str, &str)]) {
    let output = Place::new(name, capture).run(&["--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{name}");
    let expected: Vec<String> = expected
        .iter()
        .enumerate()
        .map(|(index, (time, verdict, reason))| {
            let reason = if reason.is_empty() { "null".into() } else { format!("\"{reason}\"") };
            let packet = index + 1;
            format!(
                "{{\"packet\": {packet}, \"time\": {time}, \"verdict\": \"{verdict}\", \"reason\": {reason}, "
            )
        })
        .collect();
    assert_eq!(text.lines().count(), expected.len(), "{name}: {text}");
    for (line, expected) in text.lines().zip(expected) {
        assert!(line.starts_with(&expected), "{name}: {line} is not {expected}");
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[test]
fn pcap() {
    let told = |fraction: &str| [(format!("1700000000.{fraction}"), "forward")];
    for (order, magic, fraction, shown) in [
        (LITTLE, MICRO, 7, "000007"),
        (BIG, MICRO, 999_999, "999999"),
        (LITTLE, NANO, 7, "000000007"),
        (BIG, NANO, 123_456_789, "123456789"),
    ] {
        let [(time, verdict)] = &told(shown);
        check("pcap", &order.pcap(magic, 101, fraction, &[QUERY], 0), &[(time, verdict, "")]);
    }
    check(
        "verdicts",
        &LITTLE.pcap(MICRO, 12, 0, &[QUERY, DYING, OBSOLETE, ELSEWHERE, "00", ""], 0),
        &[
            ("1700000000.000000", "forward", ""),
            ("1700000001.000000", "reply", "time-exceeded"),
            ("1700000002.000000", "drop", "icmp-obsolete"),
            ("1700000003.000000", "pass", "not-ours"),
            ("1700000004.000000", "drop", "version"),
            ("1700000005.000000", "drop", "truncated"),
        ],
    );
    check("snapped", &LITTLE.pcap(MICRO, 101, 0, &[QUERY], 1), &[("1700000000.000000", "drop", "snapped")]);
    check("nothing", &LITTLE.pcap(MICRO, 101, 0, &[], 0), &[]);
}

#[test]
fn link_types() {
    let frames = [
        format!("{MACS} 0800 {QUERY}"),
        format!("{MACS} 0800 {QUERY} 0000000000"),
        format!("{MACS} 88a8 0001 8100 0002 0800 {QUERY}"),
        format!("{MACS} 0806 {QUERY}"),
        format!("{MACS} 86dd {QUERY}"),
        MACS.to_string(),
    ];
    let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
    check(
        "ethernet",
        &LITTLE.pcap(MICRO, 1, 0, &frames, 0),
        &[
            ("1700000000.000000", "forward", ""),
            ("1700000001.000000", "forward", ""),
            ("1700000002.000000", "forward", ""),
            ("1700000003.000000", "pass", "not-ip"),
            ("1700000004.000000", "drop", "link-version"),
            ("1700000005.000000", "drop", "link-header"),
        ],
    );
    let of_link = |link: u32, expected: [(&str, &str); 2]| {
        let [(verdict, reason), (other, other_reason)] = expected;
        check(
            "link",
            &BIG.pcap(MICRO, link, 0, &[QUERY, ELSEWHERE], 0),
            &[("1700000000.000000", verdict, reason), ("1700000001.000000", other, other_reason)],
        );
    };
    for raw in [12, 14, 101] {
        of_link(raw, [("forward", ""), ("pass", "not-ours")]);
    }
    of_link(228, [("forward", ""), ("drop", "link-version")]);
    of_link(229, [("drop", "link-version"), ("pass", "not-ours")]);
    // The frame check sequence's length stands in the upper half.
    of_link(0x1400_0065, [("forward", ""), ("pass", "not-ours")]);
}

#[test]
fn pcapng() {
    for (name, order) in [("ng-little", LITTLE), ("ng-big", BIG)] {
        let blocks = [
            order.section(),
            order.interface(101, 6, 0),
            order.interface(1, 9, 1),
            order.block(0x0bad, &[1, 2, 3, 4, 5]),
            order.enhanced(0, 1_700_000_000_000_001, QUERY),
            order.enhanced(1, 1_500_000_001, &format!("{MACS} 0800 {DYING}")),
            order.simple(QUERY),
            order.section(),
            order.interface(229, 0x81, 0),
            order.enhanced(0, 5, ELSEWHERE),
        ];
        check(
            name,
            &blocks.concat(),
            &[
                ("1700000000.000001", "forward", ""),
                ("2.500000001", "reply", "time-exceeded"),
                ("null", "forward", ""),
                ("2.5", "pass", "not-ours"),
            ],
        );
    }
    // A section may have the other order of bytes.
    let blocks = [LITTLE.section(), LITTLE.interface(101, 6, 0), BIG.section(), BIG.interface(101, 0, 0)];
    let blocks = [blocks.concat(), BIG.enhanced(0, 7, QUERY)].concat();
    check("ng-both", &blocks, &[("7", "forward", "")]);
}

#[test]
fn what_comes_out() {
    let place = Place::new("out", &LITTLE.pcap(MICRO, 101, 5, &[QUERY, DYING, ELSEWHERE], 0));
    let output = place.run(&["out", "--json", "--bridge", "net"]);
    let told: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let hex = |packet: &[u8]| packet.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let forward = json!([{ "side": "ipv6", "kind": "forward", "bytes": hex(&bytes(QUERY6)) }]);
    assert_eq!(told[0]["out"], forward);
    assert_eq!((&told[1]["out"][0]["side"], &told[1]["out"][0]["kind"]), (&json!("ipv4"), &json!("reply")));
    assert_eq!(told[2]["out"], json!([]));
    let reply = told[1]["out"][0]["bytes"].as_str().unwrap();
    let expected = LITTLE.pcap(MICRO, 101, 5, &[QUERY6, reply], 0);
    assert_eq!(fs::read(place.0.join("out")).unwrap(), expected);
    assert_eq!(place.files(), 3);
}

#[test]
fn finer_times_come_out_as_fine() {
    for (name, capture) in [
        ("fine", BIG.pcap(NANO, 101, 123_456_789, &[QUERY], 0)),
        (
            "fine-ng",
            [
                LITTLE.section(),
                LITTLE.interface(101, 9, 0),
                LITTLE.enhanced(0, 1_700_000_000_123_456_789, QUERY),
            ]
            .concat(),
        ),
    ] {
        let place = Place::new(name, &capture);
        assert_eq!(place.run(&["out"]).status.code(), Some(0));
        let expected = LITTLE.pcap(NANO, 101, 123_456_789, &[QUERY6], 0);
        assert_eq!(fs::read(place.0.join("out")).unwrap(), expected, "{name}");
    }
}

/// Exit code and the first line of the complaint; nothing is written, and what was there stays.
fn check_broken(name: &str, capture: &[u8], words: &[&str], code: i32, complaint: &str) {
    let place = Place::new(name, capture);
    fs::write(place.0.join("out"), "as it was").unwrap();
    let output = place.run(&[&["out"], words].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert_eq!(told.lines().next(), Some(complaint), "{name}");
    assert_eq!(fs::read(place.0.join("out")).unwrap(), b"as it was");
    assert_eq!(place.files(), 3, "{name}");
}

#[test]
fn what_can_not_be_read() {
    let good = LITTLE.pcap(MICRO, 101, 0, &[QUERY, QUERY], 0);
    check_broken("empty", &[], &[], 1, "error: in is neither pcap nor pcapng");
    check_broken("text", &[b'x'; 5000], &[], 1, "error: in is neither pcap nor pcapng");
    check_broken("header", &good[..23], &[], 1, "error: in is neither pcap nor pcapng");
    check_broken("cut", &good[..good.len() - 1], &[], 1, "error: in ends within a record, after packet 1");
    let bluetooth = LITTLE.pcap(MICRO, 201, 0, &[QUERY], 0);
    check_broken("link-type", &bluetooth, &[], 1, "error: in has packets of link type 201");
    let mut endless = good.clone();
    endless[24 + 8..24 + 12].fill(0xff);
    endless.resize(40_000_000, 0);
    check_broken("endless", &endless, &[], 1, "error: in has no record of pcap or pcapng at byte 24");
    let unknown = [LITTLE.section(), LITTLE.enhanced(0, 0, QUERY)].concat();
    check_broken("interface", &unknown, &[], 1, "error: in has no record of pcap or pcapng at byte 28");
    let mut lying = [LITTLE.section(), LITTLE.interface(101, 6, 0), LITTLE.enhanced(0, 0, QUERY)].concat();
    let length = lying.len();
    lying[length - 4] ^= 1;
    check_broken("length", &lying, &[], 1, "error: in has no record of pcap or pcapng at byte 72");
    check_broken("bridge", &good, &["--bridge", "x"], 2, "error: the file has no bridge `x`");
}

#[test]
fn for_people() {
    let place = Place::new("text", &LITTLE.pcap(MICRO, 101, 0, &[QUERY, DYING, ELSEWHERE, ELSEWHERE], 0));
    let output = place.run(&[]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "  1  0.000000  forward  192.0.2.1 > 198.51.100.7 udp 53  ->  ipv6 64:ff9b::c000:201 > 2001:db8:3::7 53 bytes
  2  1.000000  reply    192.0.2.1 > 198.51.100.7 udp 53  time-exceeded  ->  ipv4 from 203.0.113.1
  3  2.000000  pass     2001:db8:3::7 > 2001:db8::1 protocol 59  not-ours
  4  3.000000  pass     2001:db8:3::7 > 2001:db8::1 protocol 59  not-ours

4 packets: 1 forward, 1 reply, 2 pass, 0 drop; 2 came out
      2  not-ours: The destination is none that the translator knows.
      1  time-exceeded: The TTL or hop limit ran out at the translator.
"
    );
}
