//! The world of the `borrow` recipe.
//!
//! ```text
//!  client ──────── [near] ──────── inet ──────── switch ──────── lender
//!  198.51.100.10    only with       │            drops every      192.0.2.158/24
//!  2001:db8:c11::10 Routers::Two    │            source MAC but   2001:db8:aefc::2
//!                                 [far]          the lender's
//!                                   │  only with Routers::Two
//!                                borrower
//!                                2001:db8:eec0::2, no IPv4
//! ```

mod access;
mod broker;
mod chain;
mod data_centre;
mod home;
mod links;
mod rented;

pub use access::{Access, Network};
pub use broker::Broker;
pub use chain::Chain;
pub use data_centre::DataCentre;
pub use home::DsLite;
pub use rented::Rented;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use crate::guard::Guard;
use crate::host::Host;
use crate::switch::Switch;
use crate::{LabError, probe, tools, wait};

/// The client on the IPv4 internet.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The client's IPv6 address, from which an operator watches the lender.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc11, 0, 0, 0, 0, 0x10);
/// The address that is lent.
pub const BORROWED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 158);
/// The hoster's gateway, an interface of the router `inet`.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// An address of the hoster's network that nobody has.
pub const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// The lender's IPv6 address.
pub const LENDER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xaefc, 0, 0, 0, 0, 2);
/// The borrower's IPv6 address.
pub const BORROWER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xeec0, 0, 0, 0, 0, 2);
/// The link-layer address of the lender, the only one the hoster's switch lets in.
pub const LENDER_MAC: &str = "02:00:00:00:00:02";
/// The name of both hosts' uplinks.
pub const UPLINK: &str = "eth0";

/// The prefix that IPv4 addresses are put into (RFC 6052), in the worlds with a translator.
pub const PREFIX64: &str = "2001:db8:64::/96";

/// How long the way between the hosts is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Routers {
    /// `inet` alone.
    #[default]
    One,
    /// Two between client and lender (`near`, `inet`), two between lender and borrower (`inet`,
    /// `far`).
    Two,
}

/// What the routers do with ICMP and ICMPv6 errors. Neighbour discovery and echo always pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Errors {
    /// They pass.
    #[default]
    Pass,
    /// The routers neither forward nor send any, Packet Too Big included.
    Filtered,
}

/// What kind of world to build.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorldOptions {
    /// How many routers.
    pub routers: Routers,
    /// MTU of the link from `inet` towards the borrower, in bytes; 1500 when not given. With
    /// [`Routers::Two`] neither host sees it.
    pub middle_mtu: Option<u16>,
    /// Whether ICMP errors pass.
    pub errors: Errors,
}

/// Hosts, routers, the hoster's switch and the cables between them, all gone when dropped.
#[derive(Debug)]
pub struct World {
    /// On the IPv4 internet.
    pub client: Host,
    /// The router that everything is attached to, and the hoster's gateway.
    pub inet: Host,
    /// The hoster's switch.
    pub switch: Switch,
    /// The dual-stack VPS.
    pub lender: Host,
    /// The IPv6-only VPS.
    pub borrower: Host,
    /// The additional routers, if any: `near` before `far`.
    pub more: Vec<Host>,
    guard: Guard,
}

impl World {
    /// Builds a world, and returns when packets flow from end to end.
    ///
    /// # Errors
    /// Without root or a tool, or when the kernel refuses a part of it.
    pub fn build(options: WorldOptions) -> Result<World, LabError> {
        tools::ready()?;
        let mut guard = Guard::start()?;
        let more = match options.routers {
            Routers::One => Vec::new(),
            Routers::Two => vec![guard.host("near")?, guard.host("far")?],
        };
        let world = World {
            client: guard.host("client")?,
            inet: guard.host("inet")?,
            switch: Switch::new(guard.host("switch")?),
            lender: guard.host("lender")?,
            borrower: guard.host("borrower")?,
            more,
            guard,
        };
        links::lay(&world, options)?;
        world.switch.set_filter(crate::switch::Filter::LenderOnly)?;
        if options.errors == Errors::Filtered {
            world.routers().try_for_each(|router| router.nft(NO_ERRORS))?;
        }
        world.settled()?;
        Ok(world)
    }

    /// All routers.
    pub fn routers(&self) -> impl Iterator<Item = &Host> {
        std::iter::once(&self.inet).chain(&self.more)
    }

    /// All namespaces, from the client to the borrower.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        [&self.client, &self.inet, self.switch.host(), &self.lender, &self.borrower]
            .into_iter()
            .chain(&self.more)
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

    /// Waits until both ways are open: bridge ports forward, neighbours are known.
    fn settled(&self) -> Result<(), LabError> {
        let ways: [(&Host, IpAddr); 3] = [
            (&self.client, BORROWED.into()),
            (&self.client, LENDER6.into()),
            (&self.borrower, LENDER6.into()),
        ];
        for (from, to) in ways {
            let what = format!("{to} to answer {}", from.name());
            wait::until(&what, SETTLE, || probe::ping(from, to, 1).ok().filter(|ping| ping.received > 0))?;
        }
        Ok(())
    }
}

const SETTLE: Duration = Duration::from_secs(10);

/// Drops every ICMP and ICMPv6 error that is forwarded or sent.
const NO_ERRORS: &str = "
table inet no_errors {
    chain errors {
        icmp type { destination-unreachable, time-exceeded, parameter-problem } counter drop
        icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } counter drop
    }
    chain forward { type filter hook forward priority 0; policy accept; jump errors; }
    chain output { type filter hook output priority 0; policy accept; jump errors; }
}
";
