//! `make bench-guest`: the two makes of a carrier beside plain forwarding, and a translator's fast path beside
//! Jool, on Debian's stock kernel in the emulated machine. `cargo xtask bench-guest carriers | jool` measures one.
//! Which kernel boots there, `scripts/guest` says.

use std::process::Command;

use crate::Done;

/// Builds what runs inside, and boots it.
pub fn boot() -> Done {
    let run = |program: &str, words: &[&str]| -> Done {
        let status = Command::new(program).args(words).status();
        let status = status.map_err(|error| format!("{program}: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("{program} {}: {status}", words.join(" "))) }
    };
    let inside = |task: &str| format!("./target/release/xtask {task}");
    let tasks = match std::env::args().nth(2).as_deref() {
        None => vec![inside("bench-carriers"), inside("bench-jool")],
        Some("carriers") => vec![inside("bench-carriers")],
        Some("jool") => vec![inside("bench-jool")],
        Some(_) => return Err("usage: cargo xtask bench-guest [carriers | jool]".into()),
    };
    run("cargo", &["build", "--release", "--package", "straddle", "--package", "xtask"])?;
    run("./scripts/guest", &[&tasks.join(" && ")])
}
