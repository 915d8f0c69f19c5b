//! The straddle binary on the hosts of a world, known by its command line alone.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::LabError;
use crate::command::{Output, run};
use crate::host::Host;
use crate::process::Process;
use crate::report::Check;
use crate::world::World;

/// What takes the IPv4 packets through IPv6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// GRE over IPv6 (RFC 7676).
    #[default]
    Ip6gre,
    /// IPv4 in IPv6 (RFC 2473).
    Ip4ip6,
}

impl Carrier {
    /// The biggest packet that it takes on an underlay of 1500 bytes, without an encapsulation
    /// limit: IPv6 header 40 bytes, GRE header 4.
    #[must_use]
    pub fn mtu(self) -> u16 {
        match self {
            Carrier::Ip6gre => 1456,
            Carrier::Ip4ip6 => 1460,
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Carrier::Ip6gre => "ip6gre",
            Carrier::Ip4ip6 => "ip4ip6",
        })
    }
}

/// The binary with one file that describes both ends.
#[derive(Debug, Clone)]
pub struct Straddle {
    exe: PathBuf,
    directory: PathBuf,
}

impl Straddle {
    /// Writes the file of a `borrow` into the world's directory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn borrow(world: &World, exe: &Path, carrier: Carrier) -> Result<Straddle, LabError> {
        Straddle::borrow_by(world, exe, carrier, "auto")
    }

    /// The same with this word for `fast-path` at both ends.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn borrow_by(
        world: &World,
        exe: &Path,
        carrier: Carrier,
        fast_path: &str,
    ) -> Result<Straddle, LabError> {
        Straddle::with_config(world, exe, &config(carrier, fast_path))
    }

    /// Writes a file of one's own.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn with_config(world: &World, exe: &Path, text: &str) -> Result<Straddle, LabError> {
        Straddle::within(world.directory(), exe, text)
    }

    /// Writes a file into the directory of any world.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn within(directory: &Path, exe: &Path, text: &str) -> Result<Straddle, LabError> {
        let directory = directory.to_path_buf();
        let file = directory.join(CONFIG);
        fs::write(&file, text).map_err(LabError::io(format!("writing {}", file.display())))?;
        Ok(Straddle { exe: exe.to_path_buf(), directory })
    }

    /// `up` on each host, and `run` where a carrier needs a process.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn up_on(&self, hosts: &[&Host]) -> Result<Vec<Process>, LabError> {
        let mut running = Vec::new();
        for host in hosts {
            let installed = self.on(host);
            let needed = installed.json("plan")?["needs_serving"] == true;
            installed.up()?;
            if needed {
                running.push(installed.run()?);
            }
        }
        Ok(running)
    }

    /// `down` on each host, which also ends `run`.
    ///
    /// # Errors
    /// When one of them fails, or a process stays.
    pub fn down_on(&self, hosts: &[&Host], running: Vec<Process>) -> Result<(), LabError> {
        hosts.iter().try_for_each(|host| self.on(host).down().map(drop))?;
        running.into_iter().try_for_each(|process| process.ends(END))
    }

    /// The binary on one host, with state and runtime directories of that host's own.
    #[must_use]
    pub fn on<'a>(&'a self, host: &'a Host) -> Installed<'a> {
        Installed { straddle: self, host }
    }
}

/// The binary as one host has it.
#[derive(Debug, Clone, Copy)]
pub struct Installed<'a> {
    straddle: &'a Straddle,
    host: &'a Host,
}

impl Installed<'_> {
    /// What stands between `ip netns exec` and the verb.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let place = |name: &str| self.home().join(name).display().to_string();
        let config = self.straddle.directory.join(CONFIG).display().to_string();
        let exe = self.straddle.exe.display().to_string();
        let options = ["--config", &config, "--state-dir", &place("state"), "--runtime-dir"];
        let mut words = vec![exe];
        words.extend(options.map(str::to_owned));
        words.push(place("run"));
        words
    }

    /// The directory below which this host has its state and runtime directories.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.straddle.directory.join(self.host.name())
    }

    /// Nothing may be remembered of what was displaced.
    pub(crate) fn forgot(&self) -> Check {
        let journal = self.home().join("state/journal");
        let left = fs::read_to_string(&journal).unwrap_or_default();
        let name = format!("the journal is empty on the {}", self.host.name());
        let measured = if left.is_empty() { "nothing is displaced".into() } else { left.clone() };
        Check::new(name, left.is_empty(), measured)
    }

    /// Runs a verb with its options to its end, whatever the end is.
    ///
    /// # Errors
    /// When it cannot be started or takes over a minute.
    pub fn try_verb(&self, verb: &[&str]) -> Result<Output, LabError> {
        run(self.command(verb), "", LIMIT)
    }

    /// Runs a verb that has to succeed.
    ///
    /// # Errors
    /// As [`Installed::try_verb`], and when it fails.
    pub fn verb(&self, verb: &[&str]) -> Result<Output, LabError> {
        self.try_verb(verb)?.good()
    }

    /// `straddle up`.
    ///
    /// # Errors
    /// When it fails.
    pub fn up(&self) -> Result<Output, LabError> {
        self.verb(&["up"])
    }

    /// `straddle down`.
    ///
    /// # Errors
    /// When it fails.
    pub fn down(&self) -> Result<Output, LabError> {
        self.verb(&["down"])
    }

    /// The answer to a verb with `--json`.
    ///
    /// # Errors
    /// When the verb fails or its answer is no JSON.
    pub fn json(&self, verb: &str) -> Result<Value, LabError> {
        let text = self.verb(&[verb, "--json"])?.stdout;
        serde_json::from_str(&text).map_err(|_| LabError::Unreadable { tool: "straddle", text })
    }

    /// Starts `straddle run` and waits until it serves.
    ///
    /// # Errors
    /// When it ends instead, with what it wrote.
    pub fn run(&self) -> Result<Process, LabError> {
        self.run_with(&[])
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`Installed::run`].
    pub fn run_with(&self, options: &[&str]) -> Result<Process, LabError> {
        let log = self.straddle.directory.join(format!("{}-run.log", self.host.name()));
        let mut process = Process::start(self.command(&[&["run"], options].concat()), &log)?;
        process.says("ready", LIMIT)?;
        Ok(process)
    }

    fn command(&self, verb: &[&str]) -> Command {
        let words = self.words();
        let mut command = self.host.command(&self.straddle.exe);
        command.args(words.get(1..).unwrap_or_default()).args(verb);
        command
    }
}

/// The file of a `borrow`, as a user would write it, with this word for `fast-path` at both ends.
#[must_use]
pub fn config(carrier: Carrier, fast_path: &str) -> String {
    format!(
        r#"[host.lender]
uplink = "eth0"
ipv4 = "192.0.2.158/24"
gateway4 = "192.0.2.1"
ipv6 = "2001:db8:aefc::2"
fast-path = "{fast_path}"

[host.borrower]
uplink = "eth0"
ipv6 = "2001:db8:eec0::2"
fast-path = "{fast_path}"

[[borrow]]
address = "192.0.2.158"
from = "lender"
to = "borrower"
carrier = "{carrier}"
"#
    )
}

const CONFIG: &str = "straddle.toml";
const LIMIT: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(10);
