//! The other end of a tunnel as text, for a client to copy: with Straddle, or with what its system has.

mod ifupdown;
mod iproute2;
mod netplan;
mod networkd;
mod openwrt;
mod straddle;

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// What a client has to know, and nothing of any other client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invitation {
    /// The bridge's name.
    pub name: String,
    /// Where the tunnel ends at the server.
    pub server4: Ipv4Addr,
    /// Where it ends at the client; none where that changes.
    pub client4: Option<Ipv4Addr>,
    /// The server's address within the tunnel.
    pub server6: Ipv6Addr,
    /// The client's.
    pub client6: Ipv6Addr,
    /// Length of the prefix that both have, in bits.
    pub prefix_len: u8,
    /// Networks that are the client's.
    pub routed: Vec<Ipv6Net>,
    /// Of the tunnel, in bytes.
    pub mtu: u32,
    /// Of outer packets.
    pub hop_limit: u8,
    /// The tunnel's device.
    pub device: String,
    /// Where one of the routed networks lives.
    pub lan: Option<Lan>,
    /// How the client tells its endpoint.
    pub update: Option<Update>,
}

/// A routed network on a device of the client's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lan {
    /// The device.
    pub device: String,
    /// The network, of which the client takes the first address.
    pub network: Ipv6Net,
}

/// How an endpoint that changes is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Update {
    /// By a running Straddle, with the key in this file.
    Signed {
        /// The key's file at the client.
        key_file: String,
    },
    /// By HTTP, as to the well-known broker. The key itself is not written down here.
    Http {
        /// All of it, such as `https://vps.example/nic/update?hostname=box`.
        url: String,
        /// The user that goes with the key.
        user: String,
    },
}

/// A form of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// A Straddle file.
    Straddle,
    /// A shell script of `ip` commands.
    Iproute2,
    /// netplan's YAML.
    Netplan,
    /// systemd-networkd's files.
    Networkd,
    /// Stanzas of Debian's `/etc/network/interfaces`.
    Ifupdown,
    /// A batch of OpenWrt's `uci`.
    Openwrt,
}

/// One file of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Where it goes.
    pub path: String,
    /// What it has.
    pub text: String,
}

impl Format {
    /// Each of them.
    pub const ALL: &[Format] = &[
        Format::Straddle,
        Format::Iproute2,
        Format::Netplan,
        Format::Networkd,
        Format::Ifupdown,
        Format::Openwrt,
    ];

    /// The word that chooses it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Format::Straddle => "straddle",
            Format::Iproute2 => "iproute2",
            Format::Netplan => "netplan",
            Format::Networkd => "networkd",
            Format::Ifupdown => "ifupdown",
            Format::Openwrt => "openwrt",
        }
    }
}

impl Invitation {
    /// The client's complete configuration; each text says where it goes.
    #[must_use]
    pub fn pieces(&self, format: Format) -> Vec<Piece> {
        match format {
            Format::Straddle => vec![straddle::file(self)],
            Format::Iproute2 => vec![iproute2::script(self)],
            Format::Netplan => vec![netplan::file(self)],
            Format::Networkd => networkd::files(self),
            Format::Ifupdown => vec![ifupdown::stanzas(self)],
            Format::Openwrt => vec![openwrt::batch(self)],
        }
    }

    /// The first lines of a text.
    fn head(&self, place: &str) -> String {
        let mut head = format!("# {}: IPv6 through {}\n# {place}\n", self.name, self.server4);
        if let (None, Some(Update::Http { url, user })) = (self.client4, &self.update) {
            head.push_str(&format!(
                "# The server has to be told your address, again whenever it changes; by a DDNS client, or with:\n\
                #   curl --user {user} '{url}'\n"
            ));
        }
        head
    }

    fn client(&self) -> String {
        format!("{}/{}", self.client6, self.prefix_len)
    }
}

impl Lan {
    /// The client's address there, with the length of its prefix.
    fn address(&self) -> String {
        let network = self.network.network().to_bits();
        // A single address is that of its network.
        let first = if self.network.prefix_len() < 127 { network | 1 } else { network };
        format!("{}/{}", Ipv6Addr::from_bits(first), self.network.prefix_len())
    }
}
