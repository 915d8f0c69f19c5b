//! `make bench-guest`: the two makes of a carrier beside plain forwarding, and a translator's fast path beside
//! Jool, on Debian's stock kernel in the emulated machine. `cargo xtask bench-guest carriers | jool` measures one.
//!
//! ```text
//!  client ── inet ── switch ── lender     plain     IPv6, forwarded by inet, lender and inet
//!             │                           kernel    the kernel's tunnel device at both ends
//!             └────────────── borrower    tun       straddle's at both ends
//! ```

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use straddle_lab::probe::{Load, throughput};
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{BORROWED, World, WorldOptions};
use straddle_lab::{Carrier, LabError};

use crate::Done;

/// How often each way is measured; a median of an odd number is a measurement.
const ROUNDS: usize = 5;
const LOADS: [(Load, &str); 2] = [(Load::Tcp, "TCP, one flow"), (Load::SmallUdp, "UDP, 64 bytes")];
const KINDS: [Carrier; 2] = [Carrier::Ip6gre, Carrier::Ip4ip6];

/// Builds what runs inside, and boots it.
pub fn boot() -> Done {
    let run = |program: &str, words: &[&str]| -> Done {
        let status = Command::new(program).args(words).status();
        let status = status.map_err(|error| format!("{program}: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("{program} {}: {status}", words.join(" "))) }
    };
    let inside = |task: &str| format!("./target/release/xtask {task}");
    let tasks = match std::env::args().nth(2).as_deref() {
        None => vec![inside("bench-carriers"), inside("bench-jool")],
        Some("carriers") => vec![inside("bench-carriers")],
        Some("jool") => vec![inside("bench-jool")],
        Some(_) => return Err("usage: cargo xtask bench-guest [carriers | jool]".into()),
    };
    run("cargo", &["build", "--release", "--package", "straddle", "--package", "xtask"])?;
    run("./scripts/guest", &[&tasks.join(" && ")])
}

/// One way: for each load the figures of its rounds, Mbit/s of payload received.
struct Way {
    name: String,
    figures: [Vec<f64>; LOADS.len()],
}

/// Measures and prints; for a kernel that has the devices.
pub fn carriers() -> Done {
    let exe = PathBuf::from("target/release/straddle");
    let exe = exe.canonicalize().map_err(|_| "target/release/straddle is missing: cargo build --release")?;
    let ways = rounds(&exe).map_err(|error| error.to_string())?;
    report(&ways);
    Ok(())
}

fn rounds(exe: &Path) -> Result<Vec<Way>, LabError> {
    let world = World::build(WorldOptions::default())?;
    crate::bench::plain(&world)?;
    let mut ways = vec![Way { name: "plain IPv6".into(), figures: Default::default() }];
    for kind in KINDS {
        for backend in ["kernel", "tun"] {
            ways.push(Way { name: format!("{kind}, {backend}"), figures: Default::default() });
        }
    }
    for round in 1..=ROUNDS {
        eprintln!("... round {round} of {ROUNDS}");
        let mut each = ways.iter_mut();
        if let Some(way) = each.next() {
            measure(&world, crate::bench::PLAIN, way)?;
        }
        for kind in KINDS {
            for backend in ["kernel", "tun"] {
                let Some(way) = each.next() else { continue };
                carrier(&world, exe, kind, backend, way)?;
            }
        }
    }
    Ok(ways)
}

fn carrier(world: &World, exe: &Path, kind: Carrier, backend: &str, way: &mut Way) -> Result<(), LabError> {
    let straddle = Straddle::with_config(world, exe, &config(kind, backend))?;
    let ends = [straddle.on(&world.lender), straddle.on(&world.borrower)];
    let mut running = Vec::new();
    for end in &ends {
        if backend == "tun" {
            running.push(end.run()?);
        } else {
            end.up()?;
        }
    }
    measure(world, &BORROWED.to_string(), way)?;
    for end in &ends {
        end.down()?;
    }
    Ok(())
}

fn config(kind: Carrier, backend: &str) -> String {
    format!(
        r#"
        [host.lender]
        uplink = "eth0"
        ipv4 = "192.0.2.158/24"
        gateway4 = "192.0.2.1"
        ipv6 = "2001:db8:aefc::2"
        carrier-backend = "{backend}"

        [host.borrower]
        uplink = "eth0"
        ipv6 = "2001:db8:eec0::2"
        carrier-backend = "{backend}"

        [[borrow]]
        address = "192.0.2.158"
        from = "lender"
        to = "borrower"
        carrier = "{kind}"
        "#
    )
}

/// From the client to the borrower, a second for each load.
fn measure(world: &World, target: &str, way: &mut Way) -> Result<(), LabError> {
    let target: IpAddr = target.parse().unwrap_or(BORROWED.into());
    for ((load, _), list) in LOADS.iter().zip(&mut way.figures) {
        let measured = throughput(&world.client, &world.borrower, target, *load, world.directory())?;
        list.push(measured.map_or(0.0, |measured| measured.bits_per_second / 1e6));
    }
    Ok(())
}

fn report(ways: &[Way]) {
    println!("Mbit/s received: medians of {ROUNDS} rounds, each way in turn\n");
    println!("{:16} {:>22} {:>32}", "", LOADS[0].1, LOADS[1].1);
    println!("{:16} {:>14} {:>7} {:>14} {:>10} {:>6}", "", "Mbit/s", "ratio", "Mbit/s", "packets/s", "ratio");
    let Some(plain) = ways.first().map(|way| way.figures.each_ref().map(|list| crate::bench::median(list)))
    else {
        return;
    };
    for way in ways {
        let [tcp, udp] = way.figures.each_ref().map(|list| crate::bench::median(list));
        let packets = udp * 1e6 / (64.0 * 8.0);
        println!(
            "{:16} {tcp:>14.0} {:>7.2} {udp:>14.2} {packets:>10.0} {:>6.2}",
            way.name,
            tcp / plain[0],
            udp / plain[1]
        );
    }
}
