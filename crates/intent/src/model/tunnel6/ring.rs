//! IPv6 that comes back to where it begins.

use std::collections::{HashMap, HashSet};

use crate::config::{Config, Diagnostic};

/// A server that has IPv6 by a client of its own, at whatever distance, has none.
pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    // Only what stands above counts: the entry that closes the ring is the one to tell of.
    let mut servers: HashMap<&str, Vec<&str>> = HashMap::new();
    for entry in &config.tunnels6 {
        let (Some(server), Some(client)) = (&entry.server, &entry.client) else { continue };
        if server.value == client.value {
            continue;
        }
        if leads(&servers, &server.value, &client.value) {
            let message = format!("{} has its IPv6 by way of {} already", server.value, client.value);
            let help = "let the server be a host that has IPv6 by itself";
            found.push(Diagnostic::new(server.span.clone(), message, help));
            continue;
        }
        servers.entry(&client.value).or_default().push(&server.value);
    }
}

/// Whether one host has its IPv6 by way of another.
fn leads(servers: &HashMap<&str, Vec<&str>>, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (HashSet::from([from]), vec![from]);
    while let Some(host) = next.pop() {
        if host == to {
            return true;
        }
        next.extend(servers.get(host).into_iter().flatten().copied().filter(|server| seen.insert(server)));
    }
    false
}
