//! Carriers at both ends, fast and slow, against plain forwarding of IPv6 by the same hosts.
//!
//! ```text
//!  client ── inet ── switch ── lender      plain    IPv6, forwarded by inet, lender and inet
//!             │                            others   straddle's carrier from lender to borrower
//!             └────────────── borrower
//! ```

use std::path::{Path, PathBuf};

use straddle_lab::straddle::Straddle;
use straddle_lab::world::{BORROWED, World, WorldOptions};
use straddle_lab::{Carrier, LabError};

use super::borrow::{PLAIN, plain};
use super::iperf::{self, Direction, Load, Pair, measure};
use super::table::{self, Way};
use crate::Done;

const NAMES: [&str; 4] = ["ip6gre", "ip4ip6", "plain", "slow"];
const FIGURES: [&str; 4] =
    ["TCP to, Gbit/s", "TCP from, Gbit/s", "64 bytes to, 1000/s", "64 bytes from, 1000/s"];

/// Measures and prints.
pub(super) fn bench(times: usize) -> Done {
    let exe = PathBuf::from("target/release/straddle");
    let exe = exe.canonicalize().map_err(|_| "target/release/straddle is missing: cargo build --release")?;
    let mut ways: [Way; 4] = std::array::from_fn(|_| vec![Vec::new(); FIGURES.len()]);
    rounds(&exe, &mut ways, times).map_err(|error| error.to_string())?;
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
    for round in 1..=times {
        eprintln!("... carriers: round {round} of {times}");
        let [ip6gre, ip4ip6, plain, slow] = ways.each_mut();
        keep(plain, one(&world, PLAIN)?);
        keep(ip6gre, carried(&world, exe, Carrier::Ip6gre, "require")?);
        keep(ip4ip6, carried(&world, exe, Carrier::Ip4ip6, "require")?);
        keep(slow, carried(&world, exe, Carrier::Ip6gre, "off")?);
    }
    Ok(())
}

fn keep(way: &mut Way, figures: [f64; 4]) {
    way.iter_mut().zip(figures).for_each(|(list, figure)| list.push(figure));
}

fn carried(world: &World, exe: &Path, carrier: Carrier, fast_path: &str) -> Result<[f64; 4], LabError> {
    let straddle = Straddle::borrow_by(world, exe, carrier, fast_path)?;
    let ends = [straddle.on(&world.lender), straddle.on(&world.borrower)];
    let running = [ends[0].run()?, ends[1].run()?];
    let figures = one(world, &BORROWED.to_string())?;
    ends.iter().try_for_each(|end| end.down().map(drop))?;
    drop(running);
    Ok(figures)
}

/// All figures of one way, once, in the order of [`FIGURES`].
fn one(world: &World, target: &str) -> Result<[f64; 4], LabError> {
    let hosts = Pair { client: &world.client, server: &world.borrower };
    let of = |load, direction| measure(hosts, target, load, direction);
    Ok([
        of(Load::Tcp(1), Direction::There)?,
        of(Load::Tcp(1), Direction::Back)?,
        of(Load::Udp, Direction::There)?,
        of(Load::Udp, Direction::Back)?,
    ])
}
