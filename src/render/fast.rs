//! The fast path in words.

use serde_json::Value;
use straddle_intent::plan::{Carrier, Direct, Translator};
use straddle_kernel::fast::{Carried, Counts, Past, SLOW, SLOW_CARRIER, SLOW_DIRECT, SLOW_LENDER, Traffic};

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

/// Where packets go past the device, in one sentence; none where the file does not say so.
pub(super) fn past(direct: Option<&Direct>) -> Option<String> {
    let direct = direct?;
    let devices = direct.devices.join(", ");
    Some(match &direct.slow {
        None => {
            format!("plain packets that come in by {devices} go out at once while `straddle run` watches")
        }
        Some(why) => format!("none: {}", why.trim_end()),
    })
}

/// What went past the device, and why other packets did not.
pub(super) fn direct(translator: &Translator, counted: &[(&str, &Counts)]) -> String {
    let path = past(translator.direct.as_ref());
    let mut out = path.map(|path| folded("  direct:", 4, &path)).unwrap_or_default();
    for (device, counts) in counted {
        out += &at_present(&format!("from {device}: "), counts.now);
        for (words, Traffic { packets, bytes, .. }) in [("IPv6", counts.to6), ("IPv4", counts.to4)] {
            out += &folded("  ", 4, &traffic(&format!("from {device} to {words}: direct"), packets, bytes));
        }
        for (name, count) in &counts.slow {
            let meaning = SLOW_DIRECT.iter().chain(&SLOW).find(|(known, _)| known == name);
            let meaning = meaning.map(|(_, meaning)| *meaning).unwrap_or_default();
            out +=
                &folded("  ", 4, &format!("from {device}: through the device for {name} {count}: {meaning}"));
        }
        if counts.lost > 0 {
            out += &folded("  ", 4, &format!("lost {}: packets ended in the kernel's program", counts.lost));
        }
    }
    out
}

/// The same at a lender.
pub(super) fn lent(direct: Option<&Direct>, counted: Option<&Past>) -> String {
    let Some(path) = past(direct) else { return String::new() };
    let mut out = folded("  direct:", 4, &path);
    let Some(counted) = counted else { return out };
    out += &at_present("", counted.now);
    for (way, Traffic { packets, bytes, .. }) in [("out", counted.outward), ("in", counted.inward)] {
        out += &folded("  ", 4, &traffic(&format!("{way}: direct"), packets, bytes));
    }
    for (name, count) in &counted.slow {
        let line = format!("through the device for {name} {count}: {}", lenders(name));
        out += &folded("  ", 4, &line);
    }
    out
}

/// Why nothing goes past a device, where that is so.
fn at_present(from: &str, now: Option<&str>) -> String {
    let meaning = |name| SLOW_DIRECT.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning);
    let line = |name| format!("{from}not at present, for {name}: {}", meaning(name).unwrap_or_default());
    now.map(|name| folded("  ", 4, &line(name))).unwrap_or_default()
}

/// What a lender's reason means. One that a carrier has too is about the packet that is lent.
fn lenders(name: &str) -> &'static str {
    meaning(SLOW_DIRECT.iter().chain(&SLOW_LENDER).chain(&SLOW_CARRIER), name)
}

fn meaning<'a>(mut reasons: impl Iterator<Item = &'a (&'a str, &'a str)>, name: &str) -> &'a str {
    reasons.find(|(known, _)| *known == name).map(|(_, meaning)| *meaning).unwrap_or_default()
}

/// Where a carrier has one, in one sentence; none for the kernel's own device, which needs none.
pub(super) fn carrier(carrier: &Carrier) -> Option<String> {
    let slow = carrier.slow.as_ref()?;
    let way = |why: &Option<String>, does: &str, doing: &str| match why {
        None => format!("the kernel {does} plain packets by itself"),
        Some(why) => format!("none for {doing}: {}", why.trim_end()),
    };
    if slow.outward == slow.inward {
        return Some(way(&slow.outward, "carries", "either way"));
    }
    let outward = way(&slow.outward, "encapsulates", "what goes out");
    Some(format!("{outward}; {}", way(&slow.inward, "decapsulates", "what comes in")))
}

/// What went fast and what slow, and why slow.
pub(super) fn carried(ends: &Carrier, fast: Option<&Carried>, slow: Option<&Value>) -> String {
    let Some(path) = carrier(ends) else { return String::new() };
    let mut out = folded("  fast path:", 4, &path);
    let Some(fast) = fast else { return out };
    // Why something went slow counts for the device.
    let all = if ends.owned.is_empty() { "" } else { "all clients, " };
    let ways = [
        ("out", &fast.outward, &fast.slow_outward, ["packets_out", "bytes_out"]),
        ("in", &fast.inward, &fast.slow_inward, ["packets_in", "bytes_in"]),
    ];
    for (way, Traffic { packets, bytes, .. }, reasons, keys) in ways {
        let by_kernel = traffic("fast", *packets, *bytes);
        let by_us = slow.map(|slow| keys.map(|key| slow[key].as_u64().unwrap_or(0)));
        let by_us = by_us.map(|[packets, bytes]| format!("; {}", traffic("slow", packets, bytes)));
        out += &folded("  ", 4, &format!("{way}: {by_kernel}{}", by_us.unwrap_or_default()));
        for (name, count) in reasons {
            let line = format!("{all}{way}: slow for {name} {count}: {}", meaning(SLOW_CARRIER.iter(), name));
            out += &folded("  ", 4, &line);
        }
    }
    if fast.lost > 0 {
        out += &folded("  ", 4, &format!("lost {}: packets ended in the kernel's programs", fast.lost));
    }
    out
}

fn traffic(word: &str, packets: u64, count: u64) -> String {
    format!("{word} {packets} packets, {}", bytes(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lenders_reasons_are_those_of_carriers_and_of_what_goes_past() {
        let direct = Direct { devices: vec!["eth0".into()], slow: None };
        let traffic = |packets| Traffic { packets, bytes: 100 * packets, passes: packets };
        let slow = vec![("syn", 1), ("too-big", 2), ("hops", 3), ("ipsec", 4)];
        let counted = Past { outward: traffic(7), inward: traffic(9), slow, now: None };
        let expected = "  direct: plain packets that come in by eth0 go out at once while `straddle run`\n    \
                        watches\n  \
                        out: direct 7 packets, 700 B\n  \
                        in: direct 9 packets, 900 B\n  \
                        through the device for syn 1: It begins a TCP connection: rules that look at\n    \
                        such packets see all of them.\n  \
                        through the device for too-big 2: The packet did not fit into the tunnel or\n    \
                        its path.\n  \
                        through the device for hops 3: The TTL ran out.\n  \
                        through the device for ipsec 4: The host has IPsec policies: whether one is\n    \
                        for the packet is the kernel's own to say.\n";
        assert_eq!(lent(Some(&direct), Some(&counted)), expected);
        let held = Past { now: Some("firewall"), ..Past::default() };
        let told = lent(Some(&direct), Some(&held));
        assert!(told.contains("\n  not at present, for firewall: Netfilter has hooks"), "{told}");
        assert_eq!(lent(None, Some(&counted)), "");
        let refused = Direct { slow: Some("no tcx".into()), ..direct };
        assert_eq!(lent(Some(&refused), None), "  direct: none: no tcx\n");
    }
}
