use std::net::Ipv6Addr;

use serde_json::{Value, json};
use straddle_xlat::rfc6052::{NotDiscovered, Prefix};

use crate::commands::{Answer, Crossing};

use super::{bold, dim};

/// What `addr` tells, for people.
pub(crate) fn addr(answer: &Answer) -> String {
    match answer {
        Answer::Embedded { ipv6, .. } => format!("{ipv6}\n"),
        Answer::Extracted { held, .. } => match held.as_slice() {
            [(_, ipv4)] => format!("{ipv4}\n"),
            several => {
                let lines = several.iter().map(|(prefix, ipv4)| format!("{ipv4:<15}  if in {prefix}\n"));
                lines.collect()
            }
        },
        Answer::Prefixes(told) => prefixes(told),
        Answer::Crossings { found, .. } => crossings(found),
    }
}

fn prefixes(told: &[(Ipv6Addr, Result<Prefix, NotDiscovered>)]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (answer, prefix) in told {
        let line = match prefix {
            Ok(prefix) => prefix.to_string(),
            Err(why) => dim(&format!("nothing from {answer}: {}", not_discovered(*why))),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n") + "\n"
}

fn not_discovered(why: NotDiscovered) -> &'static str {
    match why {
        NotDiscovered::Nowhere => "it holds no well-known address",
        NotDiscovered::Several => "it holds a well-known address at several places",
    }
}

fn crossings(found: &[Crossing]) -> String {
    let to = |crossing: &Crossing| crossing.to.map_or_else(|| "-".into(), |to| to.to_string());
    let name = found.iter().map(|crossing| crossing.bridge.len()).max().unwrap_or_default();
    let width = found.iter().map(|crossing| to(crossing).len()).max().unwrap_or_default();
    let lines = found.iter().map(|crossing| {
        let gap = " ".repeat(name - crossing.bridge.len());
        let why = dim(&format!("on {}, {}", crossing.host, crossing.why));
        format!("{}{gap}  {:<width$}  {why}\n", bold(&crossing.bridge), to(crossing))
    });
    lines.collect()
}

/// The same as data.
pub(crate) fn addr_json(answer: &Answer) -> String {
    let value = match answer {
        Answer::Embedded { prefix, ipv4, ipv6 } => {
            json!({ "prefix": prefix.to_string(), "ipv4": ipv4, "ipv6": ipv6 })
        }
        Answer::Extracted { ipv6, held } => {
            let held =
                held.iter().map(|(prefix, ipv4)| json!({ "prefix": prefix.to_string(), "ipv4": ipv4 }));
            json!({ "ipv6": ipv6, "held": held.collect::<Vec<Value>>() })
        }
        Answer::Prefixes(told) => told
            .iter()
            .map(|(answer, prefix)| match prefix {
                Ok(prefix) => json!({ "answer": answer, "prefix": prefix.to_string() }),
                Err(why) => json!({ "answer": answer, "prefix": null, "why": not_discovered(*why) }),
            })
            .collect(),
        Answer::Crossings { address, found } => {
            let found = found.iter().map(|crossing| {
                let Crossing { bridge, host, to, why } = crossing;
                json!({ "bridge": bridge, "host": host, "to": to, "why": why })
            });
            json!({ "address": address, "bridges": found.collect::<Vec<Value>>() })
        }
    };
    format!("{value:#}")
}
