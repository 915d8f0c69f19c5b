//! Carriers at both ends, fast and slow, plain forwarding of IPv6 by the same hosts, and two TAYGAs in a row.
//!
//! ```text
//!  client ── inet ── switch ── lender      plain      IPv6, forwarded by inet, lender and inet
//!    │        │                            2 TAYGA    translated at the lender, and back at the borrower
//!    │        │                            cable      what the load generator itself can do
//!    └────────┴─────── borrower            slow       straddle's carrier without programs of the kernel's
//!                                          direct     straddle's, past the device at the lender
//!                                          others     straddle's, by both devices
//! ```

use std::path::Path;

use straddle_lab::straddle::{Straddle, config};
use straddle_lab::world::{BORROWED, World};
use straddle_lab::{Carrier, LabError};

use super::exe;
use super::iperf::{CABLE, Load, both_ways};
use super::others::{self, PLAIN, TRANSLATED};
use super::table::{self, Way};
use crate::Done;

const NAMES: [&str; 8] = ["ip6gre", "ip4ip6", "gre direct", "ip direct", "slow", "plain", "2 TAYGA", "cable"];
pub(super) const LOADS: [Load; 2] = [Load::Tcp(1), Load::Udp];
/// A lender's packets go past its carrier's device.
pub(super) const DIRECT: &str = "direct = true\n";
pub(super) const FIGURES: [&str; 8] = [
    "TCP to        Gbit/s",
    "         CPU s/GB",
    "TCP from      Gbit/s",
    "         CPU s/GB",
    "64 bytes to   kpkt/s",
    "         CPU µs/packet",
    "64 bytes from kpkt/s",
    "         CPU µs/packet",
];

/// How packets get from the client to the borrower.
#[derive(Clone, Copy)]
enum By {
    /// As this address of the borrower's leads.
    Address(&'static str),
    /// By a carrier, with this word for `fast-path`, and this more of the bridge.
    Carrier(Carrier, &'static str, &'static str),
}

/// Measures and prints.
pub(super) fn bench(times: usize) -> Done {
    let mut ways: [Way; 8] = std::array::from_fn(|_| vec![Vec::new(); FIGURES.len()]);
    rounds(&exe()?, &mut ways, times).map_err(|error| error.to_string())?;
    println!("Carriers at both ends, to the borrower and from it,");
    println!("medians of {times} rounds, each way in turn\n");
    let [.., plain, tayga, cable] = ways.clone();
    for (name, way) in NAMES.into_iter().zip(ways.clone()).take(5) {
        table::print([name, "plain", "2 TAYGA"], &FIGURES, &[way, plain.clone(), tayga.clone()]);
        println!();
    }
    table::print_limit("2 TAYGA", &FIGURES, &[plain, cable, tayga]);
    table::print_rounds(NAMES, &FIGURES, &ways);
    Ok(())
}

fn rounds(exe: &Path, ways: &mut [Way; 8], times: usize) -> Result<(), LabError> {
    let (world, _servers) = others::build()?;
    let _translators = others::translators(&world)?;
    let by = [
        By::Carrier(Carrier::Ip6gre, "require", ""),
        By::Carrier(Carrier::Ip4ip6, "require", ""),
        By::Carrier(Carrier::Ip6gre, "require", DIRECT),
        By::Carrier(Carrier::Ip4ip6, "require", DIRECT),
        By::Carrier(Carrier::Ip6gre, "off", ""),
        By::Address(PLAIN),
        By::Address(TRANSLATED),
        By::Address(CABLE),
    ];
    table::rounds(("carriers", times), NAMES, ways, by, |by| match by {
        By::Address(target) => both_ways(others::pair(&world), target, &LOADS),
        By::Carrier(carrier, fast_path, more) => {
            let text = config(carrier, fast_path) + more;
            carried(&world, &Straddle::with_config(&world, exe, &text)?)
        }
    })
}

/// What a carrier of this file does, from its beginning to its end.
pub(super) fn carried(world: &World, straddle: &Straddle) -> Result<Vec<f64>, LabError> {
    let hosts = [&world.lender, &world.borrower];
    let running = straddle.up_on(&hosts)?;
    let figures = both_ways(others::pair(world), &BORROWED.to_string(), &LOADS)?;
    straddle.down_on(&hosts, running)?;
    Ok(figures)
}
