//! The state of a host as the kernel tells it, for comparing before with after.
//!
//! Left out is what may differ while nothing has changed: counters, interface indexes, handles and
//! remaining lifetimes.

mod address;
mod difference;
mod line;
mod sysctl;

use crate::LabError;
use crate::host::Host;

use difference::difference;

/// Everything of a host's network state that `down` has to bring back, as lines of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    sections: Vec<Section>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Section {
    name: &'static str,
    lines: Vec<String>,
}

impl HostState {
    /// Reads it: links, their filters with the qdiscs that these stand at, addresses in their order, routes of all
    /// tables, rules in their order, permanent and proxy neighbours, next hops, the nft ruleset, every `net.*` sysctl.
    ///
    /// # Errors
    /// When a tool fails or a sysctl cannot be listed.
    pub fn read(host: &Host) -> Result<HostState, LabError> {
        let links = host.ip_json("-details link show")?;
        let filters = host.direct(&["tc", "-batch", "-"], &line::questions_for_filters(&links))?;
        let mut sections = vec![
            section("link", line::links(&links)),
            section(
                "filter",
                filters
                    .stdout
                    .lines()
                    .filter(|line| line::filters(line))
                    .map(line::without_program)
                    .collect(),
            ),
            section("address", line::addresses(&host.ip_json("-details address show")?)),
            section("address protocol", address::protocols(host)?),
        ];
        for (name, question) in TEXTS {
            sections.push(section(name, text(host, question)?));
        }
        sections.push(section("nft", line::ruleset(&host.nft_json("list ruleset")?)));
        sections.push(section("sysctl", sysctl::all(host)?));
        Ok(HostState { sections })
    }

    /// The same without what follows from whether a cable is plugged in, or a tun device served:
    /// operational state, carrier flags, `linkdown`. The kernel changes these some time later.
    #[must_use]
    pub fn configured(mut self) -> HostState {
        for line in self.sections.iter_mut().flat_map(|section| &mut section.lines) {
            *line = line::without_carrier(line);
        }
        self
    }

    /// What a later state has lost and won against this one: lines that begin with `-` and `+`.
    /// Empty when they are equal.
    #[must_use]
    pub fn difference(&self, later: &HostState) -> Vec<String> {
        let pairs = self.sections.iter().zip(&later.sections);
        // Devices that the kernel makes by itself in every namespace when a module is loaded are nobody's
        // doing; those that were there before have to be as they were.
        let has = |device: &str| {
            let mut lines = self.sections.iter().flat_map(|section| &section.lines);
            lines.any(|line| mentions(line, device))
        };
        let loaded: Vec<&str> = FALLBACK.into_iter().filter(|device| !has(device)).collect();
        let marked = pairs.flat_map(|(before, after)| {
            let theirs = |line: &&String| loaded.iter().any(|device| mentions(line, device));
            let after_lines: Vec<String> = after.lines.iter().filter(|line| !theirs(line)).cloned().collect();
            let changes = difference(&before.lines, &after_lines);
            let words = |(sign, line): (char, &str)| format!("{sign} {}: {line}", before.name);
            changes.into_iter().map(words).collect::<Vec<_>>()
        });
        marked.collect()
    }
}

fn section(name: &'static str, lines: Vec<String>) -> Section {
    Section { name, lines }
}

fn mentions(line: &str, device: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == device)
}

/// What `ip` prints in a form that is already one line per object. Routes are sorted: their order
/// in a table means nothing; rules are not.
fn text(host: &Host, question: &str) -> Result<Vec<String>, LabError> {
    let words: Vec<&str> = ["ip", "-details"].into_iter().chain(question.split(' ')).collect();
    let output = host.direct(&words, "")?;
    let mut lines: Vec<String> = output.stdout.lines().map(line::without_lifetime).collect();
    if !question.contains("rule") {
        lines.sort();
    }
    Ok(lines)
}

const TEXTS: [(&str, &str); 8] = [
    ("route", "-4 route show table all"),
    ("route6", "-6 route show table all"),
    ("rule", "-4 rule show"),
    ("rule6", "-6 rule show"),
    ("neighbour", "neigh show nud permanent"),
    ("proxy neighbour", "neigh show proxy"),
    ("proxy neighbour6", "-6 neigh show proxy"),
    ("nexthop", "nexthop show"),
];

/// The fallback devices of the kernel's tunnel modules.
const FALLBACK: [&str; 9] =
    ["ip6gre0", "ip6tnl0", "sit0", "gre0", "gretap0", "erspan0", "tunl0", "ip_vti0", "ip6_vti0"];
