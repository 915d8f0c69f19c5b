use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use straddle_intent::model::{Family, Listen, Protocol, Relay};
use straddle_serve::relay::{Alert, Reason};

use super::folded;
use super::status::{bad, bytes};

/// What a plan tells of a relay.
pub(super) fn plan(relay: &Relay) -> String {
    let mut out = String::new();
    for listen in &relay.listen {
        out += &folded("  listens ", 10, &format!("{}: {}, by `straddle run`", listen.word, at(listen)));
    }
    let tcp = relay.listen.iter().any(|listen| listen.protocol == Protocol::Tcp);
    let seen = match (relay.embed, relay.proxy_out) {
        (Some(net), false) => format!(", which sees clients in {net}"),
        (Some(net), true) => format!(", which sees clients in {net}, and is told of them by PROXY v2"),
        (None, true) => ", which is told of clients by PROXY v2".into(),
        (None, false) => ", which sees this host's address".into(),
    };
    out += &folded("  target  ", 10, &format!("{}{seen}", relay.to));
    let [idle, idle_udp] = relay.idle_timeout;
    let mut ends = Vec::new();
    if tcp {
        ends.push(format!("idle for {idle} s, half closed for {} s", relay.half_close_timeout));
    }
    if relay.listen.iter().any(|listen| listen.protocol == Protocol::Udp) {
        ends.push(format!("UDP idle for {idle_udp} s"));
    }
    out += &folded("  ends    ", 10, &ends.join("; "));
    let limits = [
        (!relay.allow.is_empty()).then(|| format!("clients from {}", list(&relay.allow))),
        (!relay.accept_proxy.is_empty()).then(|| format!("PROXY headers from {}", list(&relay.accept_proxy))),
        relay.max_connections.map(|most| format!("at most {most} connections")),
        relay.max_per_source.map(|most| format!("at most {most} of one client")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    if !limits.is_empty() {
        out += &folded("  takes   ", 10, &limits.join("; "));
    }
    out
}

fn at(listen: &Listen) -> String {
    let protocol = match listen.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    };
    let address = match (listen.address, listen.family) {
        (Some(address), _) => address.to_string(),
        (None, Family::V4) => "every IPv4 address".into(),
        (None, Family::V6) => "every IPv6 address".into(),
        (None, Family::Both) => "every address".into(),
    };
    if listen.first == listen.last {
        format!("{address}, {protocol} port {}", listen.first)
    } else {
        format!("{address}, {protocol} ports {} to {}", listen.first, listen.last)
    }
}

fn list(nets: &[impl ToString]) -> String {
    nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a relay has done, each counter with what it means.
pub(super) fn counters(counted: &Value) -> String {
    let mut out = String::new();
    for listener in counted["listeners"].as_array().into_iter().flatten() {
        let number = |key: &str| listener[key].as_u64().unwrap_or(0);
        let way = |way: &str, key: &str| listener[way][key].as_u64().unwrap_or(0);
        let word = listener["listen"].as_str().unwrap_or_default();
        let _ = writeln!(out, "  {word}: {} accepted, {} open", number("accepted"), number("open"));
        if let Some(trouble) = listener["trouble"].as_str() {
            out += &folded("    ", 6, &format!("{} {trouble}", bad("not listening:")));
        }
        let limit = match listener["at_limit"].as_str() {
            Some("max-connections") => "has its `max-connections`; whoever comes is refused until some end",
            Some(_) => {
                "relays have all the files open that they may; new connections wait until others end. A larger \
                 `LimitNOFILE=` of the unit allows more"
            }
            None => "",
        };
        if !limit.is_empty() {
            out += &folded("    ", 6, &format!("{} {limit}", bad("at its limit:")));
        }
        let datagrams = |name: &str| {
            let (count, lost) = (way(name, "datagrams"), way(name, "lost"));
            let lost = if lost == 0 { String::new() } else { format!(", {lost} lost") };
            if count == 0 && lost.is_empty() { String::new() } else { format!(" in {count} datagrams{lost}") }
        };
        let _ = writeln!(
            out,
            "    to the target {}{}; to clients {}{}",
            bytes(way("to_target", "bytes")),
            datagrams("to_target"),
            bytes(way("to_client", "bytes")),
            datagrams("to_client")
        );
        for count in listener["ends"].as_array().into_iter().flatten() {
            let name = count[0].as_str().unwrap_or_default();
            let meaning = Reason::ALL.iter().find(|reason| reason.name() == name);
            let meaning = meaning.map(|reason| reason.describe()).unwrap_or_default();
            out += &folded("    ", 6, &format!("{name} {}: {meaning}", count[1]));
        }
    }
    out
}

/// Something that is told once.
pub(crate) fn alert(alert: &Alert, files: u64) -> String {
    match alert {
        Alert::NoDescriptors => {
            super::warning(&format!(
                "a relay needs more than the {files} files that this process may have open; new connections wait until \
             others end. A larger `LimitNOFILE=` of its unit allows more (this is told once)"
            )) + "\n"
        }
    }
}

/// What `down` waits for.
pub(crate) fn waiting(longest: Duration) -> String {
    let seconds = longest.as_secs();
    let text = format!(
        "connections go through relays and have up to {seconds} s left; a second `straddle down` ends them at once"
    );
    folded("", 2, &text).trim_end().to_string()
}

/// What happens between the word to end and the end.
pub(crate) fn draining(open: usize, longest: Duration) -> String {
    let seconds = longest.as_secs();
    let text = format!(
        "ending: {open} connections go through relays and have up to {seconds} s left; a second signal ends them"
    );
    folded("", 2, &text).trim_end().to_string()
}
