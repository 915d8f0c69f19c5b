//! `straddle doctor` on a host that somebody set up by hand: every trap is named, and its cures cure.

use std::path::Path;

use serde_json::Value;
use straddle_lab::LabError;
use straddle_lab::host::Host;

/// The traps of a host, as `TRAP DEVICE`, and the commands that mend them.
pub(crate) fn examined(host: &Host, exe: &Path) -> Result<(Vec<String>, Vec<String>), LabError> {
    let exe = exe.display().to_string();
    let asked = host.try_run(&[&exe, "doctor", "--json"])?;
    let traps: Value = serde_json::from_str(&asked.stdout).expect("doctor tells JSON");
    let traps = traps.as_array().expect("a list of traps");
    assert_eq!(asked.status.code(), Some(if traps.is_empty() { 0 } else { 3 }), "{}", asked.stderr);
    let word = |value: &Value| value.as_str().unwrap_or("host").to_string();
    let named = traps.iter().map(|trap| format!("{} {}", word(&trap["trap"]), word(&trap["device"])));
    let cures = traps.iter().flat_map(|trap| trap["cure"].as_array().expect("a list of commands"));
    Ok((named.collect(), cures.map(word).collect()))
}

/// Takes every command that was named, as it stands, but for what it leaves to its reader; then nothing is wrong.
pub(crate) fn cured(host: &Host, exe: &Path, expected: &[&str], address: &str) -> Result<(), LabError> {
    let (named, cures) = examined(host, exe)?;
    assert_eq!(named, expected);
    for command in cures.iter().filter(|command| !command.starts_with("rdisc6 ")) {
        host.run(&["sh", "-c", &command.replace("ADDRESS", address)])?;
    }
    let (named, _) = examined(host, exe)?;
    assert_eq!(named, [""; 0], "after {cures:#?}");
    Ok(())
}
