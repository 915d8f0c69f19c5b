use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Origin, Raw};

/// An address on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The device.
    pub dev: String,
    /// Address and prefix length.
    pub net: IpNet,
    /// Who made it.
    #[serde(default)]
    pub origin: Origin,
    /// Whether nothing new is to come from it: its network's router has let its preferred lifetime run out
    /// (RFC 4862 §5.5.4).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deprecated: bool,
    /// As the kernel told it.
    #[serde(default, skip_serializing_if = "Raw::is_empty")]
    pub raw: Raw,
}

impl Address {
    /// One of ours.
    pub fn ours(dev: &str, net: IpNet) -> Address {
        let (origin, raw) = (Origin::Straddle, Raw::default());
        Address { dev: dev.into(), net, origin, deprecated: false, raw }
    }

    /// Whether both are the same address on the same device.
    pub fn same_as(&self, other: &Address) -> bool {
        self.dev == other.dev && self.net == other.net
    }
}
