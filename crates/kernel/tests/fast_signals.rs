//! Programs are taken though signals come. It is alone in its process, whose threads all see them.
//!
//! Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "fast/root.rs"]
mod root;

use std::process::Command;

use straddle_intent::object::Ends;
use straddle_kernel::fast::Loaded;

use root::root;

/// The kernel gives up looking at a program when a signal comes.
#[test]
fn a_signal_is_no_refusal() {
    if !root("a_signal_is_no_refusal") {
        return;
    }
    for _ in 0..10 {
        // Of all signals these reach each thread. There are fewer than what is tried, twice each time.
        let often = "for i in 1 2 3 4 5 6 7 8; do kill -STOP $PPID; kill -CONT $PPID; sleep 0.005; done";
        let mut signals = Command::new("sh").args(["-c", often]).spawn().unwrap();
        Loaded::lending(&Ends::example(), [192, 0, 2, 1].into(), 1, "")
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(signals.wait().unwrap().success());
    }
}
