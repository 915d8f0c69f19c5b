//! Ring 2: `cases/SECTION-NAME.case`, one file a rule, in the order of RFC 7915's sections.
//!
//! A file opens with its rule. `config:` has keys of the configuration file; then packets come `in:`, each with its
//! `verdict:` and what comes `out`. Bytes are hex, `?` any digit, `00*12` a run, `seq(A..B)` bytes A to B of
//! the 16-bit numbers 0, 1, 2 and so on, `..` any rest; `#` begins a comment.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod case;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use straddle_wire::ip::Version;
use straddle_wire::vnet;
use straddle_xlat::{Kind, Out, Reason, State, Translator, Verdict};

use case::{Case, Packet, Step};

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
    case::cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"))
}

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
