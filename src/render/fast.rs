//! The fast path in words.

use serde_json::Value;
use straddle_intent::plan::Translator;
use straddle_kernel::fast::{Counts, SLOW, Traffic};

use super::folded;
use super::status::bytes;

/// Whether there is one, in one sentence.
pub(super) fn path(translator: &Translator) -> String {
    match &translator.slow {
        None => "the kernel translates plain packets by itself".into(),
        Some(why) => format!("none: {}", why.trim_end()),
    }
}

/// What went fast and what slow, and why slow.
pub(super) fn status(translator: &Translator, fast: Option<&Counts>, slow: Option<&Value>) -> String {
    let mut out = folded("  fast path:", 4, &path(translator));
    for (way, words) in [("to6", "IPv4 to IPv6"), ("to4", "IPv6 to IPv4")] {
        let by_kernel = fast.map(|fast| if way == "to6" { fast.to6 } else { fast.to4 });
        let by_kernel = by_kernel.map(|Traffic { packets, bytes, .. }| traffic("fast", packets, bytes));
        let number = |slow: &Value, key: &str| slow[way][key].as_u64().unwrap_or(0);
        let by_us = slow.map(|slow| traffic("slow", number(slow, "packets"), number(slow, "bytes")));
        let both: Vec<String> = by_kernel.into_iter().chain(by_us).collect();
        if !both.is_empty() {
            out += &folded("  ", 4, &format!("translated, {words}: {}", both.join("; ")));
        }
    }
    for (name, count) in fast.iter().flat_map(|fast| &fast.slow) {
        let meaning = SLOW.iter().find(|(known, _)| known == name).map(|(_, meaning)| *meaning);
        out += &folded(
            "  ",
            4,
            &format!("left to the slow path for {name} {count}: {}", meaning.unwrap_or_default()),
        );
    }
    if let Some(lost @ 1..) = fast.map(|fast| fast.lost) {
        out += &folded("  ", 4, &format!("lost {lost}: packets ended in the kernel's program"));
    }
    out
}

fn traffic(word: &str, packets: u64, count: u64) -> String {
    format!("{word} {packets} packets, {}", bytes(count))
}
