//! The same on every desk and in CI.

use std::process::Command;
use std::time::Instant;

use crate::{Done, again};

/// Seconds that each fuzz target runs.
const FUZZ: &str = "20";

/// Every check, the quick ones first.
pub fn ci() -> Done {
    crate::tidy::tidy()?;
    run("cargo", &["fmt", "--all", "--check"])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    with("RUSTDOCFLAGS", "-D warnings", &["doc", "--workspace", "--no-deps", "--document-private-items"])?;
    deny()?;
    run("cargo", &["test", "--workspace", "--exclude", "straddle"])?;
    // Labs, one at a time: they measure.
    again::asked("cargo", &["test", "--package", "straddle", "--no-fail-fast", "--"])?;
    run("cargo", &["xtask", "guest"])?;
    run("./fuzz/run.sh", &[FUZZ])
}

/// Licences, sources and bans; advisories would need a download.
fn deny() -> Done {
    let there =
        Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|out| out.status.success());
    if !there {
        run("cargo", &["install", "--quiet", "--locked", "cargo-deny"])?;
    }
    run("cargo", &["deny", "check", "bans", "licenses", "sources"])
}

fn run(program: &str, words: &[&str]) -> Done {
    finish(Command::new(program).args(words))
}

fn with(name: &str, value: &str, words: &[&str]) -> Done {
    finish(Command::new("cargo").args(words).env(name, value))
}

fn finish(command: &mut Command) -> Done {
    let words = format!("{command:?}").replace('"', "");
    println!("\n=== {words}");
    let start = Instant::now();
    let status = command.status().map_err(|error| format!("{words}: {error}"))?;
    println!("=== {words}: {status}, {:.0} s", start.elapsed().as_secs_f32());
    if status.success() { Ok(()) } else { Err(format!("{words} failed")) }
}
