//! A translator's fast path beside Jool, which is the kernel's: on a kernel that has its module.
//!
//! ```text
//!  client ───── middle ───── server      direct    past st-direct on the middle
//!    └────────── jool ─────────┘         fast      through st-fast there
//!                                        plain     IPv6, forwarded by the middle
//!                                        Jool      through jool_siit on the other router
//! ```

use straddle_lab::LabError;

use super::iperf::{self, Load, Pair, both_ways};
use super::table::{self, Way};
use super::translate::{self, DIRECT, Ours, Past, World};
use crate::Done;

/// How often each way is measured; a median of an odd number is a measurement.
const ROUNDS: usize = 5;
const NAMES: [&str; 4] = ["direct", "fast", "plain", "Jool"];
/// The server, by each way, and which translator of the middle packets go past meanwhile.
const TARGETS: [(&str, Option<&Ours>); 4] = [
    DIRECT,
    ("2001:db8:64::203.0.113.10", None),
    ("2001:db8:5::10", None),
    ("2001:db8:66::192.0.2.10", None),
];
const LOADS: [Load; 2] = [Load::Tcp(1), Load::Udp];
const FIGURES: [&str; 8] = [
    "TCP 1 flow   6→4 Gbit/s",
    "         CPU s/GB",
    "TCP 1 flow   4→6 Gbit/s",
    "         CPU s/GB",
    "UDP 64 bytes 6→4 kpkt/s",
    "         CPU µs/packet",
    "UDP 64 bytes 4→6 kpkt/s",
    "         CPU µs/packet",
];

/// Measures and prints.
pub(crate) fn bench() -> Done {
    let mut ways: [Way; 4] = std::array::from_fn(|_| vec![Vec::new(); FIGURES.len()]);
    rounds(&mut ways).map_err(|error| error.to_string())?;
    println!("Translation beside Jool, medians of {ROUNDS} rounds, each way in turn\n");
    let [direct, fast, plain, jool] = ways.clone();
    for (name, way) in [("direct", direct), ("fast", fast)] {
        table::print([name, NAMES[2], NAMES[3]], &FIGURES, &[way, plain.clone(), jool.clone()]);
        println!();
    }
    table::print_rounds(NAMES, &FIGURES, &ways);
    Ok(())
}

fn rounds(ways: &mut [Way; 4]) -> Result<(), LabError> {
    let mut world = translate::build()?;
    let _serving = translate::fast(&world.middle)?;
    jool(&mut world)?;
    let _servers = iperf::servers(&world.server, world.guard.directory())?;
    let hosts = Pair { client: &world.client, server: &world.server };
    let mut past = Past::new(&world.middle)?;
    table::rounds(("Jool", ROUNDS), NAMES, ways, TARGETS, |(target, passed)| {
        past.during(passed, || both_ways(hosts, target, &LOADS))
    })
}

/// Jool on a router of its own: it takes every packet of its namespace that it can translate.
fn jool(world: &mut World) -> Result<(), LabError> {
    let jool = world.guard.host("jool")?;
    for key in ["net/ipv6/conf/all/forwarding", "net/ipv4/ip_forward"] {
        jool.sysctl(key, "1")?;
    }
    jool.ip(&format!(
        "
        link set lo up
        link add client type veth peer name jool netns {}
        link add server type veth peer name jool netns {}
        link set client up
        link set server up
        address add 2001:db8:e::1/64 dev client nodad
        address add 192.0.2.1/24 dev server
        ",
        world.client.namespace(),
        world.server.namespace()
    ))?;
    world.client.ip("
        link set jool up
        address add 2001:db8:e::10/64 dev jool nodad
        route add 2001:db8:66::/96 via 2001:db8:e::1
    ")?;
    world.server.ip("
        link set jool up
        address add 192.0.2.10/24 dev jool
        route add 198.51.100.66/32 via 192.0.2.1
    ")?;
    jool.run(&["modprobe", "jool_siit"])?;
    let instance = ["jool_siit", "instance", "add", "bench", "--netfilter", "--pool6", "2001:db8:66::/96"];
    jool.run(&instance)?;
    let mapping = ["2001:db8:e::10/128", "198.51.100.66/32"];
    jool.run(&[&["jool_siit", "-i", "bench", "eamt", "add"], &mapping[..]].concat()).map(drop)
}
