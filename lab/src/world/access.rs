//! The world of the `clat` recipe: an access network without IPv4, and a NAT64 at a distance.
//!
//! ```text
//!  vm ────────── edge ── 1440 ── core ────────── nat64 ────────── inet ────────── web
//!  IPv6 only     advertises       │              TAYGA and        192.0.2.1       198.51.100.10
//!                itself           │              masquerade                       IPv4 only
//!                              resolver          to 192.0.2.64
//!                              DNS64
//! ```

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::links::{cable, forwards, outspoken, plain};
use crate::advertiser::{Advertisement, Advertiser};
use crate::guard::Guard;
use crate::host::Host;
use crate::process::Process;
use crate::tayga::Tayga;
use crate::{LabError, Peer, jool, names, probe, tools, wait};

/// How the network gives the VM its addresses, and tells of its NAT64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Network {
    /// Router advertisements carry the NAT64's prefix (RFC 8781).
    pub pref64: bool,
    /// The VM has one address, a /128 that is told by hand, and a prefix that is routed to it. Otherwise it
    /// makes an address from the /64 that is advertised.
    pub routed: bool,
    /// Who is the NAT64.
    pub nat64: Peer,
}

/// Hosts, routers and servers of an access network and of the IPv4 internet behind its NAT64.
#[derive(Debug)]
pub struct Access {
    /// The IPv6-only host.
    pub vm: Host,
    /// Its provider's router.
    pub edge: Host,
    /// The provider's other router.
    pub core: Host,
    /// The provider's resolver, a DNS64.
    pub resolver: Host,
    /// The provider's NAT64.
    pub nat64: Host,
    /// A router of the IPv4 internet.
    pub inet: Host,
    /// A server that has only IPv4.
    pub web: Host,
    network: Network,
    // Fields are dropped in their order: servers before the namespaces that they run in.
    advertiser: Advertiser,
    servers: Vec<Process>,
    guard: Guard,
}

impl Access {
    /// The server on the IPv4 internet.
    pub const WEB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
    /// The router of the IPv4 internet, as the NAT64 sees it.
    pub const INET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    /// The address that the NAT64 hides everybody behind.
    pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 64);
    /// The resolver.
    pub const RESOLVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x53, 0, 0, 0, 0, 0x53);
    /// MTU of the link between the provider's routers, in bytes.
    pub const NARROW: u16 = 1440;
    /// The prefix that is routed to a VM with one address.
    pub const ROUTED: &'static str = "2001:db8:eec0:7::/96";

    /// Builds the world, and returns when the VM has IPv6 and the server answers the NAT64.
    ///
    /// # Errors
    /// Without root or a tool, or when a part of it does not come to life.
    pub fn build(network: Network) -> Result<Access, LabError> {
        tools::ready()?;
        tools::ready_for(&tools::TRANSLATION)?;
        let mut guard = Guard::start()?;
        let resolvers = guard.directory().join("resolv.conf");
        fs::write(&resolvers, format!("nameserver {}\noptions timeout:1\n", Access::RESOLVER))
            .map_err(LabError::io("writing the VM's resolv.conf"))?;
        let vm = guard.host("vm")?.with_resolvers(resolvers);
        let [edge, core, resolver, nat64, inet, web] =
            ["edge", "core", "resolver", "nat64", "inet", "web"].map(|name| guard.host(name));
        let (edge, core, resolver, nat64, inet, web) = (edge?, core?, resolver?, nat64?, inet?, web?);
        lay(&[&vm, &edge, &core, &resolver, &nat64, &inet, &web])?;
        addresses(&edge, &core, &resolver, &nat64)?;
        inet.ip("address add 192.0.2.1/24 dev nat64\naddress add 198.51.100.1/24 dev web")?;
        web.ip("address add 198.51.100.10/24 dev eth0\nroute add default via 198.51.100.1")?;
        if network.routed {
            vm.ip("address add 2001:db8:eec0::2/128 dev eth0 nodad")?;
        }
        let mut servers: Vec<Process> =
            far_end(&nat64, network.nat64, guard.directory())?.into_iter().collect();
        servers.extend(names::serve(&resolver, Access::RESOLVER, guard.directory())?);
        let advertiser = Advertiser::start(&edge, "vm", EDGE, &network.advertisement())?;
        let world =
            Access { vm, edge, core, resolver, nat64, inet, web, network, advertiser, servers, guard };
        world.settled()?;
        Ok(world)
    }

    /// The VM's own address, made from its link-layer address (RFC 4862) or given.
    #[must_use]
    pub fn vm6(&self) -> Ipv6Addr {
        let interface = if self.network.routed { [0, 0, 0, 2] } else { [0, 0xff, 0xfe00, 0xe] };
        let [a, b, c, d] = interface;
        Ipv6Addr::new(0x2001, 0xdb8, 0xeec0, 0, a, b, c, d)
    }

    /// All namespaces, from the VM to the server.
    pub fn hosts(&self) -> [&Host; 7] {
        [&self.vm, &self.edge, &self.core, &self.resolver, &self.nat64, &self.inet, &self.web]
    }

    /// The lab's directory, removed with the world.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.guard.directory()
    }

    /// Leaves it standing, but for the router's advertisements. Returns the command line that takes it away.
    ///
    /// # Errors
    /// When the script that takes it away cannot be written.
    pub fn keep(self) -> Result<String, LabError> {
        self.servers.into_iter().for_each(Process::leave);
        drop(self.advertiser);
        self.guard.keep()
    }

    /// The router begins to tell the NAT64's prefix: at once, and whenever it is asked.
    ///
    /// # Errors
    /// When its socket cannot be made.
    pub fn tell_pref64(&mut self) -> Result<(), LabError> {
        self.network.pref64 = true;
        self.advertiser = Advertiser::start(&self.edge, "vm", EDGE, &self.network.advertisement())?;
        Ok(())
    }

    /// A translator by hand on the VM, in the place where straddle will be: TAYGA, as one sets it up
    /// for a /64 or for a routed prefix.
    ///
    /// # Errors
    /// When a command fails or TAYGA does not start.
    pub fn translate_by_hand(&self) -> Result<Process, LabError> {
        let vm = &self.vm;
        vm.sysctl("net/ipv6/conf/eth0/accept_ra", "2")?;
        vm.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        let address6 = if self.network.routed { ROUTED_BY_HAND } else { BY_HAND };
        if !self.network.routed {
            vm.sysctl("net/ipv6/conf/eth0/proxy_ndp", "1")?;
            vm.sysctl("net/ipv6/neigh/eth0/proxy_delay", "0")?;
            vm.ip(&format!("neighbour add proxy {address6} dev eth0"))?;
        }
        let routes = format!(
            "
            address add 192.0.0.2/32 dev nat64
            route add default dev nat64 mtu 1480
            route add {address6}/128 dev nat64
            "
        );
        let maps = [(Ipv4Addr::new(192, 0, 0, 2), address6)];
        let own = Ipv4Addr::new(192, 0, 0, 1);
        let prefix = super::PREFIX64;
        Tayga { host: vm, prefix, own, maps: &maps, pool: None, routes: &routes }.start(self.directory())
    }

    fn settled(&self) -> Result<(), LabError> {
        wait::until("the VM to reach the resolver", SETTLE, || {
            probe::ping(&self.vm, Access::RESOLVER.into(), 1).ok().filter(|ping| ping.received > 0)
        })?;
        let web = WEB_THROUGH_NAT64.into();
        wait::until("the VM to reach the server through the NAT64", SETTLE, || {
            probe::ping(&self.vm, web, 1).ok().filter(|ping| ping.received > 0)
        })?;
        Ok(())
    }
}

impl Network {
    fn advertisement(self) -> Advertisement {
        Advertisement {
            router_lifetime: 9000,
            prefix: (!self.routed).then_some(ON_LINK),
            pref64: self.pref64.then_some((PREFIX64, 600)),
            resolver: Some(Access::RESOLVER),
        }
    }
}

fn lay(hosts: &[&Host; 7]) -> Result<(), LabError> {
    let [vm, edge, core, resolver, nat64, inet, web] = *hosts;
    hosts.iter().try_for_each(|host| plain(host).and_then(|()| outspoken(host)))?;
    [edge, core, nat64, inet].into_iter().try_for_each(forwards)?;
    cable((vm, "eth0", 0x0e), (edge, "vm", 0x1e), 1500)?;
    cable((edge, "core", 0x2e), (core, "edge", 0x3e), Access::NARROW)?;
    cable((resolver, "eth0", 0x53), (core, "resolver", 0x63), 1500)?;
    cable((nat64, "core", 0x64), (core, "nat64", 0x74), 1500)?;
    cable((nat64, "inet", 0x84), (inet, "nat64", 0x94), 1500)?;
    cable((web, "eth0", 0x0a), (inet, "web", 0x1a), 1500)
}

fn addresses(edge: &Host, core: &Host, resolver: &Host, nat64: &Host) -> Result<(), LabError> {
    edge.ip("
        address add 2001:db8:eec0::1/64 dev vm nodad
        address add 2001:db8:1::1/64 dev core nodad
        route add default via 2001:db8:1::2
        route add 2001:db8:eec0:7::/96 via 2001:db8:eec0::2
    ")?;
    core.ip("
        address add 2001:db8:1::2/64 dev edge nodad
        address add 2001:db8:53::1/64 dev resolver nodad
        address add 2001:db8:2::1/64 dev nat64 nodad
        route add 2001:db8:eec0::/48 via 2001:db8:1::1
        route add 2001:db8:64::/96 via 2001:db8:2::2
    ")?;
    resolver.ip("
        address add 2001:db8:53::53/64 dev eth0 nodad
        route add default via 2001:db8:53::1
    ")?;
    nat64.ip("
        address add 2001:db8:2::2/64 dev core nodad
        address add 192.0.2.64/24 dev inet
        route add default via 192.0.2.1
        route add default via 2001:db8:2::1
    ")
}

/// Jool; or stateless TAYGA with a private address for everybody, hidden behind one that is not: together a NAT64.
fn far_end(nat64: &Host, by: Peer, directory: &Path) -> Result<Option<Process>, LabError> {
    if by == Peer::Jool {
        return jool::nat64(nat64).map(|()| None);
    }
    nat64.nft(MASQUERADE)?;
    let tayga = Tayga {
        host: nat64,
        prefix: super::PREFIX64,
        own: Ipv4Addr::new(192, 168, 255, 1),
        maps: &[],
        pool: Some("192.168.255.0/24"),
        routes: "route add 192.168.255.0/24 dev nat64\nroute add 2001:db8:64::/96 dev nat64",
    };
    tayga.start(directory).map(Some)
}

const MASQUERADE: &str = r#"
table ip nat64 {
    chain out {
        type nat hook postrouting priority 100; policy accept;
        oifname "inet" masquerade
    }
}
"#;

/// The edge router on the VM's link, made from its link-layer address.
const EDGE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0x1e);
const ON_LINK: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xeec0, 0, 0, 0, 0, 0);
const PREFIX64: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0);
const WEB_THROUGH_NAT64: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0xc633, 0x640a);
const BY_HAND: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xeec0, 0, 0, 0, 0, 0x464);
const ROUTED_BY_HAND: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xeec0, 7, 0, 0, 0, 0x464);
const SETTLE: Duration = Duration::from_secs(10);
