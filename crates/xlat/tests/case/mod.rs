//! Cases of translation as they are written: see `cases.rs`.

use std::fs;
use std::path::Path;

use straddle_wire::vnet::{self, Gso};
use straddle_xlat::{Config, Hairpin, Mode, Reason, TrafficClass, UdpZeroChecksum, eam, rfc6052};

/// Every case of a folder, by its name.
pub(crate) fn cases(root: &Path) -> Vec<(String, Case)> {
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

pub(crate) struct Case {
    pub(crate) rule: String,
    pub(crate) config: Config,
    pub(crate) steps: Vec<Step>,
}

/// One incoming packet and its end.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) now: u64,
    /// How often it comes again.
    pub(crate) again: usize,
    pub(crate) packet: Packet,
    pub(crate) verdict: String,
    pub(crate) outs: Vec<(String, Packet)>,
}

/// Bytes as written, line for line, and what a tun device said or is told of them.
#[derive(Default)]
pub(crate) struct Packet {
    pub(crate) lines: Vec<Line>,
    pub(crate) offload: vnet::Header,
    pub(crate) open: bool,
}

pub(crate) struct Line {
    pub(crate) comment: String,
    /// Value and mask.
    pub(crate) bytes: Vec<(u8, u8)>,
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
    pub(crate) fn read(text: &str) -> Result<Self, String> {
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
    /// Value and mask of each.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = (u8, u8)> {
        self.lines.iter().flat_map(|line| line.bytes.iter().copied())
    }

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
