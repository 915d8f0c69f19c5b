//! Ring 2: `cases/NAME/config.toml` and, for a host, `live.toml` beside it; what comes out stands in
//! `errors`, or in `plan` and `steps`. With `memory.toml`, what was displaced before, `down` has the steps of that. `STRADDLE_BLESS=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use straddle_intent::config::Diagnostic;
use straddle_intent::diff::{Conflict, diff};
use straddle_intent::memory::Memory;
use straddle_intent::model::{self, Model};
use straddle_intent::object::Wanted;
use straddle_intent::plan::{Direct, Endpoints, Facts, Offers, Plan, Slow, Via, plan};
use straddle_intent::snapshot::Snapshot;
use straddle_intent::step::Step;
use straddle_intent::{site, words};

#[test]
fn every_case_comes_out_as_written() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases() {
        count += 1;
        for (file, found) in outcome(&case) {
            let path = case.join(&file);
            let expected = fs::read_to_string(&path).unwrap_or_default();
            if expected == found {
                continue;
            }
            if std::env::var_os("STRADDLE_BLESS").is_some() {
                fs::write(&path, &found).unwrap();
            } else {
                wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", path.display()));
            }
        }
    }
    assert!(count >= 40, "only {count} cases were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn outcome(case: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(case.join("config.toml")).unwrap();
    let model = match model::read(&text) {
        Ok(model) => model,
        Err(found) => return vec![("errors".into(), errors(&text, &found))],
    };
    let Ok(live) = fs::read_to_string(case.join("live.toml")) else {
        return vec![("errors".into(), String::new())];
    };
    let live: Snapshot = toml::from_str(&live).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    let memory = fs::read_to_string(case.join("memory.toml")).ok().map(|memory| -> Memory {
        toml::from_str(&memory).unwrap_or_else(|error| panic!("{}: {error}", case.display()))
    });
    let remembered = memory.clone().unwrap_or_default();
    let (offers, endpoints) = (offers(case), endpoints(case));
    let facts =
        Facts { live: &live, memory: &remembered, offers: &offers, seed: 0x5eed, endpoints: &endpoints };
    let mut found = on_host(&text, &model, &facts);
    if let Some(memory) = memory {
        found.push(("down".into(), steps(diff(&Plan::default(), &live, &memory))));
    }
    found
}

/// What other hosts have told: `BRIDGE ADDRESS` on each line of a file `endpoints`.
fn endpoints(case: &Path) -> Endpoints {
    let told = fs::read_to_string(case.join("endpoints")).unwrap_or_default();
    let one = |line: &str| line.split_once(' ').map(|(name, told)| (name.into(), told.parse().unwrap()));
    told.lines().filter_map(one).collect()
}

/// A kernel without tunnel devices, unless the case has a file `kernel-has`: a word on each line. Without the file
/// it was not asked for the fast path.
fn offers(case: &Path) -> Offers {
    let file = fs::read_to_string(case.join("kernel-has"));
    let asked = file.is_ok();
    let has = file.unwrap_or_default();
    let one = |word: &'static str| {
        let refusal = "Unknown device type".to_string();
        (word, (!has.lines().any(|line| line == word)).then_some(refusal))
    };
    let fast = [
        Offers::FAST_PATH,
        Offers::FAST_DIRECT,
        Offers::FAST_OUTWARD,
        Offers::FAST_INWARD,
        Offers::FAST_LENDER,
        Offers::TCX,
    ];
    let words = ["ip6gre", "ip6tnl", "sit"].into_iter().chain(fast.into_iter().filter(|_| asked));
    Offers(words.map(one).collect())
}

/// Where a carrier's packets have a fast path.
fn slow(slow: &Slow) -> String {
    let way =
        |why: &Option<String>| why.clone().map_or("fast path".into(), |why| format!("no fast path: {why}"));
    format!("; out: {}; in: {}", way(&slow.outward), way(&slow.inward))
}

/// Where packets go out at once.
fn past(direct: Option<&Direct>) -> String {
    let told = direct.map(|direct| {
        let why = direct.slow.as_ref().map(|why| format!(" not: {why}")).unwrap_or_default();
        format!("; direct from {}{why}", direct.devices.join(", "))
    });
    told.unwrap_or_default()
}

fn on_host(text: &str, model: &Model, facts: &Facts<'_>) -> Vec<(String, String)> {
    let Facts { live, memory, offers, .. } = *facts;
    let host = match site::identify(model, None, live) {
        Ok(host) => host,
        Err(unknown) => return vec![("errors".into(), format!("{unknown:?}\n"))],
    };
    let found = site::check(model, host, live, offers);
    if !found.is_empty() {
        return vec![("errors".into(), errors(text, &found))];
    }
    let plan = plan(model, &host.name, facts);
    let wanted: String = plan.wanted.iter().map(|wanted| format!("{}\n", line(wanted))).collect();
    let steps = steps(diff(&plan, live, memory));
    let bridges: String = plan
        .bridges
        .iter()
        .map(|b| match &b.via {
            Via::Carrier(carrier) => format!(
                "{}: {}; MTU {}; {:?}, {}{}{}\n",
                b.name,
                b.part,
                carrier.mtu,
                carrier.backend.make,
                carrier.backend.why,
                carrier
                    .slow
                    .as_ref()
                    .filter(|_| offers.knows_fast(Offers::FAST_OUTWARD))
                    .map(slow)
                    .unwrap_or_default(),
                past(carrier.direct.as_ref())
            ),
            Via::Translator(translator) => {
                let (mtu4, mtu6) = (translator.config.mtu4, translator.config.mtu6);
                let fast = match &translator.slow {
                    Some(why) if offers.knows_fast(Offers::FAST_PATH) => format!("; no fast path: {why}"),
                    Some(_) => String::new(),
                    None => "; fast path".into(),
                };
                let direct = past(translator.direct.as_ref());
                format!("{}: {}; MTU {mtu4} in IPv4, {mtu6} in IPv6{fast}{direct}\n", b.name, b.part)
            }
            Via::Relay(relay) => {
                let times = (relay.connect_timeout, relay.idle_timeout, relay.half_close_timeout);
                format!("{}: {}; seconds {times:?}\n", b.name, b.part)
            }
            Via::Awaited(awaited) => format!("{}: {}; {}\n", b.name, b.part, awaited.why),
            Via::Routes(routes) => {
                let why = routes.waits.iter().map(|why| format!("; {why}")).collect::<String>();
                format!("{}: {}{why}\n", b.name, b.part)
            }
        })
        .collect();
    let notes: String = plan.notes(live).iter().map(|note| format!("note: {note}\n")).collect();
    vec![("plan".into(), bridges + &notes + &processes(&plan) + &wanted), ("steps".into(), steps)]
}

/// What is neither in the kernel nor a bridge.
fn processes(plan: &Plan) -> String {
    let mut out = String::new();
    if let Some(answers) = &plan.answers {
        let (nets, own) = (&answers.assigned, &answers.own);
        let _ = writeln!(out, "answers on {}, {:?}: {nets:?}, not {own:?}", answers.device, answers.source);
    }
    if let Some(http) = &plan.http {
        let _ = writeln!(out, "hears {} at {:?}, {:?}", http.url, http.listen, http.certificate);
        for client in &http.clients {
            let _ = writeln!(
                out,
                "  {}: {} of {} by {}",
                client.bridge, client.hostname, client.user, client.key_file
            );
        }
    }
    out
}

fn steps(taken: Result<Vec<Step>, Vec<Conflict>>) -> String {
    match taken {
        Ok(steps) => {
            let lines = steps.iter().flat_map(|step| {
                let mut lines = words::step(step);
                lines.iter_mut().skip(1).for_each(|line| line.insert_str(0, "  "));
                lines.push(format!("    undo: {}", words::undo(step)));
                lines
            });
            lines.map(|line| line + "\n").collect()
        }
        Err(conflicts) => {
            conflicts.iter().map(|c| format!("conflict: {}\n  help: {}\n", c.message, c.help)).collect()
        }
    }
}

fn line(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Object(object) => words::object(object),
        Wanted::Sysctl(sysctl) => sysctl.to_string(),
        Wanted::LooseReversePath { dev } => format!("reverse path of {dev} loose"),
        Wanted::Vacant { address, dev } => format!("vacant {address}, from {dev}"),
        Wanted::Pinned { dev, address } => format!("pinned {address} dev {dev}"),
    }
}

fn errors(text: &str, found: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in found {
        let (line, column) = diagnostic.position(text);
        let offending =
            text.get(diagnostic.span.clone()).unwrap_or_default().lines().next().unwrap_or_default();
        let _ = writeln!(
            out,
            "{line}:{column} {offending}\n  {}\n  help: {}",
            diagnostic.message, diagnostic.help
        );
    }
    out
}
