//! The world of the `relay` recipe: a server at home that has only IPv6, and a rented host with both.
//!
//! ```text
//!  client ────────── inet ────────── vps
//!  198.51.100.10      │              192.0.2.158/24
//!  2001:db8:c11::10   │              2001:db8:aefc::2
//!                    home
//!                    2001:db8:eec0::2, no IPv4
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::links::{cable, forwards, outspoken, plain};
use crate::guard::Guard;
use crate::host::Host;
use crate::{LabError, probe, tools, wait};

/// A client, the internet, a rented host and a server at home.
#[derive(Debug)]
pub struct Rented {
    /// On the IPv4 internet, and on the other.
    pub client: Host,
    /// A router of both.
    pub inet: Host,
    /// The rented host.
    pub vps: Host,
    /// The server.
    pub home: Host,
    guard: Guard,
}

impl Rented {
    /// The client.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
    /// The client's IPv6 address.
    pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc11, 0, 0, 0, 0, 0x10);
    /// The rented host.
    pub const VPS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 158);
    /// The rented host's IPv6 address.
    pub const VPS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xaefc, 0, 0, 0, 0, 2);
    /// The server at home.
    pub const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xeec0, 0, 0, 0, 0, 2);
    /// A prefix that the internet leads to the rented host.
    pub const EMBED: &'static str = "2001:db8:64::/96";

    /// Builds the world, and returns when everybody reaches everybody.
    ///
    /// # Errors
    /// Without root or a tool, or when a part of it does not come to life.
    pub fn build() -> Result<Rented, LabError> {
        tools::ready()?;
        let mut guard = Guard::start()?;
        let [client, inet, vps, home] = ["client", "inet", "vps", "home"].map(|name| guard.host(name));
        let (client, inet, vps, home) = (client?, inet?, vps?, home?);
        for host in [&client, &inet, &vps, &home] {
            plain(host)?;
        }
        forwards(&inet)?;
        outspoken(&inet)?;
        cable((&client, "eth0", 0x0a), (&inet, "client", 0x1a), 1500)?;
        cable((&vps, "eth0", 0x02), (&inet, "vps", 0x12), 1500)?;
        cable((&home, "eth0", 0x0e), (&inet, "home", 0x1e), 1500)?;
        addresses(&client, &inet, &vps, &home)?;
        let world = Rented { client, inet, vps, home, guard };
        world.settled()?;
        Ok(world)
    }

    /// All namespaces, from the client to the server.
    #[must_use]
    pub fn hosts(&self) -> [&Host; 4] {
        [&self.client, &self.inet, &self.vps, &self.home]
    }

    /// The lab's directory, removed with the world.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.guard.directory()
    }

    /// Leaves it all standing. Returns the command line that takes it away.
    ///
    /// # Errors
    /// When the script that does so cannot be written.
    pub fn keep(self) -> Result<String, LabError> {
        self.guard.keep()
    }

    fn settled(&self) -> Result<(), LabError> {
        for (from, to) in [
            (&self.client, Rented::VPS.into()),
            (&self.client, Rented::HOME.into()),
            (&self.vps, Rented::HOME.into()),
        ] {
            let what = format!("{} to reach {to}", from.name());
            wait::until(&what, SETTLED, || probe::ping(from, to, 1).ok().filter(probe::Ping::complete))?;
        }
        Ok(())
    }
}

fn addresses(client: &Host, inet: &Host, vps: &Host, home: &Host) -> Result<(), LabError> {
    inet.ip("
        address add 198.51.100.1/24 dev client
        address add 2001:db8:c11::1/64 dev client nodad
        address add 192.0.2.1/24 dev vps
        address add 2001:db8:aefc::1/64 dev vps nodad
        address add 2001:db8:eec0::1/64 dev home nodad
        route add 2001:db8:64::/96 via 2001:db8:aefc::2
    ")?;
    client.ip("
        address add 198.51.100.10/24 dev eth0
        address add 2001:db8:c11::10/64 dev eth0 nodad
        route add default via 198.51.100.1
        route add default via 2001:db8:c11::1
    ")?;
    vps.ip("
        address add 192.0.2.158/24 dev eth0
        address add 2001:db8:aefc::2/64 dev eth0 nodad
        route add default via 192.0.2.1
        route add default via 2001:db8:aefc::1
    ")?;
    home.ip("
        address add 2001:db8:eec0::2/64 dev eth0 nodad
        route add default via 2001:db8:eec0::1
    ")
}

const SETTLED: Duration = Duration::from_secs(10);
