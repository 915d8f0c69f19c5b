//! The world of the `via6` recipe: two routers in a row without IPv4, and IPv4 on both sides of them.
//!
//! ```text
//!  laptop ─────── near ─────── far ─────── inet ─────── web
//!                  │                                    198.51.100.10
//!               1400                                    198.51.100.11, 1400
//!                  │
//!                phone
//!  without IPv4 as far as inet
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::links::{cable, outspoken, plain};
use crate::guard::Guard;
use crate::host::Host;
use crate::{LabError, probe, tools, wait};

/// Hosts behind routers that have no IPv4, and a server that has nothing else.
#[derive(Debug)]
pub struct Chain {
    /// At the end of the chain.
    pub laptop: Host,
    /// Beside it, on a narrow link.
    pub phone: Host,
    /// The router of both.
    pub near: Host,
    /// The next router.
    pub far: Host,
    /// The router that has IPv4.
    pub inet: Host,
    /// The server.
    pub web: Host,
    guard: Guard,
}

impl Chain {
    /// The address that the laptop gets.
    pub const LAPTOP: Ipv4Addr = Ipv4Addr::new(10, 0, 8, 42);
    /// The address that the phone gets.
    pub const PHONE: Ipv4Addr = Ipv4Addr::new(10, 0, 8, 43);
    /// The address that the second router gets; the first has none.
    pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 2);
    /// The router that has IPv4 by itself.
    pub const INET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    /// The server.
    pub const WEB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
    /// The server's other address, to which the last link is narrower.
    pub const NARROW: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
    /// The first router on the laptop's link.
    pub const NEAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
    /// MTU of both narrow links, in bytes.
    pub const NARROW_MTU: u16 = 1400;
    /// The link-layer address of the server, the only one that has reason to ask for others by ARP.
    pub const WEB_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];

    /// Builds the world, and returns when neighbours reach each other.
    ///
    /// # Errors
    /// Without root or a tool, or when a part of it does not come to life.
    pub fn build() -> Result<Chain, LabError> {
        tools::ready()?;
        let mut guard = Guard::start()?;
        let [laptop, phone, near, far, inet, web] =
            ["laptop", "phone", "near", "far", "inet", "web"].map(|name| guard.host(name));
        let world =
            Chain { laptop: laptop?, phone: phone?, near: near?, far: far?, inet: inet?, web: web?, guard };
        world.lay()?;
        world.addresses()?;
        world.settled()?;
        Ok(world)
    }

    /// All namespaces, from the laptop to the server.
    #[must_use]
    pub fn hosts(&self) -> [&Host; 6] {
        [&self.laptop, &self.phone, &self.near, &self.far, &self.inet, &self.web]
    }

    /// Those that the file describes.
    #[must_use]
    pub fn ours(&self) -> [&Host; 5] {
        [&self.laptop, &self.phone, &self.near, &self.far, &self.inet]
    }

    /// Every end of a link without IPv4: its host, and its name there.
    #[must_use]
    pub fn ends(&self) -> [(&Host, &'static str); 8] {
        [
            (&self.laptop, "eth0"),
            (&self.near, "laptop"),
            (&self.phone, "eth0"),
            (&self.near, "phone"),
            (&self.near, "far"),
            (&self.far, "near"),
            (&self.far, "inet"),
            (&self.inet, "far"),
        ]
    }

    /// The lab's directory, removed with the world.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.guard.directory()
    }

    /// Leaves it standing. Returns the command line that takes it away.
    ///
    /// # Errors
    /// When the script that takes it away cannot be written.
    pub fn keep(self) -> Result<String, LabError> {
        self.guard.keep()
    }

    fn lay(&self) -> Result<(), LabError> {
        for host in self.hosts() {
            plain(host)?;
            outspoken(host)?;
            // What a link that goes down does to IPv6 addresses by itself is not what is shown here.
            host.sysctl("net/ipv6/conf/default/keep_addr_on_down", "1")?;
        }
        // As many distributions have it.
        for router in [&self.near, &self.far, &self.inet] {
            router.sysctl("net/ipv4/conf/default/rp_filter", "1")?;
        }
        let narrow = Chain::NARROW_MTU;
        cable((&self.laptop, "eth0", 0x42), (&self.near, "laptop", 0x52), 1500)?;
        cable((&self.phone, "eth0", 0x43), (&self.near, "phone", 0x53), narrow)?;
        cable((&self.near, "far", 0x1e), (&self.far, "near", 0x1f), 1500)?;
        cable((&self.far, "inet", 0x2e), (&self.inet, "far", 0x2f), 1500)?;
        cable((&self.web, "eth0", 0x0a), (&self.inet, "web", 0x1a), 1500)
    }

    fn addresses(&self) -> Result<(), LabError> {
        self.laptop.ip("address add 2001:db8:1::42/64 dev eth0 nodad")?;
        self.phone.ip("address add 2001:db8:2::43/64 dev eth0 nodad")?;
        self.near.ip("
            address add 2001:db8:1::1/64 dev laptop nodad
            address add 2001:db8:2::1/64 dev phone nodad
            address add 2001:db8:3::1/64 dev far nodad
        ")?;
        self.far.ip("
            address add 2001:db8:3::2/64 dev near nodad
            address add 2001:db8:4::2/64 dev inet nodad
        ")?;
        self.inet.ip("
            address add 2001:db8:4::1/64 dev far nodad
            address add 198.51.100.1/24 dev web
            route add 198.51.100.11/32 dev web mtu lock 1400
        ")?;
        self.web.ip("
            address add 198.51.100.10/24 dev eth0
            address add 198.51.100.11/24 dev eth0
            route add default via 198.51.100.1
        ")
    }

    /// Waits until every link carries.
    fn settled(&self) -> Result<(), LabError> {
        let ways: [(&Host, std::net::IpAddr); 5] = [
            (&self.laptop, Chain::NEAR6.into()),
            (&self.phone, Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1).into()),
            (&self.near, Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 2).into()),
            (&self.far, Ipv6Addr::new(0x2001, 0xdb8, 4, 0, 0, 0, 0, 1).into()),
            (&self.web, Chain::INET.into()),
        ];
        for (from, to) in ways {
            let what = format!("{to} to answer {}", from.name());
            wait::until(&what, SETTLE, || probe::ping(from, to, 1).ok().filter(|ping| ping.received > 0))?;
        }
        Ok(())
    }
}

const SETTLE: Duration = Duration::from_secs(10);
