use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anstyle::AnsiColor;
use serde_json::{Value, json};
use straddle_encap::Reason as Encap;
use straddle_intent::plan::{Bridge, Translator, Via};
use straddle_kernel::fast::Counts;
use straddle_serve::http::Reason as Requested;
use straddle_serve::neighbour::Reason as Solicited;
use straddle_serve::translator::Loss;
use straddle_serve::update::Reason as Told;
use straddle_xlat::Reason;

use crate::commands::{Deaf, Status};
use crate::keep::Service;

use super::{bold, coloured, fast, folded, headed};

/// What `status` shows to a person.
pub(crate) fn status(status: &Status) -> String {
    let plan = &status.look.plan;
    let mut out = format!("Host {}\n", bold(&plan.host));
    let service = status.service.as_ref();
    out += &match service {
        Some(service) => format!("served by `straddle run`, pid {}\n", service.pid),
        None if plan.needs_serving() => {
            let left = if status.has_fast() { "only what the fast path takes" } else { "nothing" };
            let text =
                format!("not served: no `straddle run` answers on this host; {left} crosses its bridges");
            folded("", 2, &text).replacen("not served", &bad("not served"), 1)
        }
        None => String::new(),
    };
    for bridge in &plan.bridges {
        let word = match (status.left.is_empty(), status.deaf(bridge)) {
            (false, _) => bad("not in step"),
            (true, Deaf::No) => good("in step"),
            (true, Deaf::InPart) => bad("listening in part"),
            (true, Deaf::Altogether) => bad("not listening"),
        };
        out += &format!("\n{}  {word}{}\n", headed(&bridge.name, &bridge.part), mtu(bridge));
        match (&bridge.via, status.counters(bridge)) {
            (Via::Carrier(carrier), counted) => {
                let by_us = counted.as_ref();
                // Beside what the kernel carries by itself.
                let by = if carrier.slow.is_some() { "by `straddle run`: " } else { "" };
                out += &by_us.map(|counted| counters(by, counted, carrier.mtu.value)).unwrap_or_default();
                let fast = status.carried(bridge);
                out += &fast::carried(carrier, fast, by_us);
                out += &fast::lent(carrier.direct.as_ref(), fast.and_then(|fast| fast.direct.as_ref()));
            }
            (Via::Translator(translator), counted) => {
                out += &fast::status(translator, status.fast(bridge), counted.as_ref());
                out += &fast::direct(translator, &status.direct(bridge));
                out += &counted.map(|counted| translated(translator, &counted)).unwrap_or_default();
                out += &falsely_from(status.false_sources(bridge));
            }
            (Via::Relay(relay), counted) => {
                out += &counted.map(|counted| super::relay::counters(&counted)).unwrap_or_default();
                let absent = plan.absent(relay, &status.look.live);
                out += &absent.map(|note| folded("  ", 4, &note)).collect::<String>();
            }
            (Via::Awaited(awaited), _) => out += &folded("  ", 4, &awaited.why),
            (Via::Routes(routes), _) => {
                let lines = routes.routes.iter().chain(&routes.waits);
                out += &lines.map(|line| folded("  ", 4, line)).collect::<String>();
            }
        }
        if let Some(update) = status.update(bridge) {
            out += &self::update(update);
        }
    }
    out += &beside(status);
    if !status.left.is_empty() {
        out += "\nleft to do or in the way:\n";
    }
    for lines in &status.left {
        for (index, line) in lines.iter().enumerate() {
            out += &folded(if index == 0 { "  -" } else { "     " }, 6, line);
        }
    }
    out
}

/// What a running straddle tells where the file that says what for can't be read.
pub(crate) fn service(service: &Service) -> String {
    let mut out =
        format!("a `straddle run`, pid {}, goes on serving what it has read before:\n", service.pid);
    for counted in &service.counters {
        let name = counted["bridge"].as_str().unwrap_or_default();
        out += &format!("\n{}\n", bold(name));
        if counted["packets_out"].is_u64() {
            out += &counters("", counted, 0);
        } else if counted["listeners"].is_array() {
            out += &super::relay::counters(counted);
        }
    }
    let known = |update: &&Value| update["bridge"].is_string();
    for told in service.updates.iter().filter(known) {
        out += &format!("\n{}\n{}", bold(told["bridge"].as_str().unwrap_or_default()), update(told));
    }
    out
}

/// The same as data.
pub(crate) fn service_json(service: &Service) -> String {
    let value = json!({
        "well": false,
        "served_by": service.pid,
        "counters": service.counters,
        "updates": service.updates,
    });
    format!("{value:#}")
}

fn mtu(bridge: &Bridge) -> String {
    match &bridge.via {
        Via::Carrier(carrier) => format!(", MTU {}", carrier.mtu.value),
        Via::Translator(translator) => {
            format!(", MTU {} in IPv4, {} in IPv6", translator.config.mtu4, translator.config.mtu6)
        }
        Via::Relay(_) | Via::Awaited(_) | Via::Routes(_) => String::new(),
    }
}

/// What a translator has done, each counter with what it means.
fn translated(translator: &Translator, counted: &Value) -> String {
    let mut out = String::new();
    if let Some(answers @ 1..) = counted["answers"].as_u64() {
        out += &format!("  {answers} answers of its own: ICMP errors and echo replies\n");
    }
    if translator.discovers.is_some() {
        let prefixes: Vec<&str> =
            counted["prefixes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let from = counted["prefix_from"].as_str().map(|from| format!(", by {from}")).unwrap_or_default();
        let found =
            if prefixes.is_empty() { "none was found yet".into() } else { prefixes.join(", ") + &from };
        out += &folded("  ", 4, &format!("NAT64 prefix: {found}"));
    }
    for trouble in counted["troubles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out += &folded("  ", 4, trouble);
    }
    if let Some(why) = &translator.aside {
        out += &folded("  ", 4, &format!("stands aside: {why}"));
    }
    let meaning = |name: &str| {
        let meaning = Reason::ALL.iter().find(|reason| reason.name() == name).map(|reason| reason.describe());
        let loss = || Loss::ALL.iter().find(|reason| reason.name() == name).map(|reason| reason.describe());
        meaning.or_else(loss)
    };
    out + &counts(&counted["drops"], &meaning)
}

/// What belongs to no bridge alone: neighbours that are answered, and what strangers have told.
fn beside(status: &Status) -> String {
    let mut out = String::new();
    if let Some(answers) = &status.look.plan.answers {
        let told = status.neighbours();
        let word = if told.is_some() { good("answered") } else { bad("not answered") };
        out += &format!("\nneighbours on {}: {word}\n", answers.device);
        let meaning = |name: &str| Solicited::ALL.iter().find(|it| it.name() == name).map(|it| it.describe());
        out += &told.map(|told| counts(&told["solicitations"], &meaning)).unwrap_or_default();
    }
    if let Some(http) = &status.look.plan.http {
        let word = if status.hears() { good("heard") } else { bad("not heard") };
        out += &format!("\nendpoints told to {}/nic/update: {word}\n", http.url);
    }
    if let Some(strangers) = status.strangers() {
        let told = told(strangers);
        if !told.is_empty() {
            out += &format!("\ntold of no bridge of this host:\n{told}");
        }
    }
    out
}

fn falsely_from(count: u64) -> String {
    if count == 0 {
        return String::new();
    }
    let text = "From elsewhere with a source that lies behind the translator itself (RFC 6052 section 5.1).";
    folded("  ", 4, &format!("false-source {count}: {text}"))
}

/// What was told or heard of an endpoint that changes.
fn update(update: &Value) -> String {
    let endpoint = update["endpoint"].as_str().unwrap_or("unknown");
    let ago = |key: &str| update[key].as_u64().map(|then| format!("{} s ago", now().saturating_sub(then)));
    let line = match (update.get("acknowledged_at").is_some(), ago("acknowledged_at"), ago("told_at")) {
        (true, Some(ago), _) => format!("endpoint {endpoint}, acknowledged by the other end {ago}"),
        (true, None, _) => format!("endpoint {endpoint}, {} by the other end", bad("not acknowledged")),
        (false, _, Some(ago)) => format!("the other end is {endpoint}, told {ago}"),
        (false, _, None) if update["endpoint"].is_null() => {
            "the other end has not told its endpoint yet".into()
        }
        (false, _, None) => format!("the other end is {endpoint}, told before this start"),
    };
    let mut out = folded("  ", 4, &line);
    if let Some(trouble) = update["trouble"].as_str() {
        out += &folded("  ", 4, trouble);
    } else if let Some(print) = update["key_print"].as_str() {
        out += &folded("  ", 4, &format!("key {print}"));
    }
    out + &told(update)
}

/// What became of messages and requests.
fn told(update: &Value) -> String {
    let meaning = |name: &str| Told::ALL.iter().find(|reason| reason.name() == name).map(|it| it.describe());
    let asked = |name: &str| Requested::ALL.iter().find(|it| it.name() == name).map(|it| it.describe());
    counts(&update["messages"], &meaning) + &counts(&update["requests"], &asked)
}

/// Each counter with what it means.
fn counts(counts: &Value, meaning: &dyn Fn(&str) -> Option<&'static str>) -> String {
    let counts = counts.as_array().into_iter().flatten();
    let lines = counts.map(|count| {
        let name = count[0].as_str().unwrap_or_default();
        folded("  ", 4, &format!("{name} {}: {}", count[1], meaning(name).unwrap_or_default()))
    });
    lines.collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How long ago the peer may have answered that it has no tunnel, in seconds: whoever sends is answered again.
const ABSENT: u64 = 120;

fn counters(by: &str, counted: &Value, mtu: u32) -> String {
    let number = |key: &str| counted[key].as_u64().unwrap_or(0);
    let mut out = format!(
        "  {by}out {} packets, {}; in {} packets, {}\n",
        number("packets_out"),
        bytes(number("bytes_out")),
        number("packets_in"),
        bytes(number("bytes_in"))
    );
    if let Some(path) = counted["path_mtu"].as_u64()
        && path < u64::from(mtu)
    {
        out += &format!("  the path takes inner packets of {path} bytes only\n");
    }
    let meaning = |name: &str| Encap::ALL.iter().find(|reason| reason.name() == name).map(|it| it.describe());
    out += &counts(&counted["drops"], &meaning);
    let ago = counted["no_tunnel_at"].as_u64().map(|then| now().saturating_sub(then));
    if let Some(ago) = ago.filter(|ago| *ago <= ABSENT) {
        out += &folded(
            "  ",
            4,
            &format!(
                "{} {ago} s ago the peer's host answered that it has no such tunnel: is `straddle run` up there?",
                bad("no tunnel:")
            ),
        );
    }
    out
}

pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

fn good(word: &str) -> String {
    coloured(AnsiColor::Green, word)
}

pub(super) fn bad(word: &str) -> String {
    coloured(AnsiColor::Red, word)
}

/// The same as data.
pub(crate) fn status_json(status: &Status) -> String {
    let bridges: Vec<Value> = status
        .look
        .plan
        .bridges
        .iter()
        .map(|bridge| {
            let counters = status.counters(bridge);
            let translated = status.fast(bridge).map(|counts| json!(counts));
            let fast = translated.or_else(|| status.carried(bridge).map(|counts| json!(counts)));
            let update = status.update(bridge);
            let direct: BTreeMap<&str, &Counts> = status.direct(bridge).into_iter().collect();
            json!({
                "bridge": bridge,
                "in_step": status.left.is_empty(),
                "counters": counters,
                "fast": fast,
                "direct": (!direct.is_empty()).then_some(direct),
                "false_sources": matches!(bridge.via, Via::Translator(_)).then(|| status.false_sources(bridge)),
                "update": update,
            })
        })
        .collect();
    let value = json!({
        "host": status.look.plan.host,
        "well": status.well(),
        "served_by": status.service.as_ref().map(|service| service.pid),
        "bridges": bridges,
        "neighbours": status.neighbours(),
        "strangers": status.strangers(),
        "left": status.left,
    });
    format!("{value:#}")
}
