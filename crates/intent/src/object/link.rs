use serde::{Deserialize, Serialize};

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
    /// Anything else, by the kernel's word for it.
    Other(String),
}
