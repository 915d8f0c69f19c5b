//! `make bench`: the same bytes over the same namespaces by several ways, in turn.
//! `cargo xtask bench [carrier | translate | relay | tunnel6] [ROUNDS]` measures one part, or as often as told.

mod callers;
mod carrier;
mod iperf;
mod jool;
mod makes;
mod others;
mod relay;
mod table;
mod translate;
mod tunnel6;

pub(crate) use jool::bench as jool;
pub(crate) use makes::bench as makes;

use std::path::PathBuf;

use crate::Done;

/// How often each way is measured; a median of an odd number is a measurement.
const ROUNDS: usize = 7;

/// Measures and prints.
pub fn bench() -> Done {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let rounds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    let part = words.iter().find(|word| word.parse::<usize>().is_err()).map_or("", String::as_str);
    match part {
        "" => {
            carrier::bench(rounds)?;
            println!();
            translate::bench(rounds)?;
            println!();
            relay::bench(rounds)?;
            println!();
            tunnel6::bench(rounds)
        }
        "carrier" => carrier::bench(rounds),
        "translate" => translate::bench(rounds),
        "relay" => relay::bench(rounds),
        "tunnel6" => tunnel6::bench(rounds),
        _ => Err("usage: cargo xtask bench [carrier | translate | relay | tunnel6] [ROUNDS]".into()),
    }
}

/// The binary that is measured.
fn exe() -> Result<PathBuf, String> {
    let exe = PathBuf::from("target/release/straddle");
    exe.canonicalize().map_err(|_| "target/release/straddle is missing: cargo build --release".into())
}

/// The middle of what was measured.
fn median(list: &[f64]) -> f64 {
    let mut sorted = list.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
