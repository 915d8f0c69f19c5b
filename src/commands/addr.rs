use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use straddle_intent::model::{Address6, Clat, Model, Prefix64, Siit};
use straddle_xlat::eam::Mapping;
use straddle_xlat::rfc6052::{LENGTHS, NotDiscovered, NotEmbedded, Prefix};

use crate::cli::{Addr, Exit, Place, Sum, Whence};
use crate::complaint::Complaint;
use crate::render;
use crate::say;
use crate::site::read;

use super::Ended;

/// What `addr` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An IPv4 address in a prefix.
    Embedded { prefix: Prefix, ipv4: Ipv4Addr, ipv6: Ipv6Addr },
    /// The IPv4 addresses that an IPv6 address may stand for, each with its prefix.
    Extracted { ipv6: Ipv6Addr, held: Vec<(Prefix, Ipv4Addr)> },
    /// The prefix that each answer for `ipv4only.arpa` tells.
    Prefixes(Vec<(Ipv6Addr, Result<Prefix, NotDiscovered>)>),
    /// What bridges make of an address.
    Crossings { address: IpAddr, found: Vec<Crossing> },
}

/// What one bridge makes of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crossing {
    pub(crate) bridge: String,
    pub(crate) host: String,
    /// The address on the other side; nothing where that is known at run time only, or never.
    pub(crate) to: Option<IpAddr>,
    /// By what, or why not.
    pub(crate) why: String,
}

/// Does the sum that was asked for.
pub(crate) fn addr(place: &Place, question: &Addr) -> Ended {
    let (answer, json) = answer(place, question)?;
    if let Some(note) = answer.note() {
        say::aside(&(render::warning(note) + "\n"));
    }
    say::result(&if json { render::addr_json(&answer) + "\n" } else { render::addr(&answer) })?;
    Ok(Exit::Done)
}

/// The answer, and whether it is wanted as data.
fn answer(place: &Place, question: &Addr) -> Result<(Answer, bool), Complaint> {
    Ok(match (&question.sum, question.address) {
        (Some(Sum::Embed { prefix, ipv4, json }), _) => {
            (Answer::Embedded { prefix: *prefix, ipv4: *ipv4, ipv6: prefix.embed(*ipv4) }, *json)
        }
        (Some(Sum::Extract { prefix, ipv6, json }), _) => (extracted(*prefix, *ipv6)?, *json),
        (Some(Sum::Prefix { answers, json }), _) => (discovered(answers)?, *json),
        (None, Some(address)) => (crossings(place, address)?, question.json),
        (None, None) => {
            let help = "write one: `straddle addr 192.0.2.1`; or see `straddle addr --help`".into();
            return Err(Complaint::Other { message: "no address was asked for".into(), help });
        }
    })
}

impl Answer {
    /// What is odd about it.
    fn note(&self) -> Option<&'static str> {
        match self {
            Answer::Extracted { ipv6, held } => {
                let odd = held.iter().any(|(prefix, ipv4)| prefix.embed(*ipv4) != *ipv6);
                odd.then_some("the bits behind the IPv4 address are not zero: RFC 6052 keeps them for later")
            }
            Answer::Embedded { .. } | Answer::Prefixes(_) | Answer::Crossings { .. } => None,
        }
    }
}

fn extracted(whence: Whence, ipv6: Ipv6Addr) -> Result<Answer, Complaint> {
    let held = match whence {
        Whence::Auto => candidates(ipv6),
        Whence::Given(prefix) => {
            let ipv4 = prefix.extract(ipv6).map_err(|why| not_embedded(prefix, ipv6, why))?;
            vec![(prefix, ipv4)]
        }
    };
    if held.is_empty() {
        return Err(Complaint::Other {
            message: format!("{ipv6} holds no IPv4 address at any of the six places"),
            help: "was it made by an explicit mapping? `straddle addr ADDRESS` looks into the file".into(),
        });
    }
    Ok(Answer::Extracted { ipv6, held })
}

/// Every prefix that makes just this address out of an IPv4 address that hosts have. The well-known one
/// leaves no question.
fn candidates(ipv6: Ipv6Addr) -> Vec<(Prefix, Ipv4Addr)> {
    let made = |prefix: Prefix| {
        let ipv4 = prefix.extract(ipv6).ok()?;
        (prefix.embed(ipv4) == ipv6 && !matches!(ipv4.octets(), [0 | 224.., ..])).then_some((prefix, ipv4))
    };
    if let Some(found) = made(Prefix::WELL_KNOWN) {
        return vec![found];
    }
    // The longest first: most networks have a /96.
    LENGTHS.iter().rev().filter_map(|length| made(Prefix::around(ipv6, *length).ok()?)).collect()
}

fn not_embedded(prefix: Prefix, ipv6: Ipv6Addr, why: NotEmbedded) -> Complaint {
    match why {
        NotEmbedded::Outside => Complaint::Other {
            message: format!("{ipv6} is not inside {prefix}"),
            help: "write the prefix that it was made with, or `auto`".into(),
        },
        NotEmbedded::UOctet => Complaint::Other {
            message: format!("{ipv6} holds no IPv4 address: its bits 64 to 71 are not zero"),
            help: "is it an address of a host that has no IPv4 address, or is the prefix longer?".into(),
        },
    }
}

fn discovered(answers: &[Ipv6Addr]) -> Result<Answer, Complaint> {
    let told: Vec<(Ipv6Addr, Result<Prefix, NotDiscovered>)> =
        answers.iter().map(|answer| (*answer, Prefix::discovered(*answer, answers))).collect();
    if told.iter().any(|(_, prefix)| prefix.is_ok()) {
        return Ok(Answer::Prefixes(told));
    }
    let ambiguous = told.iter().any(|(_, prefix)| *prefix == Err(NotDiscovered::Several));
    Err(if ambiguous {
        Complaint::Other {
            message: "192.0.0.170 or 192.0.0.171 stands at several places of the answer".into(),
            help: "write all AAAA answers: the place where they differ is the one".into(),
        }
    } else {
        Complaint::Other {
            message: "neither 192.0.0.170 nor 192.0.0.171 is in it, at any of the six places".into(),
            help: "write what `dig +short AAAA ipv4only.arpa` answers".into(),
        }
    })
}

fn crossings(place: &Place, address: IpAddr) -> Result<Answer, Complaint> {
    let model = read(&place.config)?.model;
    let found = through(&model, address);
    if found.is_empty() {
        let siits = model.siits.iter().map(|siit| siit.name.as_str());
        let names: Vec<&str> = siits.chain(model.clats.iter().map(|clat| clat.name.as_str())).collect();
        return Err(Complaint::Other {
            message: format!("no bridge of {} translates {address}", place.config.display()),
            help: if names.is_empty() {
                "it has no translator: describe one as [[siit]] or [[clat]]".into()
            } else {
                format!("its translators are {}: see their pool6, eam and prefix64", names.join(", "))
            },
        });
    }
    Ok(Answer::Crossings { address, found })
}

fn through(model: &Model, address: IpAddr) -> Vec<Crossing> {
    let siits = model.siits.iter().filter_map(|siit| {
        let (to, why) = match address {
            IpAddr::V4(address) => siit_to6(siit, address)?,
            IpAddr::V6(address) => siit_to4(siit, address)?,
        };
        Some(Crossing { bridge: siit.name.clone(), host: siit.host.clone(), to, why })
    });
    let clats = model.clats.iter().filter_map(|clat| {
        let (to, why) = match address {
            IpAddr::V4(address) => clat_to6(clat, address),
            IpAddr::V6(address) => clat_to4(clat, address)?,
        };
        Some(Crossing { bridge: clat.name.clone(), host: clat.host.clone(), to, why })
    });
    siits.chain(clats).collect()
}

/// The address on the other side, and by what.
type Other = (Option<IpAddr>, String);

fn siit_to6(siit: &Siit, address: Ipv4Addr) -> Option<Other> {
    if let Some(mapping) = siit.eam.of4(address) {
        return Some((siit.eam.to6(address).map(IpAddr::V6), by_mapping(mapping)));
    }
    let prefix = siit.pool6.first()?;
    Some((Some(prefix.embed(address).into()), by_pool(siit, *prefix)))
}

fn siit_to4(siit: &Siit, address: Ipv6Addr) -> Option<Other> {
    if let Some(mapping) = siit.eam.of6(address) {
        return Some((siit.eam.to4(address).map(IpAddr::V4), by_mapping(mapping)));
    }
    let prefix = *siit.pool6.iter().find(|prefix| prefix.contains(address))?;
    Some(out_of(prefix, address, by_pool(siit, prefix)))
}

fn by_mapping(mapping: &Mapping) -> String {
    format!("by the mapping of {} to {}", mapping.v4, mapping.v6)
}

fn by_pool(siit: &Siit, prefix: Prefix) -> String {
    let refused = prefix == Prefix::WELL_KNOWN && !siit.private_through_well_known;
    format!("by pool6 {prefix}{}", if refused { "; private addresses are dropped" } else { "" })
}

/// The IPv4 address within a prefix.
fn out_of(prefix: Prefix, address: Ipv6Addr, by: String) -> Other {
    match prefix.extract(address) {
        Ok(found) if prefix.embed(found) == address => (Some(found.into()), by),
        Ok(_) => (None, format!("never: the bits behind the IPv4 address in {prefix} are not zero")),
        Err(NotEmbedded::UOctet | NotEmbedded::Outside) => {
            (None, format!("never: it is in {prefix}, but its bits 64 to 71 are not zero"))
        }
    }
}

fn clat_to6(clat: &Clat, address: Ipv4Addr) -> Other {
    if address == clat.address4 {
        return match clat.address6 {
            Address6::Given(own) => (Some(own.into()), "by address6: the host itself".into()),
            Address6::Within(net) => (None, format!("the host itself: `run` chooses the address in {net}")),
            Address6::Auto => {
                (None, "the host itself: `run` chooses the address in the uplink's network".into())
            }
        };
    }
    match clat.prefix64 {
        Prefix64::Given(prefix) => (Some(prefix.embed(address).into()), format!("by prefix64 {prefix}")),
        Prefix64::Discover => (None, "behind the NAT64: `run` discovers its prefix".into()),
    }
}

fn clat_to4(clat: &Clat, address: Ipv6Addr) -> Option<Other> {
    if clat.address6 == Address6::Given(address) {
        return Some((Some(clat.address4.into()), "by address4: the host itself".into()));
    }
    match clat.prefix64 {
        Prefix64::Given(prefix) if prefix.contains(address) => {
            Some(out_of(prefix, address, format!("by prefix64 {prefix}")))
        }
        Prefix64::Given(_) | Prefix64::Discover => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use straddle_intent::model;

    use super::*;
    use crate::cli::{Cli, Command};

    /// What a person reads: the answer, or the words about a mistake.
    fn said(words: &str) -> String {
        let line = ["straddle", "addr"].into_iter().chain(words.split(' '));
        let said = match Cli::try_parse_from(line) {
            Ok(Cli { place, command: Command::Addr(question) }) => match answer(&place, &question) {
                Ok((answer, true)) => render::addr_json(&answer),
                Ok((answer, false)) => render::addr(&answer) + answer.note().unwrap_or_default(),
                Err(complaint) => render::complaint(&complaint),
            },
            Ok(_) => "another command".into(),
            Err(error) => error.to_string().lines().next().unwrap_or_default().into(),
        };
        anstream::adapter::strip_str(&said).to_string()
    }

    fn check(words: &str, expected: &str) {
        assert_eq!(said(words).trim_end(), expected, "{words}");
    }

    #[test]
    fn embed() {
        check("embed 64:ff9b::/96 192.0.2.33", "64:ff9b::c000:221");
        check("embed 2001:db8:122:344::/64 192.0.2.33", "2001:db8:122:344:c0:2:2100:0");
        check(
            "embed 64:ff9b::/96 192.0.2.33 --json",
            "{\n  \"ipv4\": \"192.0.2.33\",\n  \"ipv6\": \"64:ff9b::c000:221\",\n  \"prefix\": \"64:ff9b::/96\"\n}",
        );
        check(
            "embed 64:ff9b::/95 192.0.2.33",
            "error: invalid value '64:ff9b::/95' for '<PREFIX>': a translation prefix has no length of 95 bits; \
             write one of the six lengths of RFC 6052: /32, /40, /48, /56, /64 or /96",
        );
        check(
            "embed 64:ff9b:: 192.0.2.33",
            "error: invalid value '64:ff9b::' for '<PREFIX>': `64:ff9b::` lacks its prefix length; \
             write \"64:ff9b::/96\"",
        );
    }

    #[test]
    fn extract() {
        check("extract 64:ff9b::/96 64:ff9b::c000:221", "192.0.2.33");
        check("extract auto 64:ff9b::c000:221", "192.0.2.33");
        check("extract auto 2001:db8:64::c000:221", "192.0.2.33");
        check(
            "extract auto 2001:db8:122:344:c0:2:2100::",
            "33.0.0.0         if in 2001:db8:122:344:c0:2::/96\n192.0.2.33       if in 2001:db8:122:344::/64",
        );
        check(
            "extract 2001:db8:122:344::/64 2001:db8:122:344:c0:2:2100:1",
            "192.0.2.33\nthe bits behind the IPv4 address are not zero: RFC 6052 keeps them for later",
        );
        check(
            "extract auto 64:ff9b::c000:221 --json",
            "{\n  \"held\": [\n    {\n      \"ipv4\": \"192.0.2.33\",\n      \"prefix\": \"64:ff9b::/96\"\n    }\n  ],\n  \
             \"ipv6\": \"64:ff9b::c000:221\"\n}",
        );
        check(
            "extract 64:ff9b::/96 2001:db8::1",
            "error: 2001:db8::1 is not inside 64:ff9b::/96\n  \
             help: write the prefix that it was made with, or `auto`",
        );
        check(
            "extract 2001:db8::/32 2001:db8:c000:221:100::",
            "error: 2001:db8:c000:221:100:: holds no IPv4 address: its bits 64 to 71 are not\n  zero\n  \
             help: is it an address of a host that has no IPv4 address, or is the prefix\n    longer?",
        );
        check(
            "extract auto 2001:db8::1",
            "error: 2001:db8::1 holds no IPv4 address at any of the six places\n  \
             help: was it made by an explicit mapping? `straddle addr ADDRESS` looks into\n    the file",
        );
    }

    #[test]
    fn prefix() {
        check("prefix 64:ff9b::c000:aa", "64:ff9b::/96");
        check("prefix 64:ff9b::c000:aa 64:ff9b::c000:ab", "64:ff9b::/96");
        check("prefix 64:ff9b::c000:aa 2001:db8:64:0:c0:0:aa00::", "64:ff9b::/96\n2001:db8:64::/64");
        check(
            "prefix 64:ff9b::c000:aa 2001:db8::1",
            "64:ff9b::/96\nnothing from 2001:db8::1: it holds no well-known address",
        );
        check("prefix 2001:db8:c000:aa::c000:aa 2001:db8:c000:aa::c000:ab", "2001:db8:c000:aa::/96");
        check(
            "prefix 2001:db8:c000:aa::c000:aa",
            "error: 192.0.0.170 or 192.0.0.171 stands at several places of the answer\n  \
             help: write all AAAA answers: the place where they differ is the one",
        );
        check(
            "prefix 2001:db8::1",
            "error: neither 192.0.0.170 nor 192.0.0.171 is in it, at any of the six places\n  \
             help: write what `dig +short AAAA ipv4only.arpa` answers",
        );
    }

    #[test]
    fn what_is_no_question() {
        check("192.0.2", "error: invalid value '192.0.2' for '<ADDRESS>': invalid IP address syntax");
        check("prefix", "error: the following required arguments were not provided:");
        check(
            "192.0.2.1 --config /nowhere",
            "error: /nowhere: No such file or directory (os error 2)\n  help: write the file, or name another with --config FILE",
        );
    }

    const FILE: &str = r#"
[host.gate]
uplink = "eth0"
ipv6   = "2001:db8:eec0::2"

[host.vm]
uplink = "eth0"

[[siit]]
name  = "net"
host  = "gate"
pool6 = ["64:ff9b::/96", "2001:db8:122:344::/64"]
eam   = [["2001:db8:3::/120", "198.51.100.0/24"]]
private-through-well-known = false

[[clat]]
host     = "gate"
prefix64 = "2001:db8:64::/96"
address6 = "2001:db8:eec0::464"

[[clat]]
name    = "roam"
host    = "vm"
prefix6 = "2001:db8:7::/64"
"#;

    #[test]
    fn through_the_bridges_of_a_file() {
        let model = model::read(FILE).unwrap();
        let check = |address: &str, expected: &[&str]| {
            let address = address.parse().unwrap();
            let found = render::addr(&Answer::Crossings { address, found: through(&model, address) });
            let found = anstream::adapter::strip_str(&found).to_string();
            let words: Vec<String> =
                found.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            assert_eq!(words, expected, "{address}");
        };
        let behind = "roam - on vm, behind the NAT64: `run` discovers its prefix";
        check(
            "198.51.100.7",
            &[
                "net 2001:db8:3::7 on gate, by the mapping of 198.51.100.0/24 to 2001:db8:3::/120",
                "clat-gate 2001:db8:64::c633:6407 on gate, by prefix64 2001:db8:64::/96",
                behind,
            ],
        );
        check(
            "8.8.8.8",
            &[
                "net 64:ff9b::808:808 on gate, by pool6 64:ff9b::/96; private addresses are dropped",
                "clat-gate 2001:db8:64::808:808 on gate, by prefix64 2001:db8:64::/96",
                behind,
            ],
        );
        check(
            "192.0.0.2",
            &[
                "net 64:ff9b::c000:2 on gate, by pool6 64:ff9b::/96; private addresses are dropped",
                "clat-gate 2001:db8:eec0::464 on gate, by address6: the host itself",
                "roam - on vm, the host itself: `run` chooses the address in 2001:db8:7::/64",
            ],
        );
        check(
            "2001:db8:3::7",
            &["net 198.51.100.7 on gate, by the mapping of 198.51.100.0/24 to 2001:db8:3::/120"],
        );
        check("2001:db8:122:344:c0:2:2100::", &["net 192.0.2.33 on gate, by pool6 2001:db8:122:344::/64"]);
        check(
            "2001:db8:122:344:c0:2:2100:1",
            &["net - on gate, never: the bits behind the IPv4 address in 2001:db8:122:344::/64 are not zero"],
        );
        check(
            "2001:db8:122:344:1c0:2:2100::",
            &["net - on gate, never: it is in 2001:db8:122:344::/64, but its bits 64 to 71 are not zero"],
        );
        check("2001:db8:64::808:808", &["clat-gate 8.8.8.8 on gate, by prefix64 2001:db8:64::/96"]);
        check("2001:db8:eec0::464", &["clat-gate 192.0.0.2 on gate, by address4: the host itself"]);
        check("2001:db8::1", &[]);
    }

    #[test]
    fn columns() {
        let crossing = |bridge: &str, to: Option<[u8; 4]>| Crossing {
            bridge: bridge.into(),
            host: "gate".into(),
            to: to.map(IpAddr::from),
            why: "by a test".into(),
        };
        let found = vec![crossing("a", Some([192, 0, 2, 1])), crossing("longer", None)];
        let text = render::addr(&Answer::Crossings { address: [192, 0, 2, 7].into(), found });
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "a       192.0.2.1  on gate, by a test\nlonger  -          on gate, by a test\n"
        );
    }
}
