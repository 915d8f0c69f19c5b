//! The world of the `publish` recipe: homes behind DS-Lite (RFC 6333), and a VPS with an IPv4 address.
//!
//! ```text
//!  client ──────────── inet ──────────── vps
//!  198.51.100.10        │                203.0.113.144
//!  2001:db8:c11::10     │                2001:db8:6ef9::1
//!                    provider
//!                    CGNAT: 192.0.2.64
//!                       │ 1492, both lines
//!              ┌────────┴────────┐
//!           router             cabin
//!           192.168.1.1        192.168.2.210
//!           its firewall       a server itself
//!              │
//!    ┌─────────┼─────────┐
//!  first     second    laptop
//!  .210      .211      .50
//! ```
//!
//! The tunnel to the AFTR is left out: what leaves a home by IPv4 is behind the provider's address, and
//! nothing comes in by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::links::{bridge_alone, cable, forwards, outspoken, plain};
use crate::guard::Guard;
use crate::host::Host;
use crate::{LabError, probe, tools, wait};

/// Hosts, routers and servers of two homes behind DS-Lite, and of the internet.
#[derive(Debug)]
pub struct DsLite {
    /// On both internets.
    pub client: Host,
    /// The router that everything is attached to.
    pub inet: Host,
    /// The dual-stack VPS.
    pub vps: Host,
    /// The homes' provider: a router, and a CGNAT for IPv4.
    pub provider: Host,
    /// The first home's router.
    pub router: Host,
    /// A server of that home.
    pub first: Host,
    /// Another one.
    pub second: Host,
    /// Another host of that home.
    pub laptop: Host,
    /// The second home: a server with a line of its own.
    pub cabin: Host,
    guard: Guard,
}

impl DsLite {
    /// The client.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
    /// The router on the client's network.
    pub const INET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    /// The VPS's router.
    pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    /// The VPS's address, the one that is published.
    pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 144);
    /// The VPS's own IPv6 address.
    pub const VPS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x6ef9, 0, 0, 0, 0, 1);
    /// What whoever is at home is seen as on the IPv4 internet.
    pub const CGNAT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 64);
    /// The home's router on its own network.
    pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
    /// The first server.
    pub const FIRST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 210);
    /// The first server over IPv6.
    pub const FIRST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb0a8, 0xfdd3, 0, 0, 0, 0x210);
    /// The second server.
    pub const SECOND: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 211);
    /// The other host of the home.
    pub const LAPTOP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 50);
    /// The second home's server.
    pub const CABIN: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 210);
    /// MTU of a home's line in bytes: Ethernet less PPPoE (RFC 2516).
    pub const LINE: u16 = 1492;

    /// Builds the world, and returns when packets flow.
    ///
    /// # Errors
    /// Without root or a tool, or when the kernel refuses a part of it.
    pub fn build() -> Result<DsLite, LabError> {
        tools::ready()?;
        tools::ready_for(&[("sysctl", "procps")])?;
        let mut guard = Guard::start()?;
        let names = ["client", "inet", "vps", "provider", "router", "first", "second", "laptop", "cabin"];
        let hosts: Result<Vec<Host>, LabError> = names.into_iter().map(|name| guard.host(name)).collect();
        let hosts: [Host; 9] = hosts?.try_into().map_err(|_| LabError::Guard("a host is missing".into()))?;
        let [client, inet, vps, provider, router, first, second, laptop, cabin] = hosts;
        let world = DsLite { client, inet, vps, provider, router, first, second, laptop, cabin, guard };
        world.lay()?;
        world.internet()?;
        world.provide()?;
        world.home()?;
        world.settled()?;
        Ok(world)
    }

    /// All namespaces, from the client to the second home.
    #[must_use]
    pub fn hosts(&self) -> [&Host; 9] {
        let [client, inet, vps] = [&self.client, &self.inet, &self.vps];
        let [first, second, laptop] = [&self.first, &self.second, &self.laptop];
        [client, inet, vps, &self.provider, &self.router, first, second, laptop, &self.cabin]
    }

    /// The lab's directory, removed with the world.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.guard.directory()
    }

    /// Leaves it all standing. Returns the command line that takes it away.
    ///
    /// # Errors
    /// When the script that takes it away cannot be written.
    pub fn keep(self) -> Result<String, LabError> {
        self.guard.keep()
    }

    /// The provider gives the router's line another /64 of `2001:db8:b0a8::/48` and takes the one it has: it is
    /// deprecated at home, and leads nowhere any more.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn renumber(&self, from: u16, to: u16) -> Result<(), LabError> {
        self.router.ip(&format!(
            "
            address add 2001:db8:b0a8:{to:x}::1/64 dev wan0 nodad
            address change 2001:db8:b0a8:{from:x}::1/64 dev wan0 nodad preferred_lft 0
            "
        ))?;
        self.provider.ip(&format!(
            "
            route add 2001:db8:b0a8:{to:x}::/64 dev router
            route del 2001:db8:b0a8:{from:x}::/64 dev router
            "
        ))
    }

    fn lay(&self) -> Result<(), LabError> {
        let [client, inet, vps] = [&self.client, &self.inet, &self.vps];
        let [provider, router, cabin] = [&self.provider, &self.router, &self.cabin];
        self.hosts().into_iter().try_for_each(|host| plain(host).and_then(|()| outspoken(host)))?;
        [inet, provider, router].into_iter().try_for_each(forwards)?;
        cable((client, "eth0", 0x0a), (inet, "client", 0x1a), 1500)?;
        cable((vps, "eth0", 0x02), (inet, "vps", 0x12), 1500)?;
        cable((provider, "inet", 0x03), (inet, "provider", 0x13), 1500)?;
        cable((router, "wan0", 0x04), (provider, "router", 0x14), DsLite::LINE)?;
        cable((cabin, "eth0", 0x05), (provider, "cabin", 0x15), DsLite::LINE)?;
        router.ip("link add lan0 address 02:00:00:00:00:41 type bridge forward_delay 0\nlink set lan0 up")?;
        bridge_alone(router)?;
        let servers =
            [(&self.first, "port1", 0x21), (&self.second, "port2", 0x22), (&self.laptop, "port3", 0x23)];
        for (host, port, byte) in servers {
            cable((host, "eth0", byte), (router, port, byte + 0x10), 1500)?;
            router.ip(&format!("link set {port} master lan0"))?;
        }
        Ok(())
    }

    fn internet(&self) -> Result<(), LabError> {
        self.client.ip("
            address add 198.51.100.10/24 dev eth0
            address add 2001:db8:c11::10/64 dev eth0 nodad
            route add default via 198.51.100.1
            route add default via 2001:db8:c11::1
        ")?;
        self.inet.ip("
            address add 198.51.100.1/24 dev client
            address add 2001:db8:c11::1/64 dev client nodad
            address add 203.0.113.1/24 dev vps
            address add 2001:db8:6ef9::ff/64 dev vps nodad
            address add 192.0.2.1/24 dev provider
            address add 2001:db8:2::1/64 dev provider nodad
            route add 2001:db8:b0a8::/48 via 2001:db8:2::2
            route add 2001:db8:cab::/48 via 2001:db8:2::2
        ")?;
        self.vps.ip("
            address add 203.0.113.144/24 dev eth0
            address add 2001:db8:6ef9::1/64 dev eth0 nodad
            route add default via 203.0.113.1
            route add default via 2001:db8:6ef9::ff
        ")
    }

    /// Homes have 192.0.0.2 (RFC 6333 §5.7) or the like, and are behind one address of the provider's.
    fn provide(&self) -> Result<(), LabError> {
        self.provider.ip("
            address add 192.0.2.64/24 dev inet
            address add 2001:db8:2::2/64 dev inet nodad
            address add 192.0.0.1/29 dev router
            address add fe80::1/64 dev router nodad
            address add 192.0.0.9/29 dev cabin
            address add fe80::1/64 dev cabin nodad
            route add default via 192.0.2.1
            route add default via 2001:db8:2::1
            route add 2001:db8:b0a8:fdd2::/64 dev router
            route add 2001:db8:b0a8:fdd3::/64 via fe80::2 dev router
            route add 2001:db8:cab::/64 dev cabin
        ")?;
        self.provider.nft(CGNAT)
    }

    fn home(&self) -> Result<(), LabError> {
        self.router.ip("
            address add 192.0.0.2/29 dev wan0
            address add 2001:db8:b0a8:fdd2::1/64 dev wan0 nodad
            address add fe80::2/64 dev wan0 nodad
            address add 192.168.1.1/24 dev lan0
            address add 2001:db8:b0a8:fdd3::1/64 dev lan0 nodad
            route add default via 192.0.0.1
            route add default via fe80::1 dev wan0
        ")?;
        self.router.nft(ROUTER)?;
        for (host, last) in [(&self.first, "210"), (&self.second, "211"), (&self.laptop, "50")] {
            host.ip(&format!(
                "
                address add 192.168.1.{last}/24 dev eth0
                address add 2001:db8:b0a8:fdd3::{last}/64 dev eth0 nodad
                route add default via 192.168.1.1
                route add default via 2001:db8:b0a8:fdd3::1
                "
            ))?;
        }
        self.cabin.ip("
            address add 192.0.0.10/29 dev eth0
            address add 192.168.2.210/24 dev eth0
            address add 2001:db8:cab::1/64 dev eth0 nodad
            route add default via 192.0.0.9
            route add default via fe80::1 dev eth0
        ")
    }

    fn settled(&self) -> Result<(), LabError> {
        let ways: [(&Host, IpAddr); 5] = [
            (&self.client, DsLite::PUBLIC.into()),
            (&self.client, DsLite::FIRST6.into()),
            (&self.second, DsLite::CLIENT.into()),
            (&self.laptop, DsLite::CLIENT.into()),
            (&self.cabin, DsLite::VPS6.into()),
        ];
        for (from, to) in ways {
            let what = format!("{to} to answer {}", from.name());
            wait::until(&what, SETTLE, || probe::ping(from, to, 1).ok().filter(|ping| ping.received > 0))?;
        }
        Ok(())
    }
}

/// Many behind one address, and nobody calls them.
const CGNAT: &str = r#"
table ip cgnat {
    chain forward {
        type filter hook forward priority 0; policy accept;
        iifname "inet" ct state != { established, related } drop
    }
    chain out {
        type nat hook postrouting priority 100; policy accept;
        oifname "inet" masquerade
    }
}
"#;

/// A home router as routers are: nothing comes in by the line but answers, IPv4 is hidden. What its owner has
/// opened for a carrier: its outer packets, and its zone of the firewall is not the line's. The first
/// server's web pages are open over IPv6.
const ROUTER: &str = r#"
table inet home {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state { established, related } accept
        iifname != "wan0" accept
        meta l4proto ipv6-icmp accept
        ip6 saddr 2001:db8:6ef9::/64 meta l4proto 4 accept
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state { established, related } accept
        iifname != "wan0" accept
        meta l4proto ipv6-icmp accept
        ip6 daddr 2001:db8:b0a8:fdd3::210 tcp dport { 80, 443 } accept
    }
    chain out {
        type nat hook postrouting priority 100; policy accept;
        oifname "wan0" meta nfproto ipv4 masquerade
    }
}
"#;

const SETTLE: Duration = Duration::from_secs(10);
