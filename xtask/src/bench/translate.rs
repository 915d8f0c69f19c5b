//! A translator against plain forwarding and TAYGA.
//!
//! ```text
//!  client ────────── middle ────────── server      plain     IPv6, forwarded
//!  2001:db8:c::10    │                 IPv4, and    fast      through 2001:db8:64::/96
//!  IPv6 only         ├─ st-fast        IPv6 for     slow      through 2001:db8:63::/96
//!                    ├─ st-slow        plain        TAYGA     through 2001:db8:65::/96
//!                    └─ nat64
//! ```

use std::sync::Arc;
use std::time::Duration;

use straddle_intent::object::{FastPath, Object};
use straddle_intent::step::Step;
use straddle_kernel::{Kernel as _, Live};
use straddle_lab::guard::Guard;
use straddle_lab::host::Host;
use straddle_lab::probe::ping;
use straddle_lab::process::Process;
use straddle_lab::{LabError, wait};
use straddle_serve::translator::{Serving, Translator};
use straddle_xlat::{Config, eam, rfc6052};

use super::iperf::{self, Direction, Load, Pair, measure};
use super::table::{self, Way};
use crate::Done;

const NAMES: [&str; 4] = ["fast", "slow", "plain", "TAYGA"];
/// The server, by each way.
const TARGETS: [&str; 4] =
    ["2001:db8:64::203.0.113.10", "2001:db8:63::203.0.113.10", "2001:db8:5::10", "2001:db8:65::203.0.113.10"];
const FIGURES: [&str; 8] = [
    "TCP 1 flow   6→4 Gbit/s",
    "TCP 1 flow   4→6 Gbit/s",
    "TCP 4 flows  6→4 Gbit/s",
    "TCP 4 flows  4→6 Gbit/s",
    "UDP 64 bytes 6→4 kpkt/s",
    "UDP 64 bytes 4→6 kpkt/s",
    "ping idle            µs",
    "ping under load      µs",
];

/// One of our two translators.
struct Ours {
    device: &'static str,
    pool6: &'static str,
    /// The client's IPv4 address.
    client4: &'static str,
    fast: bool,
}

const OURS: [Ours; 2] = [
    Ours { device: "st-fast", pool6: "2001:db8:64::/96", client4: "198.51.100.10/32", fast: true },
    Ours { device: "st-slow", pool6: "2001:db8:63::/96", client4: "198.51.100.11/32", fast: false },
];

struct World {
    client: Host,
    middle: Host,
    server: Host,
    guard: Guard,
}

/// Measures and prints.
pub(super) fn bench(times: usize) -> Done {
    let mut ways: [Way; 4] = std::array::from_fn(|_| vec![Vec::new(); FIGURES.len()]);
    rounds(&mut ways, times).map_err(|error| error.to_string())?;
    println!("Translation, medians of {times} rounds, each way in turn\n");
    let [fast, slow, plain, tayga] = ways.clone();
    for (name, way) in [("fast", fast), ("slow", slow)] {
        table::print([name, NAMES[2], NAMES[3]], &FIGURES, &[way, plain.clone(), tayga.clone()]);
        println!();
    }
    table::print_rounds(NAMES, &FIGURES, &ways);
    Ok(())
}

fn rounds(ways: &mut [Way; 4], times: usize) -> Result<(), LabError> {
    let world = build()?;
    let _serving = OURS.iter().map(|ours| straddle(&world, ours)).collect::<Result<Vec<_>, _>>()?;
    let _tayga = tayga(&world)?;
    let _server = iperf::server(&world.server, world.guard.directory())?;
    for round in 1..=times {
        eprintln!("... translate: round {round} of {times}");
        for (way, target) in ways.iter_mut().zip(TARGETS) {
            for (list, figure) in way.iter_mut().zip(one(&world, target)?) {
                list.push(figure);
            }
        }
    }
    Ok(())
}

/// All figures of one way, once, in the order of [`FIGURES`].
fn one(world: &World, target: &str) -> Result<[f64; 8], LabError> {
    let hosts = Pair { client: &world.client, server: &world.server };
    let tcp = |flows, direction| measure(hosts, target, Load::Tcp(flows), direction);
    let udp = |direction| measure(hosts, target, Load::Udp, direction);
    let address = target.parse().unwrap_or(std::net::Ipv6Addr::UNSPECIFIED.into());
    let latency = |count| -> Result<f64, LabError> {
        let answered = ping(&world.client, address, count)?;
        Ok(answered.rtt_ms.map_or(f64::NAN, |[_, mean, _]| mean * 1e3))
    };
    let idle = latency(40)?;
    let (there, loaded) = std::thread::scope(|scope| {
        let load = scope.spawn(|| tcp(1, Direction::There));
        let loaded = latency(80);
        (load.join(), loaded)
    });
    let there = there.map_err(|_| LabError::Guard("a measuring thread panicked".into()))??;
    Ok([
        there,
        tcp(1, Direction::Back)?,
        tcp(4, Direction::There)?,
        tcp(4, Direction::Back)?,
        udp(Direction::There)?,
        udp(Direction::Back)?,
        idle,
        loaded?,
    ])
}

fn build() -> Result<World, LabError> {
    let mut guard = Guard::start()?;
    let (client, middle, server) = (guard.host("client")?, guard.host("middle")?, guard.host("server")?);
    for key in ["net/ipv6/conf/all/forwarding", "net/ipv4/ip_forward"] {
        middle.sysctl(key, "1")?;
    }
    middle.ip(&format!(
        "
        link set lo up
        link add client type veth peer name eth0 netns {}
        link add server type veth peer name eth0 netns {}
        link set client up
        link set server up
        address add 2001:db8:c::1/64 dev client nodad
        address add 2001:db8:5::1/64 dev server nodad
        address add 203.0.113.1/24 dev server
        ",
        client.namespace(),
        server.namespace()
    ))?;
    client.ip("
        link set lo up
        link set eth0 up
        address add 2001:db8:c::10/64 dev eth0 nodad
        route add ::/0 via 2001:db8:c::1
    ")?;
    server.ip("
        link set lo up
        link set eth0 up
        address add 2001:db8:5::10/64 dev eth0 nodad
        address add 203.0.113.10/24 dev eth0
        route add ::/0 via 2001:db8:5::1
        route add default via 203.0.113.1
    ")?;
    Ok(World { client, middle, server, guard })
}

/// Ours, served by this process.
fn straddle(world: &World, ours: &Ours) -> Result<Serving, LabError> {
    let (device, client4) = (ours.device, ours.client4);
    let bad = |what: &str| LabError::Guard(format!("{what} is refused"));
    world.middle.run(&["ip", "tuntap", "add", "mode", "tun", "name", device, "multi_queue", "vnet_hdr"])?;
    world.middle.ip(&format!(
        "
        link set {device} mtu 1500 addrgenmode none up
        route add {} dev {device}
        route add {client4} dev {device}
        ",
        ours.pool6
    ))?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let queues = world.middle.inside(|| straddle_kernel::open_queues(device, processors))?;
    let queues = queues.map_err(|error| LabError::Guard(error.to_string()))?;
    let net = ours.pool6.parse().map_err(|_| bad("the prefix"))?;
    let prefix = rfc6052::Prefix::new(net).map_err(|_| bad("the prefix"))?;
    let client = eam::Mapping {
        v6: "2001:db8:c::10/128".parse().map_err(|_| bad("the mapping"))?,
        v4: client4.parse().map_err(|_| bad("the mapping"))?,
    };
    let table = eam::Table::new(&[client]).map_err(|_| bad("the mapping"))?;
    let config = Config { pool6: vec![prefix], eam: table, ..Config::default() };
    if ours.fast {
        let program = Object::FastPath(FastPath::new(device, &config));
        let put = || Live::open().and_then(|mut kernel| kernel.execute(&Step::Create(program)));
        world.middle.inside(put)?.map_err(|error| LabError::Guard(error.to_string()))?;
    }
    let translator = Arc::new(straddle_xlat::Translator::new(config));
    Serving::begin(vec![Translator { bridge: "bench".into(), translator, queues }])
        .map_err(|error| LabError::Guard(error.to_string()))
}

fn tayga(world: &World) -> Result<Process, LabError> {
    let path = world.guard.directory().join("tayga");
    let text = format!(
        "tun-device nat64\nipv4-addr 192.168.255.1\nprefix 2001:db8:65::/96\n\
         map 198.51.100.20 2001:db8:c::10\ndata-dir {}\n",
        path.display()
    );
    let config = path.with_extension("conf");
    let written = std::fs::create_dir_all(&path).and_then(|()| std::fs::write(&config, text));
    written.map_err(|source| LabError::Io { doing: "configuring TAYGA".into(), source })?;
    let config = config.display().to_string();
    world.middle.run(&["tayga", "--config", &config, "--mktun"])?;
    world.middle.ip("
        link set nat64 mtu 1500 up
        route add 2001:db8:65::/96 dev nat64
        route add 198.51.100.20/32 dev nat64
    ")?;
    let mut command = world.middle.command("tayga");
    command.args(["--config", &config, "-d"]);
    let process = Process::start(command, &path.with_extension("log"))?;
    wait::until("TAYGA to serve", Duration::from_secs(5), || {
        let shown = world.middle.run(&["ip", "link", "show", "dev", "nat64"]).ok()?;
        shown.stdout.contains("LOWER_UP").then_some(())
    })?;
    Ok(process)
}
