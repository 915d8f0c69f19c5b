//! The report as a page for people: at most 80 columns, no colours.

use std::fmt::{self, Display, Formatter};

use super::{Attempt, BeforeAfter, Check, Kept, Report, Traffic};
use crate::probe::{Hop, Load, Ping, Throughput};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\n{}", self.title, self.drawing.trim_matches('\n'))?;
        writeln!(f)?;
        if let Some(traffic) = &self.traffic {
            table(f, &before_after(traffic))?;
        }
        if !self.attempts.is_empty() {
            table(f, &attempts(&self.attempts))?;
        }
        if self.checks.iter().any(|check| check.before.is_some()) {
            writeln!(f, "    {:<COMPARED$}  {:<BEFORE$}  after", "", "before")?;
        }
        self.checks.iter().try_for_each(|check| line(f, check))?;
        for note in &self.notes {
            writeln!(f)?;
            wrapped(note, WIDTH).iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        verdict(f, &self.checks)?;
        self.kept.as_ref().map_or(Ok(()), |kept| way_in(f, kept))
    }
}

/// A row: what it is about, then one cell per column.
type Row = Vec<String>;

fn table(f: &mut Formatter<'_>, rows: &[Row]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        writeln!(f, "  {}", cells.collect::<Vec<_>>().join("   ").trim_end())?;
    }
    writeln!(f)
}

fn before_after(traffic: &BeforeAfter) -> Vec<Row> {
    let (before, after) = (&traffic.before, &traffic.after);
    let row =
        |name: &str, cell: &dyn Fn(&Traffic) -> String| vec![name.to_owned(), cell(before), cell(after)];
    let mut rows = vec![
        vec![String::new(), "before".into(), "after".into()],
        row("192.0.2.158 is at", &|traffic| traffic.host.to_owned()),
        row("ping, answered", &|traffic| answered(&traffic.ping)),
        row("  min/avg/max", &|traffic| round_trip(&traffic.ping)),
    ];
    let hops = before.hops.len().max(after.hops.len());
    rows.extend((0..hops).map(|i| {
        let name = if i == 0 { "traceroute" } else { "" };
        row(name, &|traffic| traffic.hops.get(i).map_or_else(String::new, hop))
    }));
    rows.extend([
        row("TCP to it", &|traffic| rate(traffic.tcp_to)),
        row("TCP from it", &|traffic| rate(traffic.tcp_from)),
        row("UDP to it *", &|traffic| rate_and_loss(traffic.udp_to)),
        row("UDP from it *", &|traffic| rate_and_loss(traffic.udp_from)),
        vec![format!("* offered: {} Mbit/s", Load::UDP_MBITS)],
    ]);
    rows
}

fn attempts(attempts: &[Attempt]) -> Vec<Row> {
    let row = |name: &str, cell: &dyn Fn(&Attempt) -> String| {
        std::iter::once(name.to_owned()).chain(attempts.iter().map(cell)).collect()
    };
    vec![
        row("", &|attempt| attempt.name.to_owned()),
        row("ping from the client", &|attempt| answered(&attempt.ping)),
        row("the gateway finds it at", &|attempt| {
            attempt.resolved.clone().unwrap_or_else(|| "no answer".into())
        }),
        row("frames with foreign MAC", &|attempt| attempt.frames.foreign.to_string()),
        row("into the carrier", &|attempt| attempt.to_carrier.to_string()),
        row("kept by the lender", &|attempt| attempt.to_lender.to_string()),
    ]
}

/// A check: its name, then what was measured, on a line of its own where both do not fit.
fn line(f: &mut Formatter<'_>, check: &Check) -> fmt::Result {
    let mark = if check.ok { "✓" } else { "✗" };
    if let Some(before) = &check.before {
        return compared(f, mark, check, before);
    }
    let measured = wrapped(&check.measured, WIDTH - 6);
    let short = check.measured.chars().count() <= WIDTH - NAME - 6;
    match measured.as_slice() {
        [measured] if short && check.name.chars().count() <= NAME => {
            writeln!(f, "  {mark} {:<NAME$}  {measured}", check.name)
        }
        lines => {
            writeln!(f, "  {mark} {}", check.name)?;
            lines.iter().try_for_each(|line| writeln!(f, "      {line}"))
        }
    }
}

/// A check that was measured twice: in columns, or on lines of their own where they do not fit.
fn compared(f: &mut Formatter<'_>, mark: &str, check: &Check, before: &str) -> fmt::Result {
    let (name, after) = (&check.name, &check.measured);
    let short = |text: &str, width| text.chars().count() <= width && !text.contains('\n');
    if short(name, COMPARED) && short(before, BEFORE) && short(after, WIDTH - COMPARED - BEFORE - 8) {
        return writeln!(f, "  {mark} {name:<COMPARED$}  {before:<BEFORE$}  {after}");
    }
    writeln!(f, "  {mark} {name}")?;
    for (word, text) in [("before", before), ("after", after)] {
        for (number, line) in wrapped(text, WIDTH - 14).iter().enumerate() {
            writeln!(f, "      {:<8}{line}", if number == 0 { word } else { "" })?;
        }
    }
    Ok(())
}

fn verdict(f: &mut Formatter<'_>, checks: &[Check]) -> fmt::Result {
    let bad = checks.iter().filter(|check| !check.ok).count();
    match bad {
        0 => writeln!(f, "\nAll {} checks are good.", checks.len()),
        bad => writeln!(f, "\n{bad} of {} checks FAILED.", checks.len()),
    }
}

fn way_in(f: &mut Formatter<'_>, kept: &Kept) -> fmt::Result {
    writeln!(f, "\nThe world stands. To enter a host:")?;
    kept.enter.iter().try_for_each(|command| writeln!(f, "  {command}"))?;
    writeln!(f, "To take it all away:\n  {}", kept.remove)
}

fn answered(ping: &Ping) -> String {
    format!("{} of {}", ping.received, ping.sent)
}

fn round_trip(ping: &Ping) -> String {
    ping.rtt_ms.map_or_else(String::new, |[min, avg, max]| format!("{min:.2}/{avg:.2}/{max:.2} ms"))
}

fn hop(hop: &Hop) -> String {
    let address = hop.address.map_or_else(|| "*".into(), |address| address.to_string());
    let rtt = hop.rtt_ms.map_or_else(String::new, |rtt| format!(" {rtt:.2} ms"));
    format!("{:>2} {address}{rtt}", hop.ttl)
}

fn rate(throughput: Option<Throughput>) -> String {
    throughput.map_or_else(|| "no connection".into(), |it| bits(it.bits_per_second))
}

fn rate_and_loss(throughput: Option<Throughput>) -> String {
    let lost = throughput.map_or_else(String::new, |it| format!(", {:.1} % lost", it.lost_percent));
    rate(throughput) + &lost
}

fn bits(per_second: f64) -> String {
    let mega = per_second / 1e6;
    if mega >= 1000.0 { format!("{:.1} Gbit/s", mega / 1000.0) } else { format!("{mega:.0} Mbit/s") }
}

/// Breaks a text between words; a word that is too long is broken inside.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_inclusive(' ').flat_map(|word| pieces(word, width)) {
            if line.chars().count() + word.trim_end().chars().count() > width {
                lines.push(line.trim_end().to_owned());
                line.clear();
            }
            line.push_str(&word);
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

fn pieces(word: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(width).map(|piece| piece.iter().collect()).collect()
}

const WIDTH: usize = 78;
const NAME: usize = 44;
/// The same of what was measured twice, and the width of the first measurement.
const COMPARED: usize = 36;
const BEFORE: usize = 17;

#[cfg(test)]
mod tests {
    use super::{Check, bits, line, wrapped};
    use std::fmt;

    #[test]
    fn texts_are_broken_between_words() {
        let check = |text, width, expected: &[&str]| assert_eq!(wrapped(text, width), expected);
        check("", 5, &[]);
        check("one two three", 7, &["one two", "three"]);
        check("one\ntwo", 7, &["one", "two"]);
        check("abcdefghij k", 4, &["abcd", "efgh", "ij k"]);
    }

    #[test]
    fn rates_have_units() {
        assert_eq!(bits(999.4e6), "999 Mbit/s");
        assert_eq!(bits(1.26e9), "1.3 Gbit/s");
    }

    struct Line(Check);

    impl fmt::Display for Line {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            line(f, &self.0)
        }
    }

    #[test]
    fn what_was_measured_twice_stands_side_by_side_or_below() {
        let check = |before: &str, after: &str, expected: &str| {
            let check = Check { before: Some(before.into()), ..Check::new("ping", true, after) };
            let shown = Line(check).to_string();
            assert_eq!(shown, expected, "{before} {after}");
            assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        };
        let wide = |text: &str| format!("  ✓ {:<36}  {text}\n", "ping");
        check("0 of 20", "20 of 20", &wide("0 of 20            20 of 20"));
        check("0 of 20, 10.21 ms", "20 of 20, 0.21 ms", &wide("0 of 20, 10.21 ms  20 of 20, 0.21 ms"));
        let long = "192.0.0.8 192.0.0.8 192.0.0.8 192.0.0.8 192.0.0.8 192.0.0.8 192.0.0.8";
        let below = format!(
            "  ✓ ping\n      before  none\n      after   {}\n              192.0.0.8\n",
            long.strip_suffix(" 192.0.0.8").unwrap()
        );
        check("none", long, &below);
    }
}
