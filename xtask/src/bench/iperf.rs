//! An iperf3 server of each version for a whole benchmark, and what its clients measure.

use std::time::{Duration, Instant};

use serde_json::Value;
use straddle_lab::LabError;
use straddle_lab::host::Host;
use straddle_lab::process::Process;
use straddle_lab::wait;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    /// From the client to the server.
    There,
    /// From the server to the client.
    Back,
}

/// What is sent for a second.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// So many TCP flows, as fast as they go; measured in Gbit/s.
    Tcp(usize),
    /// UDP datagrams of 64 bytes, as fast as they go; measured in thousands of packets per second.
    Udp,
}

/// The servers of the two versions; they end with the value.
pub(super) type Servers = [Process; 2];

/// Starts one for each version, at the same port: a socket of both looks up a route for each datagram that it sends by
/// IPv4. The host's sockets of IPv6 are of that alone from then on.
pub(super) fn servers(host: &Host, directory: &std::path::Path) -> Result<Servers, LabError> {
    host.sysctl("net/ipv6/bindv6only", "1")?;
    let server = |version: &str| {
        let mut command = host.command("iperf3");
        command.args(["-s", "--forceflush", version]);
        let mut process = Process::start(command, &directory.join(format!("iperf3{version}.log")))?;
        process.says("listening on", Duration::from_secs(5))?;
        Ok(process)
    };
    Ok([server("-4")?, server("-6")?])
}

/// The two hosts of a measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    /// Where iperf3's client runs.
    pub(super) client: &'a Host,
    /// Where its server does.
    pub(super) server: &'a Host,
}

/// What came through: 0 where no connection came about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// Gbit/s of TCP, or thousands of datagrams per second.
    pub(super) rate: f64,
    /// What a gigabyte of it took, or a datagram: seconds, or microseconds, of all processors together, the load
    /// generator's and the sink's own among them.
    pub(super) cost: f64,
}

/// Measures once.
pub(super) fn measure(
    hosts: Pair<'_>,
    target: &str,
    load: Load,
    direction: Direction,
) -> Result<Measured, LabError> {
    measure_at(hosts, (target, 5201), load, direction)
}

/// Each load there and back; of each its rate, then its cost.
pub(super) fn both_ways(hosts: Pair<'_>, target: &str, loads: &[Load]) -> Result<Vec<f64>, LabError> {
    let mut figures = Vec::new();
    for load in loads {
        for direction in [Direction::There, Direction::Back] {
            let Measured { rate, cost } = measure(hosts, target, *load, direction)?;
            figures.extend([rate, cost]);
        }
    }
    Ok(figures)
}

/// The server's address at [`cable`].
pub(super) const CABLE: &str = "2001:db8:d::10";

/// A cable from host to host: what passes through nothing is as much as the load generator itself can do.
pub(super) fn cable(hosts: Pair<'_>) -> Result<(), LabError> {
    hosts.client.ip(&format!(
        "
        link add direct type veth peer name direct netns {}
        link set direct up
        address add 2001:db8:d::1/64 dev direct nodad
        ",
        hosts.server.namespace()
    ))?;
    hosts.server.ip(&format!("link set direct up\naddress add {CABLE}/64 dev direct nodad"))
}

/// Seconds that this machine's processors have worked so far (`/proc/stat`, in hundredths).
fn working() -> Result<f64, LabError> {
    let text = std::fs::read_to_string("/proc/stat")
        .map_err(|source| LabError::Io { doing: "reading /proc/stat".into(), source })?;
    let all = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // Idle, waiting for a disk, stolen, and what guests' time is counted in twice.
    let working = all.enumerate().filter(|(column, _)| !matches!(column, 3 | 4 | 7..));
    Ok(working.filter_map(|(_, ticks)| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

/// The same at another port than the server's own: that of a relay.
pub(super) fn measure_at(
    hosts: Pair<'_>,
    (target, port): (&str, u16),
    load: Load,
    direction: Direction,
) -> Result<Measured, LabError> {
    let port = port.to_string();
    let mut words = vec!["iperf3", "-J", "-t", "1", "--connect-timeout", "3000", "-p", &port, "-c", target];
    let flows;
    match load {
        Load::Tcp(count) => {
            flows = count.to_string();
            words.extend(["-P", &flows]);
        }
        Load::Udp => words.extend(["-u", "-l", "64", "-b", "0"]),
    }
    let receiver = match direction {
        Direction::There => hosts.server,
        Direction::Back => {
            words.push("-R");
            hosts.client
        }
    };
    let before = datagrams(receiver)?;
    // The server is busy for a moment after each test.
    let (answer, start, worked) = wait::until("an answer of iperf3", Duration::from_secs(10), || {
        let (start, worked) = (Instant::now(), working().ok()?);
        let output = hosts.client.try_run(&words).ok()?;
        let answer: Value = serde_json::from_str(&output.stdout).ok()?;
        let busy = answer["error"].as_str().is_some_and(|error| error.contains("busy"));
        (!busy).then_some((answer, start, worked))
    })?;
    let (seconds, worked) = (start.elapsed().as_secs_f64(), working()? - worked);
    Ok(match load {
        Load::Tcp(_) => {
            let received = |what: &str| answer["end"]["sum_received"][what].as_f64().unwrap_or(0.0) / 1e9;
            Measured { rate: received("bits_per_second"), cost: worked / received("bytes") }
        }
        // Under a flood the word to end comes late, so the second may be longer.
        Load::Udp => {
            let received = datagrams(receiver)? - before;
            Measured { rate: received / seconds / 1e3, cost: worked * 1e6 / received }
        }
    })
}

/// UDP datagrams that programs of this host have received so far. (What iperf3 itself says of a flood is
/// at times more than was sent.)
fn datagrams(host: &Host) -> Result<f64, LabError> {
    let v4 = host.run(&["cat", "/proc/net/snmp"])?.stdout;
    let v6 = host.run(&["cat", "/proc/net/snmp6"])?.stdout;
    let v4 = v4.lines().filter_map(|line| line.strip_prefix("Udp: ")?.split(' ').next()?.parse::<f64>().ok());
    let v6 = v6.lines().filter_map(|line| line.strip_prefix("Udp6InDatagrams")?.trim().parse::<f64>().ok());
    Ok(v4.chain(v6).sum())
}
