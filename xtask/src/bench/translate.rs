//! A translator's paths, plain forwarding and TAYGA; and a CLAT before such a translator.
//!
//! ```text
//!  client ───────── middle ────────── server      plain     IPv6, forwarded
//!  2001:db8:c::10    │                 IPv4, and    fast      through 2001:db8:64::/96
//!  IPv6 only,        ├─ st-fast        IPv6 for     slow      through 2001:db8:63::/96
//!  with a CLAT       ├─ st-slow        plain        TAYGA     through 2001:db8:65::/96
//!    │               ├─ st-direct                   chain     IPv4, through the CLAT and st-fast
//!    │               └─ nat64                       direct    2001:db8:62::/96, past st-direct
//!    └─────────────────────────────────┘            chain-d   IPv4, through the CLAT and past st-fast
//!                                                   cable     what the load generator itself can do
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use straddle_intent::object::{FastPath, Object};
use straddle_intent::plan::Offers;
use straddle_intent::step::Step;
use straddle_kernel::{Kernel as _, Live};
use straddle_lab::LabError;
use straddle_lab::guard::Guard;
use straddle_lab::host::Host;
use straddle_lab::probe::ping;
use straddle_lab::process::Process;
use straddle_lab::tayga::Tayga;
use straddle_serve::translator::{Serving, Translator};
use straddle_xlat::{Config, Mode, eam, rfc6052};

use super::iperf::{self, CABLE, Direction, Load, Pair, both_ways, measure};
use super::table::{self, Way};
use crate::Done;

const NAMES: [&str; 8] = ["fast", "slow", "plain", "TAYGA", "chain", "cable", "direct", "chain-d"];
/// The server, by each way, and which translator of the middle packets go past meanwhile.
const TARGETS: [(&str, Option<&Ours>); 8] = [
    ("2001:db8:64::203.0.113.10", None),
    ("2001:db8:63::203.0.113.10", None),
    ("2001:db8:5::10", None),
    ("2001:db8:65::203.0.113.10", None),
    ("203.0.113.10", None),
    (CABLE, None),
    DIRECT,
    ("203.0.113.10", Some(&FAST)),
];
/// Past the device of [`PAST`].
pub(super) const DIRECT: (&str, Option<&Ours>) = ("2001:db8:62::203.0.113.10", Some(&PAST));
const FIGURES: [&str; 14] = [
    "TCP 1 flow   6→4 Gbit/s",
    "         CPU s/GB",
    "TCP 1 flow   4→6 Gbit/s",
    "         CPU s/GB",
    "TCP 4 flows  6→4 Gbit/s",
    "         CPU s/GB",
    "TCP 4 flows  4→6 Gbit/s",
    "         CPU s/GB",
    "UDP 64 bytes 6→4 kpkt/s",
    "         CPU µs/packet",
    "UDP 64 bytes 4→6 kpkt/s",
    "         CPU µs/packet",
    "ping idle            µs",
    "ping under load      µs",
];

/// One of our translators.
pub(super) struct Ours {
    device: &'static str,
    mode: Mode,
    pool6: &'static str,
    /// Who is translated by a mapping.
    mappings: &'static [[&'static str; 2]],
    /// Whether there is a fast path.
    fast: bool,
    /// The device's addresses, and routes into it.
    leads: &'static str,
}

const FAST: Ours = Ours {
    device: "st-fast",
    mode: Mode::Siit,
    pool6: "2001:db8:64::/96",
    mappings: &[["2001:db8:c::10", "198.51.100.10"], ["2001:db8:c::64", "198.51.100.64"]],
    fast: true,
    leads: "
        route add 2001:db8:64::/96 dev st-fast
        route add 198.51.100.10 dev st-fast
        route add 198.51.100.64 dev st-fast
    ",
};

const SLOW: Ours = Ours {
    device: "st-slow",
    mode: Mode::Siit,
    pool6: "2001:db8:63::/96",
    mappings: &[["2001:db8:c::10", "198.51.100.11"]],
    fast: false,
    leads: "
        route add 2001:db8:63::/96 dev st-slow
        route add 198.51.100.11 dev st-slow
    ",
};

/// What comes in by both devices of the middle goes past this one.
const PAST: Ours = Ours {
    device: "st-direct",
    mode: Mode::Siit,
    pool6: "2001:db8:62::/96",
    mappings: &[["2001:db8:c::10", "198.51.100.12"]],
    fast: true,
    leads: "
        route add 2001:db8:62::/96 dev st-direct
        route add 198.51.100.12 dev st-direct
    ",
};

const CLAT: Ours = Ours {
    device: "st-clat",
    mode: Mode::Clat,
    pool6: "2001:db8:64::/96",
    mappings: &[["2001:db8:c::64", "192.0.0.1"]],
    fast: true,
    leads: "
        address add 192.0.0.1/32 dev st-clat
        route add default dev st-clat mtu 1480
        route add 2001:db8:c::64 dev st-clat
    ",
};

pub(super) struct World {
    pub(super) client: Host,
    pub(super) middle: Host,
    pub(super) server: Host,
    pub(super) guard: Guard,
}

/// Measures and prints.
pub(super) fn bench(times: usize) -> Done {
    let mut ways: [Way; 8] = std::array::from_fn(|_| vec![Vec::new(); FIGURES.len()]);
    rounds(&mut ways, times).map_err(|error| error.to_string())?;
    println!("Translation, medians of {times} rounds, each way in turn\n");
    let [fast, slow, plain, tayga, chain, cable, direct, chain_direct] = ways.clone();
    let tested = [direct, fast, slow, chain_direct, chain];
    for (name, way) in ["direct", "fast", "slow", "chain-d", "chain"].into_iter().zip(tested) {
        table::print([name, NAMES[2], NAMES[3]], &FIGURES, &[way, plain.clone(), tayga.clone()]);
        println!();
    }
    table::print_limit("TAYGA", &FIGURES, &[plain, cable, tayga]);
    table::print_rounds(NAMES, &FIGURES, &ways);
    Ok(())
}

fn rounds(ways: &mut [Way; 8], times: usize) -> Result<(), LabError> {
    let world = build()?;
    let on_middle = [&FAST, &SLOW, &PAST].into_iter().map(|ours| straddle(&world.middle, ours));
    let _serving = on_middle.chain([straddle(&world.client, &CLAT)]).collect::<Result<Vec<_>, _>>()?;
    let _tayga = tayga(&world)?;
    let _servers = iperf::servers(&world.server, world.guard.directory())?;
    let mut past = Past::new(&world.middle)?;
    table::rounds(("translate", times), NAMES, ways, TARGETS, |(target, passed)| {
        past.during(passed, || one(&world, target))
    })
}

/// Has packets go past a device for some time: the other ways pay nothing for it. Nothing else changes meanwhile.
pub(super) struct Past<'a> {
    middle: &'a Host,
    offers: Offers,
}

impl<'a> Past<'a> {
    pub(super) fn new(middle: &'a Host) -> Result<Past<'a>, LabError> {
        let offers = straddle_kernel::offers(|_| Vec::new());
        Ok(Past { middle, offers: offers.map_err(|error| LabError::Guard(error.to_string()))? })
    }

    pub(super) fn during<T>(
        &mut self,
        passed: Option<&Ours>,
        measured: impl FnOnce() -> Result<T, LabError>,
    ) -> Result<T, LabError> {
        let Some(ours) = passed else { return measured() };
        self.change(ours, Step::Create)?;
        let done = measured();
        self.change(ours, Step::Remove)?;
        done
    }

    /// What comes in by both devices of the middle.
    fn change(&self, ours: &Ours, step: fn(Object) -> Step) -> Result<(), LabError> {
        let config = ours.config().ok_or_else(|| LabError::Guard("the tables are refused".into()))?;
        let hook = self.offers.ingress(ours.device);
        let programs = ["client", "server"].map(|dev| FastPath::direct(dev, hook.clone(), &config));
        let change = || -> Result<(), straddle_kernel::Error> {
            let mut kernel = Live::open()?;
            for program in programs.iter().cloned().map(Object::FastPath) {
                kernel.execute(&step(program))?;
            }
            kernel.watched(programs.iter(), Some(0), Duration::from_secs(3600))
        };
        self.middle.inside(change)?.map_err(|error| LabError::Guard(error.to_string()))
    }
}

/// All figures of one way, once, in the order of [`FIGURES`].
fn one(world: &World, target: &str) -> Result<Vec<f64>, LabError> {
    let hosts = Pair { client: &world.client, server: &world.server };
    let address = target.parse().unwrap_or(Ipv6Addr::UNSPECIFIED.into());
    let latency = |count| -> Result<f64, LabError> {
        let answered = ping(&world.client, address, count)?;
        Ok(answered.rtt_ms.map_or(f64::NAN, |[_, mean, _]| mean * 1e3))
    };
    let idle = latency(40)?;
    let loaded = std::thread::scope(|scope| {
        let load = scope.spawn(|| measure(hosts, target, Load::Tcp(1), Direction::There));
        let loaded = latency(80);
        load.join().map_err(|_| LabError::Guard("a measuring thread panicked".into()))??;
        loaded
    })?;
    let mut figures = both_ways(hosts, target, &[Load::Tcp(1), Load::Tcp(4), Load::Udp])?;
    figures.extend([idle, loaded]);
    Ok(figures)
}

pub(super) fn build() -> Result<World, LabError> {
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
        route add 2001:db8:c::64/128 via 2001:db8:c::10
        ",
        client.namespace(),
        server.namespace()
    ))?;
    client.sysctl("net/ipv6/conf/all/forwarding", "1")?;
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
    iperf::cable(Pair { client: &client, server: &server })?;
    Ok(World { client, middle, server, guard })
}

/// The translators on the middle that have a fast path.
pub(super) fn fast(middle: &Host) -> Result<[Serving; 2], LabError> {
    Ok([straddle(middle, &FAST)?, straddle(middle, &PAST)?])
}

/// Ours on a host, served by this process.
fn straddle(host: &Host, ours: &Ours) -> Result<Serving, LabError> {
    let device = ours.device;
    host.run(&["ip", "tuntap", "add", "mode", "tun", "name", device, "multi_queue", "vnet_hdr"])?;
    host.ip(&format!("link set {device} mtu 1500 addrgenmode none up"))?;
    host.ip(ours.leads)?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let queues = host.inside(|| straddle_kernel::open_queues(device, processors))?;
    let queues = queues.map_err(|error| LabError::Guard(error.to_string()))?;
    let config =
        ours.config().ok_or_else(|| LabError::Guard(format!("the tables of {device} are refused")))?;
    if ours.fast {
        let program = Object::FastPath(FastPath::new(device, &config));
        let put = || Live::open().and_then(|mut kernel| kernel.execute(&Step::Create(program)));
        host.inside(put)?.map_err(|error| LabError::Guard(error.to_string()))?;
    }
    let translator = Arc::new(straddle_xlat::Translator::new(config));
    Serving::begin(vec![Translator { bridge: device.into(), translator, queues }])
        .map_err(|error| LabError::Guard(error.to_string()))
}

impl Ours {
    fn config(&self) -> Option<Config> {
        let mapping = |[v6, v4]: &[&str; 2]| -> Option<eam::Mapping> {
            let (v6, v4): (Ipv6Addr, Ipv4Addr) = (v6.parse().ok()?, v4.parse().ok()?);
            Some(eam::Mapping { v6: v6.into(), v4: v4.into() })
        };
        let mappings = self.mappings.iter().map(mapping).collect::<Option<Vec<_>>>()?;
        let pool6 = vec![rfc6052::Prefix::new(self.pool6.parse().ok()?).ok()?];
        let eam = eam::Table::new(&mappings).ok()?;
        Some(Config { mode: self.mode, pool6, eam, ..Config::default() })
    }
}

fn tayga(world: &World) -> Result<Process, LabError> {
    let translator = Tayga {
        host: &world.middle,
        prefix: "2001:db8:65::/96",
        own: Ipv4Addr::new(192, 168, 255, 1),
        maps: &[(Ipv4Addr::new(198, 51, 100, 20), Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x10))],
        pool: None,
        routes: "
            link set nat64 mtu 1500
            route add 2001:db8:65::/96 dev nat64
            route add 198.51.100.20/32 dev nat64
        ",
    };
    translator.start(world.guard.directory())
}
