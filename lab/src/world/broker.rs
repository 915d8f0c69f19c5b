//! The world of the `tunnel6` recipe: hosts that have only IPv4, and one that has both.
//!
//! ```text
//!  web ─────────── inet ─────────── vps
//!  IPv6 only        │ │             192.0.2.10
//!                 box shed ─── pc   2001:db8:1::10/64, which inet delivers on-link
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::links::{cable, forwards, outspoken, plain};
use crate::guard::Guard;
use crate::host::Host;
use crate::{LabError, probe, tools, wait};

/// Hosts of the IPv4 internet, a server with both, and one that has only IPv6.
#[derive(Debug)]
pub struct Broker {
    /// On the IPv6 internet.
    pub web: Host,
    /// The router of both internets, and the hoster's gateway.
    pub inet: Host,
    /// The server.
    pub vps: Host,
    /// A client with an address that stays.
    pub box_: Host,
    /// A client whose address changes.
    pub shed: Host,
    /// A host on the LAN of the shed.
    pub pc: Host,
    guard: Guard,
}

impl Broker {
    /// The server on the IPv6 internet.
    pub const WEB: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc11, 0, 0, 0, 0, 0x10);
    /// The hoster's gateway.
    pub const GATEWAY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
    /// The server's own addresses.
    pub const VPS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
    /// The same.
    pub const VPS4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    /// The first client, in IPv4 and in its tunnel, with the server's end of that.
    pub const BOX4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    /// The same.
    pub const BOX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xa3);
    /// The same.
    pub const AT_BOX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xa2);
    /// An address of the network that is routed to it.
    pub const IN_BOX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0x100, 0, 0, 0, 7);
    /// An address of the network that the hoster delivers on-link for it, and one that no client has.
    pub const NEAR_BOX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0x100, 0, 0, 0, 7);
    /// The same.
    pub const NEAR_NOBODY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0x1ff, 0, 0, 0, 7);
    /// The second client, before it moves and after.
    pub const SHED4: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(203, 0, 113, 77)];
    /// The same in its tunnel.
    pub const SHED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xa5);
    /// The host behind it.
    pub const PC: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x102, 0, 0, 0, 0, 5);
    /// An address of the hoster's network that nobody has.
    pub const NOBODY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x77);
    /// An address of the routed network that no client has, and one that the second client has not.
    pub const UNASSIGNED: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0x2001, 0xdb8, 0x1ff, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0xdb8, 0x102, 0xffff, 0, 0, 0, 1),
    ];

    /// The file, as a user would write it; the shed's address changes.
    #[must_use]
    pub fn config(key: &Path) -> String {
        let changes =
            format!("client = \"shed\"\nclient-endpoint = \"dynamic\"\nkey-file = \"{}\"", key.display());
        Broker::FIXED.replace("client = \"shed\"", &changes)
    }

    /// The same, as if both clients' addresses stayed.
    pub const FIXED: &str = r#"[host.vps]
uplink = "eth0"
ipv4 = "192.0.2.10/24"
ipv6 = "2001:db8:1::10"
on-link = "2001:db8:1:100::/56"

[host.box]
uplink = "eth0"
ipv4 = "198.51.100.7/24"

[host.shed]
uplink = "eth0"
ipv4 = "203.0.113.9/24"

[[tunnel6]]
name = "box"
server = "vps"
client = "box"
link = "2001:db8:1::a2/127"
pool = "2001:db8:100::/40"
routed = ["2001:db8:100:100::/64", "2001:db8:1:100::/64"]

[[tunnel6]]
name = "shed"
server = "vps"
client = "shed"
link = "2001:db8:1::a4/127"
routed = "2001:db8:102::/48"
lan = "eth1"
"#;

    /// Builds the world, and returns when the server has IPv6 and its clients reach it over IPv4.
    ///
    /// # Errors
    /// Without root or a tool, or when the kernel refuses a part of it.
    pub fn build() -> Result<Broker, LabError> {
        tools::ready()?;
        let mut guard = Guard::start()?;
        let [web, inet, vps, box_, shed, pc] =
            ["web", "inet", "vps", "box", "shed", "pc"].map(|name| guard.host(name));
        let (web, inet, vps, box_, shed, pc) = (web?, inet?, vps?, box_?, shed?, pc?);
        let world = Broker { web, inet, vps, box_, shed, pc, guard };
        world.lay()?;
        world.addresses()?;
        world.settled()?;
        Ok(world)
    }

    /// All namespaces.
    pub fn hosts(&self) -> [&Host; 6] {
        [&self.web, &self.inet, &self.vps, &self.box_, &self.shed, &self.pc]
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

    /// The second client's provider gives it the other one of its addresses.
    ///
    /// # Errors
    /// When the kernel refuses that.
    pub fn move_shed(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<(), LabError> {
        self.shed.ip(&format!(
            "address del {from}/24 dev eth0\naddress add {to}/24 dev eth0\nroute add default via 203.0.113.1"
        ))
    }

    fn lay(&self) -> Result<(), LabError> {
        self.hosts().iter().try_for_each(|host| plain(host).and_then(|()| outspoken(host)))?;
        forwards(&self.inet)?;
        // A download is not in its buffers before it has moved.
        self.shed.sysctl("net/ipv4/tcp_rmem", "4096 16384 32768")?;
        cable((&self.web, "eth0", 0x0a), (&self.inet, "web", 0x1a), 1500)?;
        cable((&self.vps, "eth0", 0x02), (&self.inet, "hoster", 0x01), 1500)?;
        cable((&self.box_, "eth0", 0x0b), (&self.inet, "box", 0x1b), 1500)?;
        cable((&self.shed, "eth0", 0x0c), (&self.inet, "shed", 0x1c), 1500)?;
        cable((&self.shed, "eth1", 0x2c), (&self.pc, "eth0", 0x0d), 1500)
    }

    fn addresses(&self) -> Result<(), LabError> {
        self.inet.ip("
            address add 2001:db8:c11::1/64 dev web nodad
            address add 192.0.2.1/24 dev hoster
            address add 2001:db8:1::1/64 dev hoster nodad
            address add 198.51.100.1/24 dev box
            address add 203.0.113.1/24 dev shed
            route add 2001:db8:1:100::/56 dev hoster
            route add 2001:db8:100::/40 via 2001:db8:1::10
        ")?;
        // A neighbour that does not answer is given up within half a second, and asked for anew.
        self.inet.sysctl("net/ipv6/neigh/hoster/retrans_time_ms", "150")?;
        self.web.ip("
            address add 2001:db8:c11::10/64 dev eth0 nodad
            route add default via 2001:db8:c11::1
        ")?;
        self.vps.ip("
            address add 192.0.2.10/24 dev eth0
            address add 2001:db8:1::10/64 dev eth0 nodad
            route add default via 192.0.2.1
            route add default via 2001:db8:1::1
        ")?;
        self.box_.ip("
            address add 198.51.100.7/24 dev eth0
            address add 2001:db8:1:100::7/128 dev lo
            route add default via 198.51.100.1
        ")?;
        self.shed.ip("address add 203.0.113.9/24 dev eth0\nroute add default via 203.0.113.1")?;
        self.pc.ip("
            address add 2001:db8:102::5/64 dev eth0 nodad
            route add default via 2001:db8:102::1
        ")
    }

    fn settled(&self) -> Result<(), LabError> {
        let ways = [
            (&self.vps, Broker::WEB.into()),
            (&self.box_, Broker::VPS4.into()),
            (&self.shed, Broker::VPS4.into()),
        ];
        for (from, to) in ways {
            wait::until(&format!("{to} to answer {}", from.name()), SETTLE, || {
                probe::ping(from, to, 1).ok().filter(|ping| ping.received > 0)
            })?;
        }
        Ok(())
    }
}

const SETTLE: Duration = Duration::from_secs(10);
