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
    /// Whether it is never chosen as a source while the host has another (a preferred lifetime of 0).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deprecated: bool,
    /// Whether it changes by itself, for privacy (RFC 8981).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub temporary: bool,
    /// Who made it.
    #[serde(default)]
    pub origin: Origin,
    /// As the kernel told it.
    #[serde(default, skip_serializing_if = "Raw::is_empty")]
    pub raw: Raw,
}

impl Address {
    /// An address of ours.
    pub fn ours(dev: &str, net: IpNet) -> Address {
        let (origin, raw) = (Origin::Straddle, Raw::default());
        Address { dev: dev.into(), net, deprecated: false, temporary: false, origin, raw }
    }

    /// Whether both are the same address on the same device.
    pub fn same_as(&self, other: &Address) -> bool {
        self.dev == other.dev && self.net == other.net
    }
}
