//! What carriers are measured against, in the world of `borrow`: plain forwarding, two translators in a row, a cable.

use std::net::{Ipv4Addr, Ipv6Addr};

use straddle_lab::LabError;
use straddle_lab::host::Host;
use straddle_lab::process::Process;
use straddle_lab::tayga::Tayga;
use straddle_lab::world::{BORROWED, PREFIX64, World, WorldOptions};

use super::iperf::{self, Pair, Servers};

/// The borrower by IPv6 alone, through the lender.
pub(super) const PLAIN: &str = "2001:db8:98::158";
/// The borrower through both translators.
pub(super) const TRANSLATED: &str = "203.0.113.158";

/// Hosts and cables, the ways that need no process, and the load generator's servers, which end with the value.
pub(super) fn build() -> Result<(World, Servers), LabError> {
    let world = World::build(WorldOptions::default())?;
    for host in [&world.client, &world.borrower] {
        // By the same addresses go several ways: none begins with what TCP has learnt of another.
        host.sysctl("net/ipv4/tcp_no_metrics_save", "1")?;
    }
    plain(&world)?;
    iperf::cable(pair(&world))?;
    let servers = iperf::servers(&world.borrower, world.directory())?;
    Ok((world, servers))
}

/// Between whom is measured.
pub(super) fn pair(world: &World) -> Pair<'_> {
    Pair { client: &world.client, server: &world.borrower }
}

/// A second IPv6 address of the borrower, the way to which leads through the lender; so does its way back.
fn plain(world: &World) -> Result<(), LabError> {
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
pub(super) fn translators(world: &World) -> Result<[Process; 2], LabError> {
    world.inet.ip(&format!(
        "
        route add {TRANSLATED}/32 via {BORROWED}
        route add {PREFIX64} via 2001:db8:aefc::2
        route add {BETWEEN}/128 via 2001:db8:eec0::2
        "
    ))?;
    world.lender.sysctl("net/ipv4/conf/eth0/forwarding", "1")?;
    let routes = format!("route add {TRANSLATED}/32 dev nat64\nroute add {PREFIX64} dev nat64");
    let lender = tayga(world, &world.lender, 1, &routes)?;
    world.lender.sysctl("net/ipv4/conf/nat64/forwarding", "1")?;
    world.borrower.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    world.borrower.ip("route replace ::/0 via 2001:db8:eec0::1")?;
    let routes = format!(
        "
        address add {TRANSLATED}/32 dev nat64
        route add default dev nat64 src {TRANSLATED} metric 9000
        route add {BETWEEN}/128 dev nat64
        "
    );
    Ok([lender, tayga(world, &world.borrower, 2, &routes)?])
}

/// Who [`TRANSLATED`] is between the translators.
const BETWEEN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 0x158);

fn tayga(world: &World, host: &Host, number: u8, routes: &str) -> Result<Process, LabError> {
    let translated = TRANSLATED.parse().unwrap_or(BORROWED);
    let translator = Tayga {
        host,
        prefix: PREFIX64,
        own: Ipv4Addr::new(192, 168, 255, number),
        maps: &[(translated, BETWEEN)],
        pool: None,
        // 20 bytes less than the way between takes: IPv6 headers are that much larger.
        routes: &format!("link set nat64 mtu 1480\n{routes}"),
    };
    translator.start(world.directory())
}
