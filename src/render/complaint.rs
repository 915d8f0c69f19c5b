use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use anstyle::AnsiColor;
use straddle_intent::config::Diagnostic;
use straddle_intent::site::Unknown;
use straddle_intent::step::Step;
use straddle_intent::words;
use straddle_kernel::{Error, Failure, Session};

use crate::complaint::Complaint;

use super::{bold, coloured, folded};

/// A complaint as it is printed to the standard error.
pub(crate) fn complaint(complaint: &Complaint) -> String {
    match complaint {
        Complaint::NoFile { path, why } => {
            error(&format!("{}: {why}", path.display()), "write the file, or name another with --config FILE")
        }
        Complaint::Mistakes { path, text, found } => mistakes(path, text, found),
        Complaint::Unknown { unknown, known } => unknown_host(unknown, known),
        Complaint::Conflicts(conflicts) => {
            let mut out: String =
                conflicts.iter().map(|conflict| error(&conflict.message, &conflict.help)).collect();
            out += "nothing was changed\n";
            out
        }
        Complaint::Sessions { address, ssh, sessions } => own_session(*address, *ssh, sessions),
        Complaint::Failure(failure) => failed(failure),
        Complaint::NotVerified { steps, left } => not_verified(steps, left),
        Complaint::Left(left) => what_is_left(left),
        Complaint::Kernel(Error::Busy(pid)) => {
            let help = "wait until it has finished; a `straddle run` ends with `straddle down`";
            error(&format!("another straddle (pid {pid}) is at work on this host"), help)
        }
        Complaint::Kernel(why) => error(&why.to_string(), help_for(why)),
        Complaint::NotServed(why) => error(
            &format!("the host is in step, but nothing is served: {why}"),
            "mend that, or `straddle down`",
        ),
        Complaint::NotListening { lines, lacks_files: false } => {
            error(lines, "see what listens there with `ss -tulpn`, and end it or write another port")
        }
        Complaint::NotListening { lines, lacks_files: true } => error(
            lines,
            "each port takes a file, and each connection two: a larger `LimitNOFILE=` of its unit allows more; or listen \
             at fewer ports (a [[publish]] by `ports` takes none)",
        ),
        Complaint::StillThere(steps) => {
            let words: Vec<String> =
                steps.iter().filter_map(|step| words::step(step).into_iter().next()).collect();
            let message = format!(
                "all steps were taken, but something of straddle is there again: {}",
                words.join("; ")
            );
            error(
                &message,
                "does another straddle run with another --runtime-dir? end it, then `straddle down`",
            )
        }
        Complaint::Forgotten(why) => error(
            &format!("what bears our mark was taken back, but {why}"),
            "that line's memory is lost: compare addresses, routes and sysctls with what they should be",
        ),
        Complaint::Lab(why) => format!("{} {why}\n", coloured(AnsiColor::Red, "error:")),
        Complaint::Mistake { message, help } | Complaint::Other { message, help } => error(message, help),
    }
}

/// Something that is no reason to stop.
pub(crate) fn warning(text: &str) -> String {
    folded(&format!("{} ", coloured(AnsiColor::Yellow, "warning:")), 2, text).trim_end().to_string()
}

fn error(message: &str, help: &str) -> String {
    let mut out = String::new();
    // The first word's colour has no width.
    out += &folded("error:", 2, message).replacen("error:", &coloured(AnsiColor::Red, "error:"), 1);
    out += &folded("  help:", 4, help).replacen("help:", &bold("help:"), 1);
    out
}

fn mistakes(path: &Path, text: &str, found: &[Diagnostic]) -> String {
    let renderer = Renderer::styled();
    let origin = path.display().to_string();
    let mut out = String::new();
    for diagnostic in found {
        let end = diagnostic.span.end.min(text.len()).max(diagnostic.span.start);
        let span = diagnostic.span.start.min(text.len())..end;
        let snippet = Snippet::source(text).path(&origin).annotation(AnnotationKind::Primary.span(span));
        let group = Level::ERROR.primary_title(diagnostic.message.as_str()).element(snippet);
        let report = [group.element(Level::HELP.message(diagnostic.help.as_str()))];
        let _ = writeln!(out, "{}\n", renderer.render(&report));
    }
    let count = if found.len() == 1 { "1 mistake".to_string() } else { format!("{} mistakes", found.len()) };
    let _ = writeln!(out, "{count} in {origin}; nothing was changed");
    out
}

fn unknown_host(unknown: &Unknown, known: &[String]) -> String {
    let names = known.join(", ");
    match unknown {
        Unknown::Nobody => error(
            "this host has no address of any host in the file",
            &format!("say which one it is: --host NAME, one of {names}"),
        ),
        Unknown::Several(several) => error(
            &format!("this host has addresses of {}", several.join(" and ")),
            "say which one it is: --host NAME",
        ),
        Unknown::NoSuchName(name) => {
            error(&format!("the file has no host `{name}`"), &format!("the hosts of the file are {names}"))
        }
    }
}

fn own_session(address: std::net::Ipv4Addr, ssh: bool, sessions: &[Session]) -> String {
    let mut message = format!("{address} is about to leave this host or lead elsewhere, and");
    if ssh {
        message += " your own SSH session arrives at it";
    } else {
        let some: Vec<String> =
            sessions.iter().take(3).map(|s| format!("{} to port {}", s.peer, s.port)).collect();
        let more = if sessions.len() > 3 { ", and more" } else { "" };
        message += &format!(" connections arrive at it: {}{more}; one of them may be yours", some.join(", "));
    }
    let mut out = error(
        &message,
        "log in over IPv6, or another address, and try again; or end them with --force. A `straddle run` that has read \
             this file goes on by itself as soon as they have ended: take the entry out of the file to keep the \
             address",
    );
    out += "nothing was changed\n";
    out
}

fn failed(failure: &Failure) -> String {
    let step = words::step(&failure.step).into_iter().next().unwrap_or_default();
    let mut out = error(&format!("the step `{step}` failed: {}", failure.error), help_for(&failure.error));
    out += &way_back(&failure.left);
    out
}

fn help_for(failure: &Error) -> &'static str {
    match failure {
        Error::Netlink { code: 1, .. } => "this needs root (CAP_NET_ADMIN)",
        Error::File { source, .. } | Error::Call { source, .. } => {
            let is = |kind: ErrorKind| source.kind() == kind;
            if is(ErrorKind::StorageFull) || is(ErrorKind::QuotaExceeded) {
                "make room on that disk, then try again"
            } else if is(ErrorKind::ReadOnlyFilesystem) {
                "name a folder that can be written: --state-dir, --runtime-dir"
            } else {
                "the words are the kernel's; most of straddle's work needs root"
            }
        }
        Error::Journal { .. } => {
            "`straddle down` takes back what can be told, and keeps the file as journal.unreadable"
        }
        Error::Program(_) => {
            "write fast-path = \"off\" for that bridge, or that host's carriers: all packets then go the slow path"
        }
        Error::Nft(_) => "is nft installed, and is this root? `straddle plan` shows the rules",
        Error::Netlink { .. } | Error::NoDevice(_) | Error::Busy(_) => {
            "the words are the kernel's; `straddle plan` shows the step among the others"
        }
    }
}

fn not_verified(steps: &[Step], left: &[(Step, Error)]) -> String {
    let words: Vec<String> = steps.iter().filter_map(|step| words::step(step).into_iter().next()).collect();
    let message =
        format!("all steps were taken, but the host is not as planned; left to do: {}", words.join("; "));
    let mut out = error(&message, "something else on this host undoes it: a DHCP client, a network manager?");
    out += &way_back(left);
    out
}

fn way_back(left: &[(Step, Error)]) -> String {
    if left.is_empty() { "the host is as it was before\n".into() } else { what_is_left(left) }
}

fn what_is_left(left: &[(Step, Error)]) -> String {
    let mut out = error(
        &format!("{} steps back could not be taken", left.len()),
        "mend what the words say, then `straddle down`: what was displaced is still remembered",
    );
    for (step, why) in left {
        let words = words::step(step).into_iter().next().unwrap_or_default();
        out += &folded("  -", 4, &format!("{words}: {why}"));
    }
    out
}
