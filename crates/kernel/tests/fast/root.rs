//! Programs are loaded by root alone.

use std::io::Write as _;

/// Whether there is root to load programs with; loudly, where not.
pub(crate) fn root(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{test} needs root, and CI must not skip it");
    std::io::stderr().write_all(format!("SKIPPED (needs root): {test}\n").as_bytes()).unwrap();
    false
}
