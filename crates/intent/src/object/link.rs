use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use straddle_encap::Kind;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name, 1 to 15 characters.
    pub name: String,
    /// What kind it is.
    pub kind: LinkKind,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// The bridge whose mark it bears (`ifalias straddle:BRIDGE`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// A multi-queue tun device with packet information off and virtio headers on, persistent.
    Tun,
    /// One of the kernel's tunnel devices.
    Tunnel(Tunnel),
    /// Anything else, by the kernel's word for it.
    Other(String),
}

/// A tunnel device of the kernel, with every setting that matters to a carrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its format on the wire.
    pub format: Format,
    /// Our outer address.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// Hop limit or TTL of outer packets; 0 copies the inner one.
    pub hop_limit: u8,
    /// Whether the inner traffic class becomes the outer one (RFC 2983, RFC 6040).
    pub copy_class: bool,
    /// The tunnel encapsulation limit of outer packets (RFC 2473 §4.1.1); none sends no such option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encap_limit: Option<u8>,
}

/// The formats that the kernel has devices for: [`Kind`] as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// GRE in IPv6.
    Ip6gre {
        /// The GRE key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<u32>,
    },
    /// IPv4 in IPv6.
    Ip4ip6,
    /// IPv6 in IPv4.
    Sit,
}

impl From<Kind> for Format {
    fn from(kind: Kind) -> Format {
        match kind {
            Kind::Ip6gre { key } => Format::Ip6gre { key },
            Kind::Ip4ip6 => Format::Ip4ip6,
            Kind::Sit => Format::Sit,
        }
    }
}

impl Format {
    /// The word of `ip link add type`.
    pub fn word(self) -> &'static str {
        match self {
            Format::Ip6gre { .. } => "ip6gre",
            Format::Ip4ip6 => "ip6tnl",
            Format::Sit => "sit",
        }
    }
}

impl LinkKind {
    /// Whether a device of the other kind can be turned into this one without being made anew.
    pub fn may_become(&self, other: &LinkKind) -> bool {
        match (self, other) {
            (LinkKind::Tun, LinkKind::Tun) => true,
            (LinkKind::Tunnel(one), LinkKind::Tunnel(other)) => one.format.word() == other.format.word(),
            (LinkKind::Tun | LinkKind::Tunnel(_) | LinkKind::Other(_), _) => false,
        }
    }
}
