use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Origin;

/// A policy rule: of IPv6 where it is for a source of IPv6, else of IPv4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Lower goes first.
    pub priority: u32,
    /// Which packets.
    pub selector: Selector,
    /// The table they look in.
    pub table: u32,
    /// Whether a default route found there counts as none, and a half of one too, as VPNs and a CLAT have
    /// them (`suppress_prefixlength 1`).
    #[serde(default)]
    pub no_default: bool,
    /// Who made it.
    #[serde(default)]
    pub origin: Origin,
}

/// Which packets a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selector {
    /// Those that came in by this device.
    Incoming(String),
    /// Those from this source.
    From(IpNet),
    /// Those that bear this mark (`fwmark`).
    Marked(u32),
    /// Something we never write.
    Other,
}
