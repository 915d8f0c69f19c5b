//! A tunnel broker with many clients: how long plan, up, a second up, one client's move and down take, how much memory serving
//! takes, and whether one client notices the others.
//!
//! ```text
//!  web ── inet ── vps      box, which is served, and others that are only in the file
//!          │
//!         box
//! ```

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use straddle_lab::probe::{Load, ping, throughput};
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Broker;
use straddle_lab::{LabError, wait};

use super::median;
use crate::Done;

/// How many clients there are.
const CLIENTS: [u32; 3] = [1, 100, 2_000];

/// What was measured with one number of clients.
struct Figures {
    clients: u32,
    /// Seconds: plan, up, a second up, one after a client has moved, down.
    times: [f64; 5],
    resident: f64,
    threads: usize,
    rates: [Vec<f64>; 2],
}

/// Measures and prints.
pub(super) fn bench(rounds: usize) -> Done {
    let exe = PathBuf::from("target/release/straddle");
    let exe = exe.canonicalize().map_err(|_| "target/release/straddle is missing: cargo build --release")?;
    let mut all = Vec::new();
    for clients in CLIENTS {
        eprintln!("... tunnel6: {clients} clients");
        all.push(measured(&exe, clients, rounds).map_err(|error| error.to_string())?);
    }
    report(&all, rounds);
    Ok(())
}

fn measured(exe: &Path, clients: u32, rounds: usize) -> Result<Figures, LabError> {
    let world = Broker::build()?;
    let straddle = Straddle::within(world.directory(), exe, &file(clients, 0x0a00_0000))?;
    let vps = straddle.on(&world.vps);
    let timed = |verb: &str| -> Result<f64, LabError> {
        let begun = Instant::now();
        vps.verb(&[verb])?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let (plan, up, again) = (timed("plan")?, timed("up")?, timed("up")?);
    let path = world.directory().join("straddle.toml");
    std::fs::write(&path, file(clients, 0x0b00_0000))
        .map_err(|source| LabError::Io { doing: format!("writing {}", path.display()), source })?;
    let moved = timed("up")?;
    let running = [vps.run()?, straddle.on(&world.box_).run()?];
    wait::until("IPv6", Duration::from_secs(20), || {
        ping(&world.box_, Broker::WEB.into(), 1).ok().filter(|ping| ping.complete())
    })?;
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (list, load) in rates.iter_mut().zip([Load::Tcp, Load::TcpBack]) {
            let way = (&world.box_, &world.web);
            let rate = throughput(way.0, way.1, Broker::WEB.into(), load, world.directory())?;
            list.push(rate.map_or(0.0, |rate| rate.bits_per_second / 1e9));
        }
    }
    let pid = vps.json("status")?["served_by"].as_u64().unwrap_or(0);
    let resident = resident(pid)?;
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let down = timed("down")?;
    straddle.on(&world.box_).down()?;
    drop(running);
    Ok(Figures { clients, times: [plan, up, again, moved, down], resident, threads, rates })
}

/// The box, and others each with a link of the pool and a network of its own; the last is in the network that is given.
fn file(clients: u32, last: u32) -> String {
    let mut text = String::from(
        "[host.vps]\nuplink = \"eth0\"\nipv4 = \"192.0.2.10/24\"\nipv6 = \"2001:db8:1::10\"\n\n\
         [host.box]\nuplink = \"eth0\"\nipv4 = \"198.51.100.7/24\"\n\n\
         [[tunnel6]]\nserver = \"vps\"\nclient = \"box\"\nlink = \"2001:db8:1::a2/127\"\n\
         routed = \"2001:db8:100:100::/64\"\n",
    );
    for number in 1..clients {
        let net = if number + 1 == clients { last } else { 0x0a00_0000 };
        let address = Ipv4Addr::from(net + number);
        let _ = write!(
            text,
            "\n[host.client{number}]\nuplink = \"eth0\"\nipv4 = \"{address}/32\"\n\n\
             [[tunnel6]]\nserver = \"vps\"\nclient = \"client{number}\"\n\
             pool = [\"2001:db8:1::/64\", \"2001:db8:100::/40\"]\n\
             routed = \"2001:db8:101:{number:x}::/64\"\n"
        );
    }
    text
}

/// Resident memory of a process in MB.
fn resident(pid: u64) -> Result<f64, LabError> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path)
        .map_err(|source| LabError::Io { doing: format!("reading {path}"), source })?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kilobytes.unwrap_or(f64::NAN) / 1e3)
}

fn report(all: &[Figures], rounds: usize) {
    println!("A server of tunnels; seconds, MB, and Gbit/s of one client (medians of {rounds})\n");
    println!(
        "{:>8} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9} {:>8} {:>8} {:>8}",
        "clients", "plan", "up", "again", "moved", "down", "resident", "threads", "out", "in"
    );
    for figures in all {
        let [plan, up, again, moved, down] = figures.times;
        let [out, back] = figures.rates.each_ref().map(|list| median(list));
        println!(
            "{:>8} {plan:>7.2} {up:>7.2} {again:>7.2} {moved:>7.2} {down:>7.2} {:>9.1} {:>8} {out:>8.2} {back:>8.2}",
            figures.clients, figures.resident, figures.threads
        );
    }
}
