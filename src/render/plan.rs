use std::fmt::Write as _;

use serde_json::{Value, json};
use straddle_intent::plan::{Bridge, Carrier, Direct, Make, Plan, Routes, Translator, Via};
use straddle_intent::step::Step;
use straddle_intent::words;
use straddle_serve::discover::State;

use crate::cli::Place;

use super::{bold, dim, fast, folded, headed};

/// A plan with its steps, each with its undo.
pub(crate) fn plan(place: &Place, plan: &Plan, notes: &[String], steps: &[Step]) -> String {
    let mut out = format!("Host {} of {}\n\n", bold(&plan.host), place.config.display());
    for each in &plan.bridges {
        out += &bridge(each);
        out.push('\n');
    }
    if plan.bridges.is_empty() {
        out += "No bridge of the file ends on this host.\n\n";
    }
    for note in notes {
        out += &folded("note:", 2, note);
    }
    if !notes.is_empty() {
        out.push('\n');
    }
    for (index, step) in steps.iter().enumerate() {
        out += &numbered(index, step);
    }
    let verb = if plan.needs_serving() { "run" } else { "up" };
    out += &match steps.len() {
        0 => "Nothing to do: the host is in step.\n".to_string(),
        1 => format!("\n1 step. Nothing was changed; take it with `straddle {verb}`.\n"),
        count => format!("\n{count} steps. Nothing was changed; take them with `straddle {verb}`.\n"),
    };
    out
}

fn bridge(bridge: &Bridge) -> String {
    headed(&bridge.name, &bridge.part)
        + &match &bridge.via {
            Via::Carrier(carrier) => self::carrier(carrier),
            Via::Translator(translator) => self::translator(translator),
            Via::Relay(relay) => super::relay::plan(relay),
            Via::Awaited(awaited) => folded("  so far  ", 10, &awaited.why),
            Via::Routes(routes) => self::routes(routes),
        }
}

fn routes(routes: &Routes) -> String {
    let mut heads = std::iter::once("  routes  ").chain(std::iter::repeat("          "));
    let mut line = |route: &String| folded(heads.next().unwrap_or_default(), 12, route);
    let mut out: String = routes.routes.iter().map(&mut line).collect();
    out += &routes.waits.iter().map(|why| folded("  waits   ", 10, why)).collect::<String>();
    out
}

fn translator(translator: &Translator) -> String {
    let config = &translator.config;
    let device = format!("{}, a tun device served by `straddle run`", translator.device);
    let mut out = folded("  device  ", 10, &device);
    let mtus = format!("{} in IPv4, {} in IPv6", config.mtu4, config.mtu6);
    out += &folded("  MTU     ", 10, &mtus);
    out += &folded("  fast    ", 10, &fast::path(translator));
    out += &past(translator.direct.as_ref());
    if let Some(discovers) = &translator.discovers {
        let asked: Vec<String> = discovers.dns64.iter().map(ToString::to_string).collect();
        let asked = if asked.is_empty() { "the host's resolvers".into() } else { asked.join(", ") };
        let how = format!(
            "found by `straddle run`: router advertisements on {} (RFC 8781), then ipv4only.arpa \
             from {asked} (RFC 7050)",
            discovers.uplink
        );
        out += &folded("  NAT64   ", 10, &how);
    }
    out
}

fn carrier(carrier: &Carrier) -> String {
    let mut out = String::new();
    let ends = format!("{}, from {} to {}", carrier.device, carrier.local, carrier.remote);
    out += &folded("  carrier ", 10, &ends);
    let backend = &carrier.backend;
    let make = match backend.make {
        Make::Kernel => format!("the kernel's own device, without a process ({})", backend.why),
        Make::Tun => format!("a tun device, served by `straddle run` ({})", backend.why),
    };
    out += &folded("          ", 10, &make);
    out += &folded("  MTU     ", 10, &carrier.mtu.to_string());
    out += &fast::carrier(carrier).map(|path| folded("  fast    ", 10, &path)).unwrap_or_default();
    out + &past(carrier.direct.as_ref())
}

fn past(direct: Option<&Direct>) -> String {
    fast::past(direct).map(|path| folded("  direct  ", 10, &path)).unwrap_or_default()
}

fn numbered(index: usize, step: &Step) -> String {
    let mut lines = words::step(step).into_iter();
    let mut out = folded(&format!("{:3} ", index + 1), 6, &lines.next().unwrap_or_default());
    for line in lines {
        out += &folded("      ", 8, &line);
    }
    let undo = folded("    undo:", 10, &words::undo(step));
    let _ = writeln!(out, "{}", dim(undo.trim_end()));
    out
}

/// One step as it is taken, in one line.
pub(crate) fn taking(index: usize, total: usize, step: &Step) -> String {
    let words = words::step(step).into_iter().next().unwrap_or_default();
    let width = total.to_string().len();
    folded(&format!("[{:>width$}/{total}]", index + 1), 4, &words).trim_end().to_string()
}

/// What is so at the end of a good `up`.
pub(crate) fn in_step(plan: &Plan) -> String {
    let names: Vec<&str> = plan.bridges.iter().map(|bridge| bridge.name.as_str()).collect();
    if names.is_empty() {
        "in step: no bridge of the file ends on this host".into()
    } else {
        folded("", 2, &format!("in step: {}", names.join(", "))).trim_end().to_string()
    }
}

/// What an `up` alone does not do.
pub(crate) fn needs_serving(plan: &Plan) -> String {
    let mut devices: Vec<&str> = plan.served().filter_map(Bridge::device).collect();
    // All clients of a server share one.
    devices.dedup();
    let goes_fast = |bridge: &Bridge| match &bridge.via {
        Via::Translator(translator) => translator.slow.is_none(),
        Via::Carrier(carrier) => {
            carrier.slow.as_ref().is_some_and(|slow| slow.outward.is_none() || slow.inward.is_none())
        }
        Via::Relay(_) | Via::Awaited(_) | Via::Routes(_) => false,
    };
    let what = if plan.served().any(goes_fast) { "not everything" } else { "nothing" };
    let text = if devices.is_empty() {
        let what = match (plan.served().next().is_some(), plan.answers.is_some()) {
            (true, _) => "nothing listens yet: a relay needs a process",
            (false, true) => "no neighbour is answered yet for networks: that needs a process",
            (false, false) => "no endpoint is told or heard yet: that needs a process",
        };
        format!("{what}. Serve it: straddle run")
    } else {
        format!(
            "{what} crosses {} yet: a tun device needs a process. Serve it: straddle run",
            devices.join(", ")
        )
    };
    folded("", 2, &text).trim_end().to_string()
}

/// The same as data: the plan, and each step in words and as a value.
pub(crate) fn plan_json(plan: &Plan, notes: &[String], steps: &[Step]) -> String {
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| json!({"words": words::step(step), "undo": words::undo(step), "step": step, "inverse": step.inverse()}))
        .collect();
    let value = json!({"plan": plan, "notes": notes, "steps": steps, "needs_serving": plan.needs_serving()});
    format!("{value:#}")
}

/// What a discovery has come to, in one line.
pub(crate) fn prefixes(bridge: &str, state: Option<&State>) -> String {
    let found = state.and_then(|state| state.found.as_ref());
    let words = match found {
        Some(found) => {
            let prefixes: Vec<String> = found.prefixes.iter().map(ToString::to_string).collect();
            format!("{bridge}: the NAT64's prefix is {} (by {})", prefixes.join(", "), found.source)
        }
        None => {
            let troubles = state.map(|state| state.troubles.join("; ")).unwrap_or_default();
            format!("{bridge}: no NAT64 is known any more. {troubles}")
        }
    };
    folded("", 2, &words).trim_end().to_string()
}
