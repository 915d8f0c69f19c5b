//! The other end of a tunnel as text, for a client to copy: with Straddle, or with what its system has.

mod ifupdown;
mod iproute2;
mod netplan;
mod networkd;
mod openwrt;
mod quote;
mod script;
mod straddle;

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use straddle_encap::Kind;

use crate::model::{Endpoint4, Host, Model, Tunnel6};
use crate::plan::HOP_LIMIT;

use quote::{comment, shell};

/// What a client has to know, and nothing of any other client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invitation<'a> {
    tunnel: &'a Tunnel6,
    server: &'a Host,
    client: &'a Host,
    server4: Ipv4Addr,
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
    /// A shell script with a batch of OpenWrt's `uci`.
    Openwrt,
}

/// One file of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Where it goes.
    pub path: String,
    /// Its permissions, as of chmod(2).
    pub mode: u32,
    /// What it has.
    pub text: String,
}

/// A client's complete configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handout {
    /// Its files; each says where it goes.
    pub pieces: Vec<Piece>,
    /// The command that brings the tunnel up once they are there.
    pub then: String,
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

    /// What it is, in words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Format::Straddle => "A file for Straddle itself",
            Format::Iproute2 => "A shell script of ip commands",
            Format::Netplan => "A YAML file of netplan",
            Format::Networkd => "The files of systemd-networkd",
            Format::Ifupdown => "A stanza of Debian's /etc/network/interfaces",
            Format::Openwrt => "A shell script with a batch of uci",
        }
    }

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

impl Handout {
    /// All of it as one text to copy: a file as it is, several as a shell script that writes them.
    #[must_use]
    pub fn text(&self) -> String {
        match self.pieces.as_slice() {
            [piece] => piece.text.clone(),
            pieces => script::writing(pieces, &self.then),
        }
    }
}

impl<'a> Invitation<'a> {
    /// The invitation to a tunnel, by its name, or else by its client's where that has one tunnel only.
    #[must_use]
    pub fn to(model: &'a Model, name: &str) -> Option<Invitation<'a>> {
        let tunnel = called(model, name)?;
        let host = |name: &str| model.hosts.iter().find(|host| host.name == name);
        let Endpoint4::Fixed(server4) = tunnel.server.endpoint else { return None };
        let (server, client) = (host(&tunnel.server.host)?, host(&tunnel.client.host)?);
        Some(Invitation { tunnel, server, client, server4 })
    }

    /// The tunnel's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.tunnel.name
    }

    /// Whether the server comes to know where a client of this format is.
    #[must_use]
    pub fn tells(&self, format: Format) -> bool {
        let tunnel = self.tunnel;
        self.client4().is_some()
            || if format == Format::Straddle { tunnel.update.is_some() } else { tunnel.http.is_some() }
    }

    /// The client's complete configuration.
    #[must_use]
    pub fn handout(&self, format: Format) -> Handout {
        match format {
            Format::Straddle => straddle::handout(self),
            Format::Iproute2 => iproute2::handout(self),
            Format::Netplan => netplan::handout(self),
            Format::Networkd => networkd::handout(self),
            Format::Ifupdown => ifupdown::handout(self),
            Format::Openwrt => openwrt::handout(self),
        }
    }

    /// The first lines of a text: whose it is, and where it goes.
    fn head(&self, place: &str) -> String {
        let mut head = format!("# {}: IPv6 through {}\n", comment(self.name()), self.server4);
        for line in place.lines() {
            head.push_str(&format!("# {}\n", comment(line)));
        }
        head.push_str(&format!("# IP protocol 41 has to come in from {}.\n", self.server4));
        head
    }

    /// How the client tells its endpoint, where that changes: by this command in front of user and URL.
    fn telling(&self, command: &str) -> String {
        let (None, Some(http)) = (self.client4(), &self.tunnel.http) else { return String::new() };
        let line = format!("{command}{} {}", shell(&http.user), shell(&http.url));
        format!(
            "# The server has to be told your address, again whenever it changes: by a DDNS\n\
            # client, or with\n#   {}\n# The key is what the server has in {}.\n",
            comment(&line),
            comment(&http.key_file.value)
        )
    }

    /// Where the tunnel ends at the client; none where that changes.
    fn client4(&self) -> Option<Ipv4Addr> {
        match self.tunnel.client.endpoint {
            Endpoint4::Fixed(address) => Some(address),
            Endpoint4::Follows => None,
        }
    }

    fn device(&self) -> &str {
        &self.tunnel.device
    }

    fn server6(&self) -> Ipv6Addr {
        self.tunnel.server6()
    }

    /// The client's address in the tunnel, with its prefix length.
    fn client6(&self) -> String {
        format!("{}/{}", self.tunnel.client6(), self.tunnel.link.prefix_len())
    }

    /// The largest packet in bytes, on a path of Ethernet where the file says nothing else.
    fn mtu(&self) -> u32 {
        let said = [self.tunnel.server.mtu, self.tunnel.client.mtu];
        let path = said.into_iter().flatten().fold(ETHERNET, u32::min);
        path - u32::from(Kind::Sit.overhead())
    }

    /// Networks of which a part may be nobody's: that goes nowhere, not back to the server.
    fn unassigned(&self) -> impl Iterator<Item = &Ipv6Net> {
        self.tunnel.routed.iter().filter(|net| net.prefix_len() < 128)
    }

    fn lan(&self) -> Option<Lan<'_>> {
        let network = self.tunnel.lan_network()?;
        Some(Lan { device: self.tunnel.lan.as_deref()?, network, mtu: self.mtu() })
    }
}

/// A routed /64 on a device of the client's.
struct Lan<'a> {
    device: &'a str,
    network: Ipv6Net,
    mtu: u32,
}

impl Lan<'_> {
    /// The client's address there, with the length of its prefix.
    fn address(&self) -> String {
        format!("{}/64", Ipv6Addr::from_bits(self.network.network().to_bits() | 1))
    }

    /// How hosts there come to have addresses, as comment lines.
    fn advertised(&self) -> String {
        format!(
            "# Hosts on {dev} get addresses once radvd advertises them; its radvd.conf:\n\
            #   interface {dev} {{\n#     AdvSendAdvert on; AdvLinkMTU {}; prefix {} {{ }};\n#   }};\n",
            self.mtu,
            self.network,
            dev = comment(self.device)
        )
    }
}

/// A host with a LAN forwards: the file that says so, and what reads it.
fn forwarding(it: &Invitation<'_>) -> (Piece, String) {
    let path = format!("/etc/sysctl.d/60-{}.conf", it.device());
    let reads = format!("sysctl -p {path}");
    let text = it.head(&format!("Goes to {path}\nThen: {reads}")) + &format!("{FORWARDING} = 1\n");
    (Piece { path, mode: 0o644, text }, reads)
}

fn called<'a>(model: &'a Model, name: &str) -> Option<&'a Tunnel6> {
    let named = model.tunnels6.iter().find(|tunnel| tunnel.name == name);
    let mut clients = model.tunnels6.iter().filter(|tunnel| tunnel.client.host == name);
    named.or_else(|| clients.next().filter(|_| clients.next().is_none()))
}

const NOWHERE: &str = "What is not in use of it goes nowhere, not back to the server.";
/// Asks for the key when it is run.
const CURL: &str = "curl -4 --user ";
const FORWARDING: &str = "net.ipv6.conf.all.forwarding";
/// MTU in bytes of a path of which nothing is said.
const ETHERNET: u32 = 1500;
