//! A borrow against plain forwarding and two translators in a row.
//!
//! ```text
//!  client ── inet ── switch ── lender     plain     IPv6, forwarded by inet, lender and inet
//!             │                           borrow    straddle's carrier from lender to borrower
//!             └────────────── borrower    2 TAYGA   translated at the lender, and back at the borrower
//! ```

use std::net::IpAddr;
use std::time::Duration;

use straddle_lab::probe::{Load, throughput};
use straddle_lab::process::Process;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{BORROWED, World, WorldOptions};
use straddle_lab::{Carrier, LabError, wait};

use super::median;
use crate::Done;

/// Reached through the lender by IPv6 alone.
pub(super) const PLAIN: &str = "2001:db8:98::158";
/// Reached through both translators.
const TRANSLATED: &str = "203.0.113.158";

/// Gbit/s to the borrower and from it, one for each round.
type Way = [Vec<f64>; 2];

/// Measures and prints.
pub(super) fn bench(times: usize) -> Done {
    let exe = super::exe()?;
    let mut ways: [(&str, Way); 3] =
        [("plain IPv6", Way::default()), ("borrow", Way::default()), ("2 TAYGA", Way::default())];
    rounds(&exe, &mut ways, times).map_err(|error| error.to_string())?;
    report(&ways, times);
    Ok(())
}

fn rounds(exe: &std::path::Path, ways: &mut [(&str, Way); 3], times: usize) -> Result<(), LabError> {
    let world = World::build(WorldOptions::default())?;
    let straddle = Straddle::borrow(&world, exe, Carrier::Ip6gre)?;
    plain(&world)?;
    let _translators = translators(&world)?;
    for round in 1..=times {
        eprintln!("... borrow: round {round} of {times}");
        let [plain, borrow, tayga] = ways.each_mut().map(|(_, way)| way);
        measure(&world, PLAIN, plain)?;
        measure(&world, TRANSLATED, tayga)?;
        let running = [straddle.on(&world.lender).run()?, straddle.on(&world.borrower).run()?];
        measure(&world, &BORROWED.to_string(), borrow)?;
        straddle.on(&world.lender).down()?;
        straddle.on(&world.borrower).down()?;
        drop(running);
    }
    Ok(())
}

/// One TCP flow of a second each way.
fn measure(world: &World, target: &str, way: &mut Way) -> Result<(), LabError> {
    let client: IpAddr = if target.contains(':') { "2001:db8:c11::10" } else { "198.51.100.10" }
        .parse()
        .unwrap_or(BORROWED.into());
    let target: IpAddr = target.parse().unwrap_or(BORROWED.into());
    let there = throughput(&world.client, &world.borrower, target, Load::Tcp, world.directory())?;
    let back = throughput(&world.borrower, &world.client, client, Load::Tcp, world.directory())?;
    for (list, measured) in way.iter_mut().zip([there, back]) {
        list.push(measured.map_or(0.0, |measured| measured.bits_per_second / 1e9));
    }
    Ok(())
}

/// A second IPv6 address of the borrower, the way to which leads through the lender; so does its way back.
pub(super) fn plain(world: &World) -> Result<(), LabError> {
    world.lender.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    world.lender.ip("route replace ::/0 via 2001:db8:aefc::1")?;
    for rule in
        [["iif", "hoster", "to", PLAIN, "lookup", "98"], ["iif", "borrower", "from", PLAIN, "lookup", "99"]]
    {
        world.inet.run(&[&["ip", "-6", "rule", "add"], &rule[..]].concat())?;
    }
    world.inet.ip(&format!(
        "
        route add {PLAIN}/128 via 2001:db8:aefc::2
        route add {PLAIN}/128 via 2001:db8:eec0::2 table 98
        route add ::/0 via 2001:db8:aefc::2 table 99
        "
    ))?;
    world.borrower.ip(&format!(
        "
        address add {PLAIN}/128 dev lo nodad
        route add 2001:db8:c11::/64 via 2001:db8:eec0::1 src {PLAIN}
        "
    ))
}

/// TAYGA at both ends, as a stateless translator each.
fn translators(world: &World) -> Result<[Process; 2], LabError> {
    world.inet.ip(&format!(
        "
        route add {TRANSLATED}/32 via {BORROWED}
        route add 2001:db8:64::/96 via 2001:db8:aefc::2
        route add 2001:db8:99::158/128 via 2001:db8:eec0::2
        "
    ))?;
    world.lender.sysctl("net/ipv4/conf/eth0/forwarding", "1")?;
    let lender = tayga(world, &world.lender, "192.168.255.1")?;
    world.lender.sysctl("net/ipv4/conf/nat64/forwarding", "1")?;
    world.lender.ip(&format!("route add {TRANSLATED}/32 dev nat64\nroute add 2001:db8:64::/96 dev nat64"))?;
    world.borrower.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    world.borrower.ip("route replace ::/0 via 2001:db8:eec0::1")?;
    let borrower = tayga(world, &world.borrower, "192.168.255.2")?;
    world.borrower.ip(&format!(
        "
        address add {TRANSLATED}/32 dev nat64
        route add default dev nat64 src {TRANSLATED} metric 9000
        route add 2001:db8:99::158/128 dev nat64
        "
    ))?;
    Ok([lender, borrower])
}

fn tayga(world: &World, host: &straddle_lab::host::Host, own: &str) -> Result<Process, LabError> {
    let path = world.directory().join(format!("tayga-{}", host.name()));
    let data = path.display();
    let text = format!(
        "tun-device nat64\nipv4-addr {own}\nprefix 2001:db8:64::/96\n\
         map {TRANSLATED} 2001:db8:99::158\ndata-dir {data}\n"
    );
    let config = path.with_extension("conf");
    let written = std::fs::create_dir_all(&path).and_then(|()| std::fs::write(&config, text));
    written.map_err(|source| LabError::Io { doing: "configuring TAYGA".into(), source })?;
    let config = config.display().to_string();
    host.run(&["tayga", "--config", &config, "--mktun"])?;
    // 20 bytes less than the way between takes: IPv6 headers are that much larger.
    host.ip("link set nat64 mtu 1480 up")?;
    let mut command = host.command("tayga");
    command.args(["--config", &config, "-d"]);
    let process = Process::start(command, &path.with_extension("log"))?;
    // It tells nothing to a file before it ends; its device is in use when it serves.
    wait::until("TAYGA to serve", Duration::from_secs(5), || {
        let shown = host.run(&["ip", "link", "show", "dev", "nat64"]).ok()?;
        shown.stdout.contains("LOWER_UP").then_some(())
    })?;
    Ok(process)
}

fn report(ways: &[(&str, Way); 3], times: usize) {
    let [plain, _, tayga] = ways.each_ref().map(|(_, way)| way.each_ref().map(|list| median(list)));
    println!("TCP, one flow, Gbit/s: medians of {times} rounds, each way in turn\n");
    println!(
        "{:12} {:>14} {:>14} {:>18} {:>18}",
        "", "to borrower", "from borrower", "of plain", "of 2 TAYGA"
    );
    for (name, way) in ways {
        let here = way.each_ref().map(|list| median(list));
        let of = |other: [f64; 2]| format!("{:.2} / {:.2}", here[0] / other[0], here[1] / other[1]);
        println!("{name:12} {:>14.2} {:>14.2} {:>18} {:>18}", here[0], here[1], of(plain), of(tayga));
    }
    println!("\nall rounds:");
    for (name, way) in ways {
        for (list, direction) in way.iter().zip(["to", "from"]) {
            let figures: Vec<String> = list.iter().map(|figure| format!("{figure:.2}")).collect();
            println!("  {name:12} {direction:5} {}", figures.join("  "));
        }
    }
}
