//! The workspace's own tasks: `cargo xtask tidy | ci | guest | bench | bench-guest`.

mod again;
mod bench;
mod bench_guest;
mod ci;
mod guest;
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let done = match task.as_str() {
        "tidy" => tidy::tidy(),
        "ci" => ci::ci(),
        "guest" => guest::guest(),
        "bench" => bench::bench(),
        "bench-guest" => bench_guest::boot(),
        "bench-carriers" => bench::makes(),
        "bench-jool" => bench::jool(),
        _ => Err("usage: cargo xtask tidy | ci | guest | bench | bench-guest".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// How a task ends: well, or in words.
type Done = Result<(), String>;
