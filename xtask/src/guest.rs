//! Ring 5: built here, run in the emulated machine.

use std::process::Command;

use serde_json::Value;

use crate::{Done, again};

/// Builds the guest's tests, with optimisation since the machine is emulated, and runs those inside whose names contain
/// one of the words after the task's.
pub fn guest() -> Done {
    let words =
        ["test", "--release", "--no-run", "--test", "guest", "--message-format", "json-render-diagnostics"];
    let built = Command::new("cargo")
        .args(words)
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !built.status.success() {
        return Err("the guest's tests could not be built".into());
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages
        .filter(|message| message["target"]["name"] == "guest")
        .filter_map(|message| message["executable"].as_str().map(str::to_string));
    let program = programs.next().ok_or("cargo has built no guest tests")?;
    let wanted: Vec<String> = std::env::args().skip(2).collect();
    let words = std::iter::once(&program).chain(&wanted).map(String::as_str);
    let words: Vec<&str> = words.chain(["--test-threads", "1", "--nocapture"]).collect();
    again::asked("./scripts/guest", &words)
}
