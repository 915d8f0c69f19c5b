//! Carriers at both ends, fast and slow, against plain forwarding of IPv6 by the same hosts.
//!
//! ```text
//!  client ── inet ── switch ── lender      plain    IPv6, forwarded by inet, lender and inet
//!             │                            others   straddle's carrier from lender to borrower
//!             └────────────── borrower
//! ```

use std::path::Path;

use straddle_lab::straddle::Straddle;
use straddle_lab::world::{BORROWED, World, WorldOptions};
use straddle_lab::{Carrier, LabError};

use super::borrow::{PLAIN, plain};
use super::exe;
use super::iperf::{self, Pair, both_ways};
use super::table::{self, Way};
use crate::Done;

const NAMES: [&str; 4] = ["ip6gre", "ip4ip6", "plain", "slow"];
pub(super) const FIGURES: [&str; 4] =
    ["TCP to, Gbit/s", "TCP from, Gbit/s", "64 bytes to, 1000/s", "64 bytes from, 1000/s"];

/// Measures and prints.
pub(super) fn bench(times: usize) -> Done {
    let mut ways: [Way; 4] = std::array::from_fn(|_| vec![Vec::new(); FIGURES.len()]);
    rounds(&exe()?, &mut ways, times).map_err(|error| error.to_string())?;
    println!(
        "Carriers at both ends, to the borrower and from it: medians of {times} rounds, each way in turn\n"
    );
    let [ip6gre, ip4ip6, plain, slow] = ways.clone();
    for (name, way) in [(NAMES[0], ip6gre), (NAMES[1], ip4ip6)] {
        table::print([name, NAMES[2], NAMES[3]], &FIGURES, &[way, plain.clone(), slow.clone()]);
        println!();
    }
    table::print_rounds(NAMES, &FIGURES, &ways);
    Ok(())
}

fn rounds(exe: &Path, ways: &mut [Way; 4], times: usize) -> Result<(), LabError> {
    let world = World::build(WorldOptions::default())?;
    self::plain(&world)?;
    let _server = iperf::server(&world.borrower, world.directory())?;
    let fast = |carrier| Some((carrier, "require"));
    let by = [fast(Carrier::Ip6gre), fast(Carrier::Ip4ip6), None, Some((Carrier::Ip6gre, "off"))];
    let hosts = Pair { client: &world.client, server: &world.borrower };
    table::rounds(("carriers", times), ways, by, |by| match by {
        None => both_ways(hosts, PLAIN),
        Some((carrier, fast_path)) => {
            let straddle = Straddle::borrow_by(&world, exe, carrier, fast_path)?;
            carried(&world, &straddle)
        }
    })
}

/// What a carrier of this file does, from its beginning to its end.
pub(super) fn carried(world: &World, straddle: &Straddle) -> Result<Vec<f64>, LabError> {
    let hosts = [&world.lender, &world.borrower];
    let running = straddle.up_on(&hosts)?;
    let pair = Pair { client: &world.client, server: &world.borrower };
    let figures = both_ways(pair, &BORROWED.to_string())?;
    straddle.down_on(&hosts, running)?;
    Ok(figures)
}
