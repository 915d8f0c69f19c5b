//! What stands in the section of a server of tunnels.

use std::collections::HashSet;

use crate::config::{self, Config, Diagnostic, SourceWord};
use crate::model::host::lacks;

/// Keys that nobody but a server of tunnels has a use for.
const KEYS: [&str; 5] = ["on-link", "neighbour-source", "update-url", "certificate", "certificate-key"];

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    let servers = config.tunnels6.iter().filter_map(|entry| Some(entry.server.as_ref()?.value.as_str()));
    let servers: HashSet<&str> = servers.collect();
    // A name that is misspelt may be meant to be any host's.
    let known = |name: &&str| config.hosts.iter().any(|host| host.name.value == **name);
    let all_known = servers.iter().all(known);
    for host in &config.hosts {
        if servers.contains(host.name.value.as_str()) {
            answers(host, found);
        } else if all_known {
            without_use(host, found);
        }
    }
}

fn answers(host: &config::Host, found: &mut Vec<Diagnostic>) {
    let from = host.neighbour_source.as_ref().map(|word| word.value);
    if matches!(from, Some(SourceWord::Global | SourceWord::AsAsked)) && host.ipv6.is_none() {
        let example = "\"2001:db8:1::2\", or leave `neighbour-source` out";
        lacks(host, "ipv6", "neighbours are answered from it", example, found);
    }
}

fn without_use(host: &config::Host, found: &mut Vec<Diagnostic>) {
    for key in KEYS.iter().filter(|key| host.keys.iter().any(|word| word == *key)) {
        let message = format!("`{key}` of [host.{}] has no use: it serves no [[tunnel6]]", host.name.value);
        let help = format!("leave `{key}` out, or write it into the section of the `server`");
        found.push(Diagnostic::new(host.name.span.clone(), message, help));
    }
}
