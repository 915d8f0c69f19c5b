//! A relay against three others, and against plain forwarding, which needs none.
//!
//! ```text
//!  client ────────── relay ────────── server      IPv4 to the relay, IPv6 from it; plain: IPv6 all the way
//!  198.51.100.10     198.51.100.1
//!  2001:db8:c::10    2001:db8:c::1    2001:db8:5::10
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use straddle_lab::guard::Guard;
use straddle_lab::host::Host;
use straddle_lab::process::Process;
use straddle_lab::straddle::Straddle;
use straddle_lab::{LabError, wait};

use super::callers::{self, Server};
use super::iperf::{self, Direction, Load, Pair, measure_at};
use super::median;
use super::table::{self, Way};
use crate::Done;

/// Each way, and the ports that it has before iperf3's and before the answering server.
const WAYS: [(&str, u16, u16); 5] = [
    ("straddle", 5211, 7011),
    ("socat", 5212, 7012),
    ("HAProxy", 5213, 7013),
    ("nginx", 5214, 7014),
    ("plain", 5201, 7000),
];
const FIGURES: [&str; 6] = [
    "TCP 1 flow   Gbit/s",
    "TCP 4 flows  Gbit/s",
    "  of 4, back Gbit/s",
    "new connections  /s",
    "UDP 64 byte  kpkt/s",
    "CPU          s / GB",
];
const CPU: usize = 5;
const UDP: usize = 4;
const RELAY: &str = "198.51.100.1";
const SERVER: &str = "2001:db8:5::10";
/// Ticks of a second in `/proc/PID/stat` (`USER_HZ`).
const TICKS: f64 = 100.0;

struct World {
    client: Host,
    relay: Host,
    server: Host,
    guard: Guard,
}

/// Measures and prints.
pub(super) fn bench(times: usize) -> Done {
    let exe = super::exe()?;
    let mut ways: [Way; 5] = std::array::from_fn(|_| vec![Vec::new(); FIGURES.len()]);
    rounds(&exe, &mut ways, times).map_err(|error| error.to_string())?;
    report(&ways, times);
    Ok(())
}

fn rounds(exe: &std::path::Path, ways: &mut [Way; 5], times: usize) -> Result<(), LabError> {
    let world = build()?;
    let straddle = Straddle::within(world.guard.directory(), exe, &config())?;
    let relays = [straddle.on(&world.relay).run()?, socat(&world)?, haproxy(&world)?, nginx(&world)?];
    let socats = more_socats(&world)?;
    for (_, port, calls) in WAYS.iter().take(4) {
        listens(&world, *port)?;
        listens(&world, *calls)?;
    }
    let _iperf = iperf::servers(&world.server, world.guard.directory())?;
    let answering = Server::start(&world.server, SocketAddr::new(ip(SERVER), 7000))?;
    table::rounds(("relay", times), names(), ways, [0, 1, 2, 3, 4], |index| {
        let mut pids: Vec<u32> = relays.get(index).map(Process::id).into_iter().collect();
        if index == 1 {
            pids.push(socats.id());
        }
        one(&world, &WAYS[index], &pids)
    })?;
    answering.stop();
    Ok(())
}

/// All figures of one way, once, in the order of [`FIGURES`].
fn one(world: &World, (name, port, calls): &(&str, u16, u16), pids: &[u32]) -> Result<Vec<f64>, LabError> {
    let hosts = Pair { client: &world.client, server: &world.server };
    let target = if *name == "plain" { SERVER } else { RELAY };
    let rate = |load, direction| -> Result<f64, LabError> {
        Ok(measure_at(hosts, (target, *port), load, direction)?.rate)
    };
    let before = spent(pids);
    let single = rate(Load::Tcp(1), Direction::There)?;
    let cpu = (spent(pids) - before) / TICKS / (single / 8.0);
    let four = rate(Load::Tcp(4), Direction::There)?;
    let back = rate(Load::Tcp(4), Direction::Back)?;
    let connections = callers::rate(&world.client, SocketAddr::new(ip(target), *calls))?;
    // Neither socat in this configuration nor HAProxy carries datagrams.
    let udp = match *name {
        "socat" | "HAProxy" => f64::NAN,
        _ => rate(Load::Udp, Direction::There)?,
    };
    let cpu = if *name == "plain" { f64::NAN } else { cpu };
    Ok(vec![single, four, back, connections, udp, cpu])
}

/// Ticks that these processes, and whatever they have started, have run for.
fn spent(pids: &[u32]) -> f64 {
    let stats = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let mut ticks = 0.0;
    for stat in stats {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number =
            |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        // Each was started as the leader of a group of its own. What children have run counts once they have ended.
        if pids.iter().any(|pid| f64::from(*pid) == number(2)) {
            ticks += number(11) + number(12) + number(13) + number(14);
        }
    }
    ticks
}

fn build() -> Result<World, LabError> {
    let mut guard = Guard::start()?;
    let (client, relay, server) = (guard.host("client")?, guard.host("relay")?, guard.host("server")?);
    relay.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    for host in [&client, &relay, &server] {
        // Ten thousands of connections in a second need their ports again.
        host.sysctl("net/ipv4/ip_local_port_range", "10000 65535")?;
        host.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
        host.sysctl("net/core/somaxconn", "4096")?;
    }
    relay.ip(&format!(
        "
        link set lo up
        link add eth0 type veth peer name eth0 netns {}
        link add server type veth peer name eth0 netns {}
        link set eth0 up
        link set server up
        address add 198.51.100.1/24 dev eth0
        address add 2001:db8:c::1/64 dev eth0 nodad
        address add 2001:db8:5::1/64 dev server nodad
        ",
        client.namespace(),
        server.namespace()
    ))?;
    client.ip("
        link set lo up
        link set eth0 up
        address add 198.51.100.10/24 dev eth0
        address add 2001:db8:c::10/64 dev eth0 nodad
        route add ::/0 via 2001:db8:c::1
    ")?;
    server.ip("
        link set lo up
        link set eth0 up
        address add 2001:db8:5::10/64 dev eth0 nodad
        route add ::/0 via 2001:db8:5::1
    ")?;
    Ok(World { client, relay, server, guard })
}

fn config() -> String {
    let (_, iperf, calls) = WAYS[0];
    format!(
        "[host.relay]\nuplink = \"eth0\"\nipv6 = \"2001:db8:c::1\"\n\n\
         [[relay]]\nhost = \"relay\"\nlisten = [\"tcp4/{iperf}\", \"udp4/{iperf}\"]\nto = \"[{SERVER}]:5201\"\n\n\
         [[relay]]\nhost = \"relay\"\nlisten = \"tcp4/{calls}\"\nto = \"[{SERVER}]:7000\"\n"
    )
}

fn socat(world: &World) -> Result<Process, LabError> {
    socat_at(world, WAYS[1].1, 5201)
}

fn more_socats(world: &World) -> Result<Process, LabError> {
    socat_at(world, WAYS[1].2, 7000)
}

/// A process for each connection is all it can; with larger reads than by itself.
fn socat_at(world: &World, port: u16, to: u16) -> Result<Process, LabError> {
    let listen = format!("tcp4-listen:{port},fork,reuseaddr,nodelay,backlog=4096");
    let connect = format!("tcp6:[{SERVER}]:{to},nodelay");
    let mut command = world.relay.command("socat");
    command.args(["-b", "65536", &listen, &connect]);
    Process::start(command, &world.guard.directory().join(format!("socat-{port}.log")))
}

/// A thread for each processor, and splice(2) wherever it finds that of use.
fn haproxy(world: &World) -> Result<Process, LabError> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (_, iperf, calls) = WAYS[2];
    let text = format!(
        "global\n  nbthread {threads}\n  maxconn 4000\n\
         defaults\n  mode tcp\n  maxconn 4000\n  option splice-auto\n  option tcp-smart-accept\n  \
         option tcp-smart-connect\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen iperf\n  bind {RELAY}:{iperf}\n  server one [{SERVER}]:5201\n\
         listen calls\n  bind {RELAY}:{calls} backlog 4096\n  server one [{SERVER}]:7000\n"
    );
    let file = written(world, "haproxy.cfg", &text)?;
    let mut command = world.relay.command("haproxy");
    command.args(["-db", "-f", &file]);
    Process::start(command, &world.guard.directory().join("haproxy.log"))
}

/// A process for each processor, each with a queue of its own, and large buffers.
fn nginx(world: &World) -> Result<Process, LabError> {
    let (_, iperf, calls) = WAYS[3];
    let directory = world.guard.directory().display().to_string();
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         daemon off;\nworker_processes auto;\npid {directory}/nginx.pid;\n\
         events {{ worker_connections 4096; }}\n\
         stream {{\n  proxy_buffer_size 64k;\n\
         server {{ listen {RELAY}:{iperf} reuseport backlog=4096; proxy_pass [{SERVER}]:5201; }}\n\
         server {{ listen {RELAY}:{iperf} udp reuseport rcvbuf=4m; proxy_pass [{SERVER}]:5201; proxy_timeout 30s; }}\n\
         server {{ listen {RELAY}:{calls} reuseport backlog=4096; proxy_pass [{SERVER}]:7000; }}\n}}\n"
    );
    let file = written(world, "nginx.conf", &text)?;
    let mut command = world.relay.command("nginx");
    command.args(["-e", &format!("{directory}/nginx-error.log"), "-c", &file]);
    Process::start(command, &world.guard.directory().join("nginx.log"))
}

fn written(world: &World, name: &str, text: &str) -> Result<String, LabError> {
    let path = world.guard.directory().join(name);
    std::fs::write(&path, text)
        .map_err(|source| LabError::Io { doing: format!("writing {name}"), source })?;
    Ok(path.display().to_string())
}

fn listens(world: &World, port: u16) -> Result<(), LabError> {
    wait::until(&format!("somebody to listen at {port}"), Duration::from_secs(5), || {
        let shown = world.relay.run(&["ss", "-Htln", &format!("sport = :{port}")]).ok()?.stdout;
        (!shown.trim().is_empty()).then_some(())
    })
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or(std::net::Ipv6Addr::UNSPECIFIED.into())
}

fn report(ways: &[Way; 5], times: usize) {
    println!("Relays, medians of {times} rounds, each way in turn\n");
    let heads: String = names().iter().map(|name| format!("{name:>9}")).collect();
    println!("{:20}{heads}{:>13}", "", "of best peer");
    for (index, figure) in FIGURES.iter().enumerate() {
        let medians: Vec<f64> = ways.iter().map(|way| median(&way[index])).collect();
        let peers = medians.iter().skip(1).take(3).copied().filter(|number| !number.is_nan());
        let best = if index == CPU { peers.fold(f64::INFINITY, f64::min) } else { peers.fold(0.0, f64::max) };
        let digits = if index == 3 || index == UDP { 0 } else { 2 };
        let cells: String = medians
            .iter()
            .map(
                |number| {
                    if number.is_nan() { format!("{:>9}", "–") } else { format!("{number:>9.digits$}") }
                },
            )
            .collect();
        println!("{figure:20}{cells}{:>13.2}", medians[0] / best);
    }
    table::print_rounds(names(), &FIGURES, ways);
}

fn names() -> [&'static str; 5] {
    WAYS.map(|(name, ..)| name)
}
