//! What a lab has measured, as data and as a page.

mod page;

use serde::Serialize;

use crate::LabError;
use crate::host::Host;
use crate::probe::{Hop, Load, Ping, Throughput, ping, throughput, trace};
use crate::state::HostState;
use crate::switch::Frames;
use crate::world::{BORROWED, CLIENT, World};

/// The result of a lab. Its `Display` is a page of at most 80 columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was tried, in a line.
    pub title: String,
    /// The topology, drawn.
    #[serde(skip)]
    pub drawing: &'static str,
    /// Traffic with whoever has the address, before and after it moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<BeforeAfter>,
    /// The attempts of the variant that does not work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Every check, in the order made.
    pub checks: Vec<Check>,
    /// What a reader should know besides.
    pub notes: Vec<String>,
    /// How to enter and to remove a world that was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

impl Report {
    /// Whether every check is good.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

/// One statement, whether it holds, and what was measured to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The statement.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was measured.
    pub measured: String,
    /// What the same measurement gave before `up`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl Check {
    /// A check.
    pub fn new(name: impl Into<String>, ok: bool, measured: impl Into<String>) -> Check {
        Check { name: name.into(), ok, measured: measured.into(), before: None }
    }

    /// Nothing of the kernel's state may differ from what it was.
    pub(crate) fn unchanged(before: &HostState, host: &Host) -> Result<Check, LabError> {
        let changes = before.difference(&HostState::read(host)?);
        let name = format!("down leaves no trace on the {}", host.name());
        let measured = if changes.is_empty() { "nothing differs".into() } else { changes.join("\n") };
        Ok(Check::new(name, changes.is_empty(), measured))
    }
}

/// Two measurements of the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BeforeAfter {
    /// With the lender, before `up`.
    pub before: Traffic,
    /// With the borrower, after `up`.
    pub after: Traffic,
}

/// Traffic between the client and the host that has the address.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Traffic {
    /// The host that has the address.
    pub host: &'static str,
    /// From the client to the address.
    pub ping: Ping,
    /// From the client to the address.
    pub hops: Vec<Hop>,
    /// From the client to the address.
    pub tcp_to: Option<Throughput>,
    /// From the address to the client.
    pub tcp_from: Option<Throughput>,
    /// From the client to the address.
    pub udp_to: Option<Throughput>,
    /// From the address to the client.
    pub udp_from: Option<Throughput>,
}

impl Traffic {
    /// Measures it; takes about five seconds.
    pub(crate) fn measure(world: &World, host: &Host) -> Result<Traffic, LabError> {
        let to = |load| throughput(&world.client, host, BORROWED.into(), load, world.directory());
        let from = |load| throughput(host, &world.client, CLIENT.into(), load, world.directory());
        Ok(Traffic {
            host: host.name(),
            ping: ping(&world.client, BORROWED.into(), 20)?,
            hops: trace(&world.client, BORROWED.into())?,
            tcp_to: to(Load::Tcp)?,
            tcp_from: from(Load::Tcp)?,
            udp_to: to(Load::Udp)?,
            udp_from: from(Load::Udp)?,
        })
    }
}

/// One attempt to bridge the borrower into the lender's network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attempt {
    /// What is special about it.
    pub name: &'static str,
    /// From the client to the borrowed address.
    pub ping: Ping,
    /// Whether the gateway found a link-layer address for it.
    pub resolved: Option<String>,
    /// Frames that the switch saw on the lender's port.
    pub frames: Frames,
    /// Packets to the borrowed address that the lender's bridge sent on into the carrier.
    pub to_carrier: u64,
    /// Packets to the borrowed address that the lender's bridge kept for the lender itself.
    pub to_lender: u64,
}

/// A world that was left standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The command that enters each namespace.
    pub enter: Vec<String>,
    /// The command that takes everything away.
    pub remove: String,
}

impl Kept {
    /// Leaves the world standing.
    pub(crate) fn keep(world: World) -> Result<Kept, LabError> {
        let enter = Kept::ways_in(world.hosts());
        Ok(Kept { enter, remove: world.keep()? })
    }

    /// The commands that enter hosts.
    pub(crate) fn ways_in<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> Vec<String> {
        let enter = |host: &Host| format!("sudo ip netns exec {} bash", host.namespace());
        hosts.into_iter().map(enter).collect()
    }
}
