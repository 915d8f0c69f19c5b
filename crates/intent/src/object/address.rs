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
    /// As the kernel told it.
    #[serde(default, skip_serializing_if = "Raw::is_empty")]
    pub raw: Raw,
}

impl Address {
    /// Whether both are the same address on the same device.
    pub fn same_as(&self, other: &Address) -> bool {
        self.dev == other.dev && self.net == other.net
    }
}
