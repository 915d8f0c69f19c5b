//! The two makes of a carrier, on a kernel that has the devices.
//!
//! ```text
//!  client ── inet ── switch ── lender     plain     IPv6, forwarded by inet, lender and inet
//!             │                           kernel    the kernel's tunnel device at both ends
//!             └────────────── borrower    tun       straddle's at both ends, as fast as the kernel can
//!                                         direct    the same, past the device at the lender
//! ```

use std::fs;
use std::path::Path;

use straddle_lab::straddle::{Straddle, config};
use straddle_lab::{Carrier, LabError};

use super::carrier::{DIRECT, FIGURES, LOADS, carried};
use super::exe;
use super::iperf::both_ways;
use super::others::{self, PLAIN};
use super::table::{self, Way};
use crate::Done;

/// How often each way is measured; a median of an odd number is a measurement.
const ROUNDS: usize = 5;
const NAMES: [&str; 7] =
    ["plain", "ip6gre, kernel", "ip6gre, tun", "gre direct", "ip4ip6, kernel", "ip4ip6, tun", "ip direct"];

/// Measures and prints.
pub(crate) fn bench() -> Done {
    let mut ways: [Way; 7] = std::array::from_fn(|_| vec![Vec::new(); FIGURES.len()]);
    rounds(&exe()?, &mut ways).map_err(|error| error.to_string())?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!(
        "Carriers at both ends, on Linux {}: medians of {ROUNDS} rounds, each way in turn\n",
        release.trim()
    );
    let [plain, gre_kernel, gre_tun, gre_direct, ip_kernel, ip_tun, ip_direct] = ways.clone();
    for (name, tun, kernel) in [
        ("ip6gre", gre_tun, &gre_kernel),
        ("gre direct", gre_direct, &gre_kernel),
        ("ip4ip6", ip_tun, &ip_kernel),
        ("ip direct", ip_direct, &ip_kernel),
    ] {
        table::print([name, "plain", "kernel"], &FIGURES, &[tun, plain.clone(), kernel.clone()]);
        println!();
    }
    table::print_rounds(NAMES, &FIGURES, &ways);
    Ok(())
}

fn rounds(exe: &Path, ways: &mut [Way; 7]) -> Result<(), LabError> {
    let (world, _servers) = others::build()?;
    let ip6gre = |make, more| Some((Carrier::Ip6gre, make, more));
    let ip4ip6 = |make, more| Some((Carrier::Ip4ip6, make, more));
    let by = [
        None,
        ip6gre("kernel", ""),
        ip6gre("tun", ""),
        ip6gre("tun", DIRECT),
        ip4ip6("kernel", ""),
        ip4ip6("tun", ""),
        ip4ip6("tun", DIRECT),
    ];
    table::rounds(("makes of a carrier", ROUNDS), NAMES, ways, by, |by| match by {
        None => both_ways(others::pair(&world), PLAIN, &LOADS),
        Some((carrier, make, more)) => {
            let path = "fast-path = \"auto\"\n";
            let text =
                config(carrier, "auto").replace(path, &format!("{path}carrier-backend = \"{make}\"\n"));
            carried(&world, &Straddle::with_config(&world, exe, &(text + more))?)
        }
    })
}
