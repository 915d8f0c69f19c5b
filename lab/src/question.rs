//! Questions to a world with a translator, asked twice: without it, when it has to be silent, and with it.

use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::LabError;
use crate::host::Host;
use crate::probe::{
    Answer, Download, Kind, Load, Throughput, exchange, fits, knock, ping, refused, stream, throughput,
    trace, transfer,
};
use crate::report::Check;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was asked.
    pub(crate) name: String,
    /// Whether it works.
    pub(crate) works: bool,
    /// Whether it has to work without a translator too.
    pub(crate) always: bool,
    /// What was measured.
    pub(crate) measured: String,
}

impl Finding {
    pub(crate) fn new(name: impl Into<String>, works: bool, measured: impl Into<String>) -> Finding {
        Finding { name: name.into(), works, always: false, measured: measured.into() }
    }

    /// The same about what needs no translator.
    pub(crate) fn always(self) -> Finding {
        Finding { always: true, ..self }
    }
}

/// One direction between two hosts of a world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) name: &'static str,
    pub(crate) from: &'a Host,
    /// What the sender has to be seen as.
    pub(crate) seen: IpAddr,
    pub(crate) to: &'a Host,
    /// What the sender calls the receiver.
    pub(crate) target: IpAddr,
}

/// Some questions.
pub(crate) type Task<'a> = Box<dyn FnOnce() -> Result<Vec<Finding>, LabError> + Send + 'a>;

/// Whether questions wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// They don't: where nothing answers, each waits for its own silence.
    Together,
    /// They do, and don't disturb each other.
    OneByOne,
}

/// Asks everything; the answers are in the order of the questions.
pub(crate) fn ask(tasks: Vec<Task<'_>>, pace: Pace) -> Result<Vec<Finding>, LabError> {
    let answers: Result<Vec<Vec<Finding>>, LabError> = match pace {
        Pace::OneByOne => tasks.into_iter().map(|task| task()).collect(),
        Pace::Together => thread::scope(|scope| {
            let threads: Vec<_> = tasks.into_iter().map(|task| scope.spawn(task)).collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(answers) => answers,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect()
        }),
    };
    Ok(answers?.into_iter().flatten().collect())
}

/// What worked before and what works after, as checks. What needs a translator must not have worked
/// without one: a question that cannot be answered with no proves nothing with yes.
pub(crate) fn compare(before: Vec<Finding>, after: Vec<Finding>) -> Vec<Check> {
    let pairs = before.into_iter().zip(after);
    let check = |(before, after): (Finding, Finding)| {
        let ok = after.works && before.works == after.always && before.name == after.name;
        let before = Some(before.measured);
        Check { name: after.name, ok, measured: after.measured, before }
    };
    pairs.map(check).collect()
}

/// Ping, TCP, and UDP in one packet and in fragments, with the addresses that both sides have to see.
pub(crate) fn basics(way: &Way<'_>) -> Result<Vec<Finding>, LabError> {
    let mut findings = vec![pinged(way)?];
    let stream = stream(way.from, way.to, way.target)?;
    let seen = stream.map(|stream| (Some(stream.seen_by_server), Some(stream.seen_by_client)));
    findings.push(addresses("TCP", way, seen.unwrap_or_default()));
    for (name, size) in [("UDP", 100), ("UDP of 8 KB", 8192)] {
        let seen = exchange(way.from, way.to, way.target, Kind::Udp, size)?;
        findings.push(addresses(name, way, (seen.seen_by_server, seen.seen_by_client)));
    }
    findings.push(closed(way)?);
    findings.push(sent(way)?);
    Ok(findings)
}

/// Twenty pings.
pub(crate) fn pinged(way: &Way<'_>) -> Result<Finding, LabError> {
    let ping = ping(way.from, way.target, 20)?;
    let mean = ping.rtt_ms.map_or_else(String::new, |[_, mean, _]| format!(", {mean:.2} ms"));
    let measured = format!("{} of {}{mean}", ping.received, ping.sent);
    Ok(Finding::new(format!("ping {}", way.name), ping.complete(), measured))
}

/// An ICMP port unreachable has to reach the socket that it is about.
pub(crate) fn closed(way: &Way<'_>) -> Result<Finding, LabError> {
    let told = refused(way.from, way.target)?;
    let measured = if told { "refused" } else { "silence" };
    Ok(Finding::new(format!("UDP to a closed port {}", way.name), told, measured))
}

/// More than fits into any queue on the way.
pub(crate) fn sent(way: &Way<'_>) -> Result<Finding, LabError> {
    let took = transfer(way.from, way.to, way.target, 4_000_000)?;
    let measured =
        took.map_or_else(|| "not arrived".into(), |took| format!("in {:.3} s", took.as_secs_f64()));
    Ok(Finding::new(format!("4 MB by TCP {}", way.name), took.is_some(), measured))
}

/// A file that curl fetched.
pub(crate) fn fetched(name: impl Into<String>, got: Download) -> Finding {
    let measured = if got.bytes == 0 { "nothing".into() } else { format!("1 MB in {:.3} s", got.seconds) };
    Finding::new(name, got.intact, measured)
}

/// Routers that have no address of the sender's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strangers {
    /// They have to be heard, by whatever address (RFC 6791).
    Heard,
    /// The translator drops what they say.
    Unheard,
}

/// The way to the target: these hops are on it in this order, and none of them seems to be the target but
/// the target.
pub(crate) fn hops(way: &Way<'_>, known: &[IpAddr], strangers: Strangers) -> Result<Finding, LabError> {
    let hops = trace(way.from, way.target)?;
    let addresses: Vec<Option<IpAddr>> = hops.iter().map(|hop| hop.address).collect();
    let show = |address: &Option<IpAddr>| address.map_or_else(|| "*".into(), |address| address.to_string());
    let mut rest = addresses.iter().flatten();
    let on_the_way = known.iter().chain([&way.target]).all(|known| rest.any(|address| address == known));
    let silent = addresses.iter().any(Option::is_none);
    let once = addresses.iter().flatten().filter(|address| **address == way.target).count() == 1;
    let measured = match addresses.len() {
        0 => "no route".into(),
        _ => addresses.iter().map(show).collect::<Vec<_>>().join(" "),
    };
    let heard = !silent || strangers == Strangers::Unheard;
    Ok(Finding::new(format!("traceroute {}", way.name), on_the_way && once && heard, measured))
}

/// A packet that must not be fragmented and is too large: its sender is told an MTU.
pub(crate) fn told(way: &Way<'_>, size: u16, expected: u16) -> Result<Finding, LabError> {
    let answer = match knock(way.from, way.target, size, ANSWER) {
        Ok(answer) => answer,
        // The host's own kernel has no way for it.
        Err(LabError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NetworkUnreachable => {
            Answer::Silence
        }
        Err(error) => return Err(error),
    };
    let works = matches!(answer, Answer::FragNeeded { mtu, .. } if mtu == expected);
    let name = format!("{size} bytes {}: told {expected}", way.name);
    Ok(Finding::new(name, works, words(answer)))
}

/// The same, of a size that passes.
pub(crate) fn passes(way: &Way<'_>, size: u16) -> Result<Finding, LabError> {
    let arrived = fits(way.from, way.to, way.target, size)?;
    let measured = if arrived { "arrived" } else { "lost" };
    Ok(Finding::new(format!("{size} bytes {}: arrive", way.name), arrived, measured))
}

/// A second of iperf3 with each load.
pub(crate) fn rates(way: &Way<'_>, directory: &Path) -> Result<Vec<Finding>, LabError> {
    [Load::Tcp, Load::TcpBack, Load::Udp].into_iter().map(|load| rate(way, load, directory)).collect()
}

fn rate(way: &Way<'_>, load: Load, directory: &Path) -> Result<Finding, LabError> {
    let measured = throughput(way.from, way.to, way.target, load, directory)?;
    let name = match load {
        Load::Tcp => "TCP throughput",
        Load::TcpBack => "TCP throughput back,",
        Load::Udp => "UDP of 200 Mbit/s",
        Load::SmallUdp => "UDP throughput, 64 bytes",
    };
    let works = measured.is_some_and(|measured| measured.bits_per_second > 0.0);
    Ok(Finding::new(format!("{name} {}", way.name), works, rate_words(measured)))
}

fn rate_words(measured: Option<Throughput>) -> String {
    let Some(measured) = measured else { return "no connection".into() };
    let mega = measured.bits_per_second / 1e6;
    let lost = measured.lost_percent;
    match lost > 0.05 {
        true => format!("{mega:.0} Mbit/s, {lost:.1} % lost"),
        false => format!("{mega:.0} Mbit/s"),
    }
}

pub(crate) fn words(answer: Answer) -> String {
    match answer {
        Answer::Reply => "reply".into(),
        Answer::FragNeeded { mtu, from } => format!("MTU {mtu}, says {from}"),
        Answer::Error { kind, code, from } => format!("ICMP {kind}/{code} from {from}"),
        Answer::Silence => "silence".into(),
    }
}

/// The receiver has to see the sender's address of the way, the sender the target's.
pub(crate) fn addresses(what: &str, way: &Way<'_>, seen: (Option<IpAddr>, Option<IpAddr>)) -> Finding {
    let show = |address: Option<IpAddr>| address.map_or_else(|| "nothing".into(), |a| a.to_string());
    let works = seen == (Some(way.seen), Some(way.target));
    let measured = match seen {
        (None, None) => "nothing".into(),
        _ if works => format!("from {}", way.seen),
        _ => format!(
            "receiver saw {} for {}, sender saw {} for {}",
            show(seen.0),
            way.seen,
            show(seen.1),
            way.target
        ),
    };
    Finding::new(format!("{what} {}", way.name), works, measured)
}

const ANSWER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::{Finding, compare};

    /// Letters are the answers before and after: y works, n does not; A where it always has to.
    fn check(answers: &str, expected: bool) {
        let finding = |letter: char| {
            let finding = Finding::new("question", letter == 'y', "");
            if answers.ends_with('A') { finding.always() } else { finding }
        };
        let mut letters = answers.chars();
        let (before, after) = (letters.next().unwrap(), letters.next().unwrap());
        let checks = compare(vec![finding(before)], vec![finding(after)]);
        assert_eq!(checks.iter().map(|check| check.ok).collect::<Vec<_>>(), [expected], "{answers}");
    }

    #[test]
    fn a_question_that_was_never_no_proves_nothing() {
        check("ny", true);
        check("yy", false);
        check("nn", false);
        check("yn", false);
        check("yyA", true);
        check("nyA", false);
        check("ynA", false);
    }
}
