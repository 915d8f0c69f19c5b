//! The world of the `siit` recipe: a data centre without IPv4, whose servers have IPv4 addresses at its
//! gate (RFC 7755), and a second translator behind which somebody has only IPv4.
//!
//! ```text
//!  client ─────────── inet ─────────── gate ─────────── core ─────────── server
//!  198.51.100.10      192.0.2.1        192.0.2.2          │              2001:db8:3::a,
//!  198.51.100.11,     1400 to .11      2001:db8:46::1     1400           known as 203.0.113.10
//!  IPv4 only                                              │              IPv6 only
//!                                                        peer ────────── far
//!                                                        TAYGA           203.0.113.77
//!                                                                        IPv4 only
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::links::{cable, forwards, outspoken, plain};
use crate::guard::Guard;
use crate::host::Host;
use crate::process::Process;
use crate::tayga::Tayga;
use crate::{LabError, Peer, jool, probe, tools, wait};

/// Hosts and routers of an IPv4 internet and an IPv6-only data centre.
#[derive(Debug)]
pub struct DataCentre {
    /// On the IPv4 internet.
    pub client: Host,
    /// A router of the IPv4 internet.
    pub inet: Host,
    /// The router between both, which translates.
    pub gate: Host,
    /// A router of the data centre.
    pub core: Host,
    /// A server that has only IPv6.
    pub server: Host,
    /// The other translator.
    pub peer: Host,
    /// A host behind it that has only IPv4.
    pub far: Host,
    // Fields are dropped in their order: TAYGA before the namespace that it runs in.
    tayga: Option<Process>,
    guard: Guard,
}

impl DataCentre {
    /// The client.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
    /// The client's other address, to which the last link is narrower.
    pub const NARROW: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
    /// The client's router.
    pub const INET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    /// The same router on the gate's link.
    pub const INET_AT_GATE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    /// The gate on the IPv4 internet.
    pub const GATE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
    /// The gate in the data centre.
    pub const GATE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x46, 0, 0, 0, 0, 1);
    /// The server.
    pub const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 0xa);
    /// What the server is known as on the IPv4 internet.
    pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
    /// The host behind the other translator, in both directions.
    pub const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
    /// MTU of both narrow links, in bytes.
    pub const NARROW_MTU: u16 = 1400;

    /// The IPv6 address that stands for an IPv4 address in the data centre (RFC 6052).
    #[must_use]
    pub fn embedded(address: Ipv4Addr) -> Ipv6Addr {
        let prefix = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0));
        Ipv6Addr::from(prefix | u128::from(u32::from(address)))
    }

    /// Builds the world, and returns when each side is whole in itself.
    ///
    /// # Errors
    /// Without root or a tool, or when a part of it does not come to life.
    pub fn build(by: Peer) -> Result<DataCentre, LabError> {
        tools::ready()?;
        tools::ready_for(&tools::TRANSLATION)?;
        let mut guard = Guard::start()?;
        let hosts = ["client", "inet", "gate", "core", "server", "peer", "far"].map(|name| guard.host(name));
        let [client, inet, gate, core, server, peer, far] = hosts;
        let (client, inet, gate, core) = (client?, inet?, gate?, core?);
        let (server, peer, far) = (server?, peer?, far?);
        lay(&[&client, &inet, &gate, &core, &server, &peer, &far])?;
        internet(&client, &inet, &gate)?;
        data_centre(&gate, &core, &server)?;
        let tayga = behind(&peer, &far, by, guard.directory())?;
        let world = DataCentre { client, inet, gate, core, server, peer, far, tayga, guard };
        world.settled()?;
        Ok(world)
    }

    /// All namespaces, from the client to the last.
    #[must_use]
    pub fn hosts(&self) -> [&Host; 7] {
        [&self.client, &self.inet, &self.gate, &self.core, &self.server, &self.peer, &self.far]
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
        self.tayga.into_iter().for_each(Process::leave);
        self.guard.keep()
    }

    /// A translator by hand on the gate, in the place where straddle will be: TAYGA, which has no mappings
    /// of prefixes and does not send packets between two mapped hosts back.
    ///
    /// # Errors
    /// When a command fails or TAYGA does not start.
    pub fn translate_by_hand(&self) -> Result<Process, LabError> {
        let maps = [(DataCentre::SERVER, DataCentre::SERVER6), (DataCentre::FAR, FAR6)];
        let tayga = Tayga {
            host: &self.gate,
            prefix: super::PREFIX64,
            own: Ipv4Addr::new(192, 0, 2, 200),
            maps: &maps,
            pool: None,
            routes: "route add 203.0.113.0/24 dev nat64\nroute add 2001:db8:64::/96 dev nat64",
        };
        tayga.start(self.directory())
    }

    fn settled(&self) -> Result<(), LabError> {
        let ways = [
            (&self.client, DataCentre::GATE.into()),
            (&self.server, DataCentre::GATE6.into()),
            (&self.peer, DataCentre::GATE6.into()),
            (&self.peer, DataCentre::FAR.into()),
        ];
        for (from, to) in ways {
            let what = format!("{to} to answer {}", from.name());
            wait::until(&what, SETTLE, || probe::ping(from, to, 1).ok().filter(|ping| ping.received > 0))?;
        }
        Ok(())
    }
}

fn lay(hosts: &[&Host; 7]) -> Result<(), LabError> {
    let [client, inet, gate, core, server, peer, far] = *hosts;
    hosts.iter().try_for_each(|host| plain(host).and_then(|()| outspoken(host)))?;
    [inet, gate, core, peer].into_iter().try_for_each(forwards)?;
    cable((client, "eth0", 0x0a), (inet, "client", 0x1a), 1500)?;
    cable((gate, "eth0", 0x02), (inet, "gate", 0x12), 1500)?;
    cable((gate, "dc", 0x22), (core, "gate", 0x32), 1500)?;
    cable((server, "eth0", 0x0b), (core, "server", 0x1b), 1500)?;
    cable((peer, "core", 0x0c), (core, "peer", 0x1c), DataCentre::NARROW_MTU)?;
    cable((far, "eth0", 0x0d), (peer, "far", 0x1d), 1500)
}

/// The gate has no default route: an address that nobody translates is unreachable at once.
fn internet(client: &Host, inet: &Host, gate: &Host) -> Result<(), LabError> {
    client.ip("
        address add 198.51.100.10/24 dev eth0
        address add 198.51.100.11/24 dev eth0
        route add default via 198.51.100.1
    ")?;
    inet.ip("
        address add 198.51.100.1/24 dev client
        address add 192.0.2.1/24 dev gate
        route add 203.0.113.0/24 via 192.0.2.2
        route add 198.51.100.11/32 dev client mtu lock 1400
    ")?;
    gate.ip("address add 192.0.2.2/24 dev eth0\nroute add 198.51.100.0/24 via 192.0.2.1")
}

fn data_centre(gate: &Host, core: &Host, server: &Host) -> Result<(), LabError> {
    gate.ip("
        address add 2001:db8:46::1/64 dev dc nodad
        route add 2001:db8:3::/64 via 2001:db8:46::2
        route add 2001:db8:5::/64 via 2001:db8:46::2
    ")?;
    core.ip("
        address add 2001:db8:46::2/64 dev gate nodad
        address add 2001:db8:3::1/64 dev server nodad
        address add 2001:db8:5::1/64 dev peer nodad
        route add 2001:db8:64::/96 via 2001:db8:46::1
        route add 2001:db8:3::4d via 2001:db8:5::2
    ")?;
    server.ip("
        address add 2001:db8:3::a/64 dev eth0 nodad
        route add default via 2001:db8:3::1
    ")
}

fn behind(peer: &Host, far: &Host, by: Peer, directory: &Path) -> Result<Option<Process>, LabError> {
    peer.ip("
        address add 2001:db8:5::2/64 dev core nodad
        address add 203.0.113.65/28 dev far
        route add default via 2001:db8:5::1
    ")?;
    far.ip("address add 203.0.113.77/28 dev eth0\nroute add default via 203.0.113.65")?;
    // What the gate says of unreachable addresses shall get through: that needs a mapping.
    let maps = [(DataCentre::FAR, FAR6), (DataCentre::GATE, DataCentre::GATE6)];
    if by == Peer::Jool {
        return jool::siit(peer, &maps).map(|()| None);
    }
    let tayga = Tayga {
        host: peer,
        prefix: super::PREFIX64,
        own: Ipv4Addr::new(203, 0, 113, 66),
        maps: &maps,
        pool: None,
        routes: "route add default dev nat64\nroute add 2001:db8:3::4d dev nat64",
    };
    tayga.start(directory).map(Some)
}

/// Host 77 of the mapped prefix.
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 0x4d);
const SETTLE: Duration = Duration::from_secs(10);
