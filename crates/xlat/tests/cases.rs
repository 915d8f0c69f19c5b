//! Ring 2: `cases/SECTION-NAME.case`, one file a rule, in the order of RFC 7915's sections.
//!
//! A file opens with its rule. `config:` has keys of the configuration file; then packets come `in:`, each with its
//! `verdict:` and what comes `out`. Bytes are hex, `?` any digit, `00*12` a run, `seq(A..B)` bytes A to B of
//! the 16-bit numbers 0, 1, 2 and so on, `..` any rest; `#` begins a comment.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use straddle_wire::ip::Version;
use straddle_wire::vnet::{self, Gso};
use straddle_xlat::{
    Config, Hairpin, Kind, Mode, Out, Reason, State, TrafficClass, Translator, UdpZeroChecksum, Verdict, eam,
    rfc6052,
};

#[test]
fn every_case_comes_out_as_written() {
    let cases = cases();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(name, case)| Some(format!("{name}: {}\n{}", case.rule, run(case)?)))
        .collect();
    assert!(cases.len() >= 200, "only {} cases were found", cases.len());
    assert!(wrong.is_empty(), "{} of {} cases:\n\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_reason_has_a_case() {
    let named: BTreeSet<String> = cases()
        .into_iter()
        .flat_map(|(_, case)| case.steps)
        .filter_map(|step| step.verdict.split_once(' ').map(|(_, reason)| reason.to_string()))
        .collect();
    let missing: Vec<&str> =
        Reason::ALL.iter().map(|r| r.name()).filter(|name| !named.contains(*name)).collect();
    assert!(missing.is_empty(), "reasons without a case: {}", missing.join(", "));
}

#[test]
fn unknown_words_are_refused() {
    let check = |text: &str, wrong: &str| {
        let found = Case::read(&format!("# A rule.\n{text}\nverdict: forward\n")).err().unwrap_or_default();
        assert!(found.starts_with(wrong), "{text}: {found}");
    };
    check("config:\n  pool7 = ::/96\nin:", "unknown key pool7");
    check("config:\n  hairpin = some\nin:", "unknown value some");
    check("config:\n  mtu4 = 70000\nin:", "not what it should be");
    check("in:\n  0g", "no hex digit");
    check("in:\n  000", "half a byte");
    check("in:\n  ??", "an incoming byte left open");
    check("in:\n  offload: gso tcpv5", "unknown value tcpv5");
    check("in:\nverdict: drop it", "no reason is called it");
    check("in:\nout ipv5 reply:", "unknown word");
    check("in:\nout ipv4 reply:\n  ..\n  00", "bytes behind the open end");
    check("into:", "unknown word");
    check("", "no packet yet");
}

fn cases() -> Vec<(String, Case)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let case = Case::read(&fs::read_to_string(path).unwrap());
            let case = case.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
            (name, case)
        })
        .collect()
}

struct Case {
    rule: String,
    config: Config,
    steps: Vec<Step>,
}

/// One incoming packet and its end.
#[derive(Default)]
struct Step {
    now: u64,
    /// How often it comes again.
    again: usize,
    packet: Packet,
    verdict: String,
    outs: Vec<(String, Packet)>,
}

/// Bytes as written, line for line, and what a tun device said or is told of them.
#[derive(Default)]
struct Packet {
    lines: Vec<Line>,
    offload: vnet::Header,
    open: bool,
}

struct Line {
    comment: String,
    /// Value and mask.
    bytes: Vec<(u8, u8)>,
}

// --- What happens.

/// What is wrong, if anything.
fn run(case: &Case) -> Option<String> {
    let translator = Translator::new(case.config.clone());
    let mut state = State::new(0x5eed);
    let mut wrong = String::new();
    for (number, step) in case.steps.iter().enumerate() {
        for complaint in (0..=step.again).flat_map(|_| translate(&translator, &mut state, step)) {
            writeln!(wrong, "  packet {}: {complaint}", number + 1).unwrap();
        }
    }
    (!wrong.is_empty()).then_some(wrong)
}

fn translate(translator: &Translator, state: &mut State, step: &Step) -> Vec<String> {
    let mut outs = Vec::new();
    let packet: Vec<u8> = step.packet.bytes().map(|(value, _)| value).collect();
    let verdict = translator.translate(state, step.now, &step.packet.offload, &packet, &mut |out| {
        assert!(out.head.len() <= Out::HEAD, "a head of {} bytes", out.head.len());
        outs.push((kind(out.side, out.kind), [out.head, out.payload].concat(), out.offload));
    });
    let mut wrong = compare(step, &words(verdict), &outs);
    for (at, (kind, bytes, offload)) in outs.iter().enumerate() {
        let expected = step.outs.get(at).map(|(_, packet)| packet);
        let checksum = if kind.starts_with("ipv4") { ICMPV4_CHECKSUM } else { ICMPV6_CHECKSUM };
        let left_open =
            expected.is_some_and(|packet| packet.bytes().nth(checksum).is_some_and(|(_, mask)| mask == 0));
        wrong.extend(unsound(kind, bytes, left_open));
        if kind.ends_with("reply") && *offload != vnet::Header::default() {
            wrong.push(format!("out {}: a reply with {offload:?}", at + 1));
        }
    }
    let identifications =
        outs.iter().filter(|(kind, ..)| kind == "ipv4 forward").map(|(_, bytes, _)| &bytes[4..6]);
    if identifications.collect::<BTreeSet<_>>().len() > 1 {
        wrong.push("the fragments of one packet differ in their identification".into());
    }
    wrong
}

/// Where they are behind an IP header without options.
const ICMPV4_CHECKSUM: usize = 22;
const ICMPV6_CHECKSUM: usize = 42;

fn compare(step: &Step, verdict: &str, outs: &[(String, Vec<u8>, vnet::Header)]) -> Vec<String> {
    let mut wrong = Vec::new();
    if step.verdict != verdict {
        wrong.push(format!("verdict: expected {}, found {verdict}", step.verdict));
    }
    for (at, (kind, bytes, offload)) in outs.iter().enumerate() {
        let Some((expected_kind, expected)) = step.outs.get(at) else {
            wrong.push(format!(
                "out {}: {kind} of {} bytes was not expected: {}",
                at + 1,
                bytes.len(),
                hex(bytes)
            ));
            continue;
        };
        if expected_kind != kind {
            wrong.push(format!("out {}: expected {expected_kind}, found {kind}", at + 1));
        }
        // The length of all headers is a hint: compared where it is written.
        let hint = if expected.offload.hdr_len == 0 { 0 } else { offload.hdr_len };
        if expected.offload != (vnet::Header { hdr_len: hint, ..*offload }) {
            wrong.push(format!("out {}: expected {:?}, found {offload:?}", at + 1, expected.offload));
        }
        wrong.extend(expected.difference(bytes).map(|text| format!("out {}:\n{text}", at + 1)));
    }
    for (kind, _) in step.outs.iter().skip(outs.len()) {
        wrong.push(format!("missing: out {kind}"));
    }
    wrong
}

fn kind(side: Version, kind: Kind) -> String {
    let side = match side {
        Version::V4 => "ipv4",
        Version::V6 => "ipv6",
    };
    match kind {
        Kind::Forward => format!("{side} forward"),
        Kind::Reply => format!("{side} reply"),
    }
}

fn words(verdict: Verdict) -> String {
    match verdict {
        Verdict::Forward => "forward".into(),
        Verdict::Reply(reason) => format!("reply {}", reason.name()),
        Verdict::Pass(reason) => format!("pass {}", reason.name()),
        Verdict::Drop(reason) => format!("drop {}", reason.name()),
    }
}

/// What no packet may be, whatever the case leaves open: lengths, and the sums that cover open bytes.
fn unsound(kind: &str, bytes: &[u8], left_open: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut claim = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{kind}: {what} is wrong: {}", hex(bytes)));
        }
    };
    let length = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    if kind.starts_with("ipv4") {
        claim(length(2) == bytes.len(), "total length");
        claim(sum(&bytes[..20]) == 0xffff, "header checksum");
        claim(!(left_open || kind.ends_with("reply")) || sum(&bytes[20..]) == 0xffff, "ICMPv4 checksum");
        claim(!left_open || sum(&bytes[28..48]) == 0xffff, "header checksum of the packet in error");
    } else {
        claim(length(4) + 40 == bytes.len(), "payload length");
        let upper = u32::try_from(length(4)).unwrap().to_be_bytes();
        let pseudo = [&bytes[8..40], &upper, &[0, 0, 0, 58], &bytes[40..]].concat();
        claim(!(left_open || kind.ends_with("reply")) || sum(&pseudo) == 0xffff, "ICMPv6 checksum");
    }
    wrong
}

/// One's complement sum.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(120).map(|byte| format!("{byte:02x}"));
    shown.collect::<Vec<_>>().join(" ") + if bytes.len() > 120 { " …" } else { "" }
}

impl Packet {
    fn bytes(&self) -> impl Iterator<Item = (u8, u8)> {
        self.lines.iter().flat_map(|line| line.bytes.iter().copied())
    }

    /// The lines that differ, with what each is.
    fn difference(&self, found: &[u8]) -> Option<String> {
        let mut text = String::new();
        let mut at = 0;
        for line in &self.lines {
            let here = found.get(at..).unwrap_or_default();
            let here = here.get(..line.bytes.len()).unwrap_or(here);
            let differs = |(k, (value, mask)): (usize, &(u8, u8))| {
                here.get(k).is_none_or(|byte| byte & mask != value & mask)
            };
            if let Some(first) = line.bytes.iter().enumerate().position(differs) {
                let expected: Vec<u8> = line.bytes.iter().map(|(value, _)| *value).collect();
                let (byte, comment) = (at + first, &line.comment);
                writeln!(
                    text,
                    "    byte {byte}: {comment}\n      expected {}\n      found    {}",
                    hex(&expected),
                    hex(here)
                )
                .unwrap();
            }
            at += line.bytes.len();
        }
        if found.len() != at && !(self.open && found.len() > at) {
            writeln!(text, "    expected {at} bytes, found {}", found.len()).unwrap();
        }
        (!text.is_empty()).then_some(text)
    }
}

// --- What is written.

/// Where an indented line belongs.
enum Block {
    None,
    Config,
    In,
    Out,
}

impl Case {
    fn read(text: &str) -> Result<Self, String> {
        let mut case = Self { rule: String::new(), config: Config::default(), steps: Vec::new() };
        let mut mappings = Vec::new();
        let mut block = Block::None;
        for line in text.lines() {
            let (code, comment) = line.split_once('#').unwrap_or((line, ""));
            if code.trim().is_empty() {
                if case.steps.is_empty() && matches!(block, Block::None) {
                    case.rule = format!("{} {}", case.rule, comment.trim()).trim().into();
                }
            } else if code.starts_with(' ') {
                match block {
                    Block::None => Err("a line before any block".to_string()),
                    Block::Config => setting(&mut case.config, &mut mappings, code),
                    Block::In => last(&mut case.steps)?.packet.line(code, comment, false),
                    Block::Out => {
                        let outs = &mut last(&mut case.steps)?.outs;
                        outs.last_mut().ok_or("no out")?.1.line(code, comment, true)
                    }
                }
                .map_err(|wrong| format!("{wrong} in: {line}"))?;
            } else {
                block =
                    directive(&mut case.steps, code.trim()).map_err(|wrong| format!("{wrong} in: {line}"))?;
            }
        }
        if case.rule.is_empty()
            || case.steps.iter().any(|step| step.verdict.is_empty())
            || case.steps.is_empty()
        {
            return Err("rule, packet or verdict is missing".into());
        }
        case.config.eam = eam::Table::new(&mappings).map_err(|wrong| format!("eam: {wrong:?}"))?;
        Ok(case)
    }
}

fn last(steps: &mut [Step]) -> Result<&mut Step, String> {
    steps.last_mut().ok_or_else(|| "no packet yet".to_string())
}

fn directive(steps: &mut Vec<Step>, line: &str) -> Result<Block, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["config:"] if steps.is_empty() => return Ok(Block::Config),
        ["in:"] => steps.push(Step::default()),
        ["in", "at", now] => {
            steps.push(Step { now: number(now.strip_suffix(':').ok_or("no colon")?)?, ..Step::default() });
        }
        ["in", times, "times:"] => {
            steps.push(Step { again: number::<usize>(times)?.saturating_sub(1), ..Step::default() });
        }
        ["verdict:", "forward"] => last(steps)?.verdict = "forward".into(),
        ["verdict:", verdict @ ("reply" | "pass" | "drop"), reason] => {
            if !Reason::ALL.iter().any(|known| known.name() == *reason) {
                return Err(format!("no reason is called {reason}"));
            }
            last(steps)?.verdict = format!("{verdict} {reason}");
        }
        ["out", side @ ("ipv4" | "ipv6"), kind @ ("forward:" | "reply:")] => {
            let kind = format!("{side} {}", kind.trim_end_matches(':'));
            last(steps)?.outs.push((kind, Packet::default()));
            return Ok(Block::Out);
        }
        _ => return Err("unknown word".into()),
    }
    Ok(if words.first() == Some(&"verdict:") { Block::None } else { Block::In })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("not what it should be: {text}"))
}

fn setting(config: &mut Config, mappings: &mut Vec<eam::Mapping>, line: &str) -> Result<(), String> {
    let (key, value) = line.split_once('=').ok_or("no equals sign")?;
    let value = value.trim();
    match key.trim() {
        "mode" => config.mode = choice(value, &[("siit", Mode::Siit), ("clat", Mode::Clat)])?,
        "pool6" => {
            for prefix in value.split(',') {
                let prefix = rfc6052::Prefix::new(number(prefix)?).map_err(|wrong| format!("{wrong:?}"))?;
                config.pool6.push(prefix);
            }
        }
        "eam" => {
            let (v4, v6) = value.split_once(' ').ok_or("not two prefixes")?;
            mappings.push(eam::Mapping { v6: number(v6)?, v4: number(v4)? });
        }
        "own4" => config.own4 = Some(number(value)?),
        "own6" => config.own6 = Some(number(value)?),
        "rfc6791v4" => config.rfc6791v4 = Some(number(value)?),
        "rfc6791v6" => config.rfc6791v6 = Some(number(value)?),
        "lowest-ipv6-mtu" => config.lowest_ipv6_mtu = number(value)?,
        "mtu4" => config.mtu4 = number(value)?,
        "mtu6" => config.mtu6 = number(value)?,
        "udp-zero-checksum" => {
            let known = [
                ("drop", UdpZeroChecksum::Drop),
                ("compute", UdpZeroChecksum::Compute),
                ("pass", UdpZeroChecksum::Pass),
            ];
            config.udp_zero_checksum = choice(value, &known)?;
        }
        "hairpin" => {
            let known =
                [("none", Hairpin::None), ("simple", Hairpin::Simple), ("intrinsic", Hairpin::Intrinsic)];
            config.hairpin = choice(value, &known)?;
        }
        "mtu-plateaus" => config.mtu_plateaus = value.split(',').map(number).collect::<Result<_, _>>()?,
        "traffic-class" => {
            let copy = value == "copy";
            config.traffic_class =
                if copy { TrafficClass::Copy } else { TrafficClass::Fixed(number(value)?) };
        }
        "private-through-well-known" => config.private_through_well_known = number(value)?,
        other => return Err(format!("unknown key {other}")),
    }
    Ok(())
}

fn choice<T: Copy>(value: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == value);
    found.map(|(_, choice)| *choice).ok_or_else(|| format!("unknown value {value}"))
}

impl Packet {
    fn line(&mut self, code: &str, comment: &str, pattern: bool) -> Result<(), String> {
        if let Some(words) = code.trim().strip_prefix("offload:") {
            self.offload = offload(words)?;
            return Ok(());
        }
        if self.open {
            return Err("bytes behind the open end".into());
        }
        let mut bytes = Vec::new();
        for token in code.split_whitespace() {
            if token == ".." && pattern {
                self.open = true;
            } else if let Some(range) = token.strip_prefix("seq(").and_then(|rest| rest.strip_suffix(')')) {
                let (from, to) = range.split_once("..").ok_or("no range")?;
                bytes.extend((number(from)?..number(to)?).map(|at: usize| (numbers(at), 0xff)));
            } else if let Some((byte, count)) = token.split_once('*') {
                let run = masked(byte)?.repeat(number(count)?);
                bytes.extend(run);
            } else {
                bytes.extend(masked(token)?);
            }
        }
        if !pattern && bytes.iter().any(|(_, mask)| *mask != 0xff) {
            return Err("an incoming byte left open".into());
        }
        self.lines.push(Line { comment: comment.trim().into(), bytes });
        Ok(())
    }
}

/// A byte of the 16-bit numbers 0, 1, 2 and so on, big-endian: each place in a packet has its own.
fn numbers(at: usize) -> u8 {
    u16::try_from(at / 2).unwrap().to_be_bytes()[at % 2]
}

fn masked(token: &str) -> Result<Vec<(u8, u8)>, String> {
    let digits: Vec<Option<u8>> = token
        .chars()
        .map(|digit| match digit {
            '?' => Ok(None),
            digit => {
                digit.to_digit(16).map(|digit| Some(digit as u8)).ok_or(format!("no hex digit: {digit}"))
            }
        })
        .collect::<Result<_, _>>()?;
    let mask = |digit: Option<u8>| if digit.is_some() { 0xf } else { 0 };
    let byte = |pair: &[Option<u8>]| match pair {
        [a, b] => Ok((a.unwrap_or(0) << 4 | b.unwrap_or(0), mask(*a) << 4 | mask(*b))),
        _ => Err(format!("half a byte: {token}")),
    };
    digits.chunks(2).map(byte).collect()
}

fn offload(words: &str) -> Result<vnet::Header, String> {
    let mut header = vnet::Header::default();
    let mut words = words.split_whitespace();
    while let Some(word) = words.next() {
        if word == "needs-csum" {
            header.flags |= vnet::NEEDS_CSUM;
            continue;
        }
        if word == "ecn" {
            header.ecn = true;
            continue;
        }
        let value = words.next().ok_or("no value")?;
        match word {
            "start" => header.csum_start = number(value)?,
            "offset" => header.csum_offset = number(value)?,
            "size" => header.gso_size = number(value)?,
            "headers" => header.hdr_len = number(value)?,
            "gso" => {
                let known = [
                    ("tcpv4", Gso::TcpV4),
                    ("tcpv6", Gso::TcpV6),
                    ("udp-l4", Gso::UdpL4),
                    ("udp", Gso::Udp),
                    ("other", Gso::Other(9)),
                ];
                header.gso = choice(value, &known)?;
            }
            other => return Err(format!("unknown word {other}")),
        }
    }
    Ok(header)
}
