use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Origin, Raw};

/// An entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The device.
    pub dev: String,
    /// The neighbour's address, or the one we answer for.
    pub address: IpAddr,
    /// What the entry does.
    pub kind: NeighbourKind,
    /// Who made it.
    #[serde(default)]
    pub origin: Origin,
    /// As the kernel told it.
    #[serde(default, skip_serializing_if = "Raw::is_empty")]
    pub raw: Raw,
}

/// What a neighbour entry does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighbourKind {
    /// Answers for the address on this device.
    Proxy,
    /// Holds the link-layer address for good.
    Permanent(LinkAddress),
    /// Learnt, and forgotten again.
    Learnt(LinkAddress),
}

/// A link-layer address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkAddress(pub Vec<u8>);

impl fmt::Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl Neighbour {
    /// Whether the entry outlives silence, so that it is worth bringing back.
    pub fn lasts(&self) -> bool {
        match self.kind {
            NeighbourKind::Proxy | NeighbourKind::Permanent(_) => true,
            NeighbourKind::Learnt(_) => false,
        }
    }

    /// Whether both are the same entry.
    pub fn same_as(&self, other: &Neighbour) -> bool {
        self.dev == other.dev && self.address == other.address && self.kind == other.kind
    }

    /// The link-layer address that it knows.
    pub fn link_address(&self) -> Option<&LinkAddress> {
        match &self.kind {
            NeighbourKind::Proxy => None,
            NeighbourKind::Permanent(address) | NeighbourKind::Learnt(address) => Some(address),
        }
    }
}
