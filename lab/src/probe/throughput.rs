use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::LabError;
use crate::host::Host;
use crate::process::Process;

/// What iperf3 sends for a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// One TCP connection, as fast as it goes.
    Tcp,
    /// The same, but the server sends: for a client that nobody can open a connection to.
    TcpBack,
    /// UDP datagrams of 1,400 bytes at [`Load::UDP_MBITS`].
    Udp,
    /// UDP datagrams of 64 bytes, as many as the sender can make.
    SmallUdp,
}

impl Load {
    /// Offered UDP load in Mbit/s.
    pub const UDP_MBITS: u32 = 200;
}

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Throughput {
    /// Payload received, in bits per second.
    pub bits_per_second: f64,
    /// Lost datagrams in percent; 0 for TCP.
    pub lost_percent: f64,
}

/// Sends from `client` to `target`, where `server` is. `None` when no connection came about.
///
/// # Errors
/// When iperf3 cannot be run or its answer cannot be read.
pub fn throughput(
    client: &Host,
    server: &Host,
    target: IpAddr,
    load: Load,
    directory: &Path,
) -> Result<Option<Throughput>, LabError> {
    let mut command = server.command("iperf3");
    command.args(["-s", "-1", "-p", PORT, "--forceflush"]);
    let log = directory.join(format!("iperf3-{}.log", server.name()));
    let mut listening = Process::start(command, &log)?;
    listening.says("listening on", START)?;
    let target = target.to_string();
    let mut words = vec!["iperf3", "-J", "-p", PORT, "-t", "1", "--connect-timeout", "3000", "-c", &target];
    let rate = format!("{}M", Load::UDP_MBITS);
    match load {
        Load::Tcp => {}
        Load::TcpBack => words.push("-R"),
        Load::Udp => words.extend(["-u", "-l", "1400", "-b", &rate]),
        Load::SmallUdp => words.extend(["-u", "-l", "64", "-b", "0"]),
    }
    let output = client.try_run(&words)?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = output.stdout;
    let answer: Option<Value> = serde_json::from_str(&text).ok();
    // It may say that the connection broke, and end well all the same.
    if answer.as_ref().is_some_and(|answer| answer.get("error").is_some()) {
        return Ok(None);
    }
    let received = answer.and_then(|answer| received(&answer, load));
    received.map(Some).ok_or(LabError::Unreadable { tool: "iperf3", text })
}

fn received(answer: &Value, load: Load) -> Option<Throughput> {
    let end = answer.get("end")?;
    let number = |sum: &str, key: &str| end.get(sum)?.get(key)?.as_f64();
    match load {
        Load::Tcp | Load::TcpBack => Some(Throughput {
            bits_per_second: number("sum_received", "bits_per_second")?,
            lost_percent: 0.0,
        }),
        // What the receiver says in "sum" is the offered rate; the losses are its own count.
        Load::Udp | Load::SmallUdp => {
            let lost_percent = number("sum", "lost_percent")?;
            let offered = number("sum", "bits_per_second")?;
            let bits_per_second = offered * (100.0 - lost_percent) / 100.0;
            Some(Throughput { bits_per_second, lost_percent })
        }
    }
}

const PORT: &str = "5201";
const START: Duration = Duration::from_secs(5);
