//! TAYGA, a translator that is not ours: the NAT64 of one world, the other translator of another, and the
//! measure of both in our own one's place.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use crate::host::Host;
use crate::process::Process;
use crate::{LabError, wait};

/// What it is told.
#[derive(Debug, Clone, Copy)]
pub struct Tayga<'a> {
    /// Where it runs.
    pub host: &'a Host,
    /// The prefix that IPv4 addresses are put into, of 96 bits.
    pub prefix: &'a str,
    /// Its own address, from which it sends ICMP errors.
    pub own: Ipv4Addr,
    /// Addresses that stand for each other (RFC 7757).
    pub maps: &'a [(Ipv4Addr, Ipv6Addr)],
    /// The network that other IPv6 addresses get an IPv4 address from.
    pub pool: Option<&'a str>,
    /// Commands of `ip` that lead traffic to the device `nat64`.
    pub routes: &'a str,
}

impl Tayga<'_> {
    /// Makes the device, starts the daemon, and returns when it translates.
    ///
    /// # Errors
    /// When a file can't be written, a route is refused, or it does not serve its device.
    pub fn start(self, directory: &Path) -> Result<Process, LabError> {
        let name = format!("tayga-{}", self.host.name());
        let home = directory.join(&name);
        let doing = || LabError::io(format!("writing below {}", home.display()));
        fs::create_dir_all(&home).map_err(doing())?;
        let file = home.join("tayga.conf");
        fs::write(&file, self.configuration(&home)).map_err(doing())?;
        let file = file.display().to_string();
        self.host.run(&["tayga", "--mktun", "-c", &file])?;
        self.host.ip(&format!("link set nat64 up\n{}", self.routes))?;
        let mut command = self.host.command("tayga");
        command.args(["--nodetach", "-d", "-c", &file]);
        let daemon = Process::start(command, &home.join("log"))?;
        // What it writes stays in its buffer; a tun device has a carrier as long as somebody serves it.
        wait::until(&format!("{name} to translate"), START, || {
            let shown = self.host.direct(&["ip", "link", "show", "dev", "nat64"], "").ok()?.stdout;
            shown.contains("LOWER_UP").then_some(())
        })?;
        Ok(daemon)
    }

    fn configuration(&self, home: &Path) -> String {
        let mut text = format!(
            "tun-device nat64\nprefix {}\nipv4-addr {}\ndata-dir {}\n",
            self.prefix,
            self.own,
            home.display()
        );
        // Writing to a string does not fail.
        let _ = self.maps.iter().try_for_each(|(four, six)| writeln!(text, "map {four} {six}"));
        let _ = self.pool.map(|pool| writeln!(text, "dynamic-pool {pool}"));
        text
    }
}

const START: Duration = Duration::from_secs(5);
