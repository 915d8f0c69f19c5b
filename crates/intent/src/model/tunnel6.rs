mod http;
mod keys;
mod networks;
mod ring;
mod server;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ipnet::Ipv6Net;

use crate::config::{self, Config, Diagnostic, EndpointWord4};

use super::host::{find, lacks};
use super::{UPDATE_PORT, Update};

pub use http::{HttpServer, HttpUpdate};
pub(super) use http::{hears as hears_http, servers as http_servers};

use networks::Links;

/// A host that has the IPv6 of another one, through a tunnel over IPv4. All that the client's side needs to
/// know is in here, and nothing of any other client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel6 {
    /// The bridge's name.
    pub name: String,
    /// The device at the client.
    pub device: String,
    /// The kernel's own device at the server, where it is one for this client alone.
    pub server_device: String,
    /// Who has IPv6.
    pub server: End4,
    /// Who gets it.
    pub client: End4,
    /// The tunnel's two addresses, 127 bits.
    pub link: Ipv6Net,
    /// Networks of the server's of which nobody has what no client has.
    pub pool: Vec<Ipv6Net>,
    /// The client's networks.
    pub routed: Vec<Ipv6Net>,
    /// The client's device that one of them lives on.
    pub lan: Option<String>,
    /// How a straddle at the client tells the server its endpoint, where that changes.
    pub update: Option<Update>,
    /// How anything else at the client tells it.
    pub http: Option<HttpUpdate>,
    /// Where the entry stands in the file.
    pub span: Range<usize>,
    /// Where each of `routed` stands.
    pub routed_at: Vec<Range<usize>>,
}

/// One end of a tunnel over IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End4 {
    /// The host's name.
    pub host: String,
    /// Its device to the internet.
    pub uplink: String,
    /// Where the tunnel ends.
    pub endpoint: Endpoint4,
    /// MTU of its path in bytes, where the file says one.
    pub mtu: Option<u32>,
}

/// Where a tunnel over IPv4 ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint4 {
    /// At this address.
    Fixed(Ipv4Addr),
    /// At whatever address the uplink has.
    Follows,
}

impl Tunnel6 {
    /// The server's address in the tunnel.
    #[must_use]
    pub fn server6(&self) -> Ipv6Addr {
        self.link.network()
    }

    /// The client's.
    #[must_use]
    pub fn client6(&self) -> Ipv6Addr {
        self.link.broadcast()
    }

    /// All that the client may send from (BCP 38), and all that leads to it.
    #[must_use]
    pub fn owned(&self) -> Vec<Ipv6Net> {
        std::iter::once(self.client6().into()).chain(self.routed.iter().copied()).collect()
    }

    /// The /64 that the client's `lan` gets its address of: the first one.
    #[must_use]
    pub fn lan_network(&self) -> Option<Ipv6Net> {
        let room = self.routed.iter().find(|net| net.prefix_len() <= 64)?;
        Ipv6Net::new(room.addr(), 64).ok()
    }
}

/// Every legal `[[tunnel6]]` of the file; what is illegal goes to `found`.
pub(super) fn build(config: &Config, found: &mut Vec<Diagnostic>) -> Vec<Tunnel6> {
    let hosts = config.hosts.iter().map(|host| (host.name.value.as_str(), host)).collect();
    let mut links = Links::given(config);
    let links: Vec<Option<Ipv6Net>> = config.tunnels6.iter().map(|entry| links.of(entry, found)).collect();
    let entries = config.tunnels6.iter().zip(&links);
    let tunnels = entries.filter_map(|(entry, link)| one(config, &hosts, entry, *link, found)).collect();
    same_ends(config, found);
    ring::check(config, found);
    keys::check(config, found);
    networks::check(config, &hosts, &links, found);
    server::check(config, found);
    tunnels
}

type Hosts<'a> = HashMap<&'a str, &'a config::Host>;

fn one(
    config: &Config,
    hosts: &Hosts<'_>,
    entry: &config::Tunnel6,
    link: Option<Ipv6Net>,
    found: &mut Vec<Diagnostic>,
) -> Option<Tunnel6> {
    let mut known = |name: Option<&config::Spanned<String>>| {
        let host = hosts.get(name?.value.as_str()).copied();
        host.or_else(|| find(config, name, found))
    };
    let (server, client) = (known(entry.server.as_ref()), known(entry.client.as_ref()));
    if let (Some(server), Some(client)) = (&entry.server, &entry.client)
        && server.value == client.value
    {
        let help = "name the host that lacks IPv6";
        found.push(Diagnostic::new(client.span.clone(), "a host can't be its own client", help));
    }
    let http = http::update(entry, server, found);
    let update = update(entry, server, found);
    let lan = lan(entry, found);
    let word = endpoint_word(entry);
    let ends = (
        server.and_then(|host| end(host, Some(EndpointWord4::Fixed), found)),
        client.and_then(|host| end(host, word, found)),
    );
    Some(Tunnel6 {
        name: name(entry)?,
        device: device("st-", entry)?,
        server_device: device("s6-", entry)?,
        server: ends.0?,
        client: ends.1?,
        link: link?,
        pool: entry.pool.iter().map(|net| net.value).collect(),
        routed: entry.routed.iter().map(|net| net.value).collect(),
        lan: lan?,
        update: update?,
        http: http?,
        span: entry.span.clone(),
        routed_at: entry.routed.iter().map(|net| net.span.clone()).collect(),
    })
}

/// Where the tunnel ends at the client; none where the file has a word for it that was refused.
fn endpoint_word(entry: &config::Tunnel6) -> Option<EndpointWord4> {
    let written = entry.keys.iter().any(|key| key == "client-endpoint");
    let word = entry.client_endpoint.as_ref().map(|word| word.value);
    word.or((!written).then_some(EndpointWord4::Fixed))
}

fn end(host: &config::Host, word: Option<EndpointWord4>, found: &mut Vec<Diagnostic>) -> Option<End4> {
    let endpoint = match word? {
        EndpointWord4::Dynamic => Some(Endpoint4::Follows),
        EndpointWord4::Fixed => {
            let example = "\"198.51.100.7/24\", its public address (a client's that changes: client-endpoint = \
                           \"dynamic\")";
            lacks(host, "ipv4", "the tunnel ends there", example, found);
            host.ipv4.first().map(|net| Endpoint4::Fixed(net.value.addr()))
        }
    };
    Some(End4 {
        host: host.name.value.clone(),
        uplink: host.uplink.as_ref()?.value.clone(),
        endpoint: endpoint?,
        mtu: host.mtu.as_ref().map(|mtu| mtu.value),
    })
}

/// `Some(None)`: the client's endpoint does not change, or is told by HTTP alone.
fn update(
    entry: &config::Tunnel6,
    server: Option<&config::Host>,
    found: &mut Vec<Diagnostic>,
) -> Option<Option<Update>> {
    if endpoint_word(entry)? == EndpointWord4::Fixed {
        let unused = [
            ("key-file", entry.key_file.as_ref().map(|key| &key.span)),
            ("update-port", entry.update_port.as_ref().map(|port| &port.span)),
            ("update-key-file", entry.update_key_file.as_ref().map(|key| &key.span)),
        ];
        for (key, span) in unused.into_iter().filter_map(|(key, span)| Some((key, span?))) {
            let help = format!("leave `{key}` out, or write client-endpoint = \"dynamic\"");
            let message = format!("`{key}` has no use: no endpoint changes");
            found.push(Diagnostic::new(span.clone(), message, help));
        }
        return Some(None);
    };
    let written = |key: &str| entry.keys.iter().any(|word| word == key);
    if !written("key-file") && written("update-key-file") {
        if let Some(port) = &entry.update_port {
            let help = "leave it out, or add the `key-file` that signed updates need";
            let message = "`update-port` has no use: the endpoint is told by HTTP alone";
            found.push(Diagnostic::new(port.span.clone(), message, help));
        }
        return Some(None);
    }
    if !written("key-file") {
        found.push(Diagnostic::new(
            entry.client_endpoint.as_ref()?.span.clone(),
            "an endpoint that changes needs `key-file`: whoever knew no secret could take the tunnel over",
            "add key-file = \"/etc/straddle/box.key\"; `straddle key` makes one for both hosts (update-key-file, \
             for a client that tells it by HTTP)",
        ));
    }
    let port = entry.update_port.as_ref().and_then(|port| u16::try_from(port.value).ok());
    Some(Some(Update {
        server: server?.ipv4.first()?.value.addr().into(),
        port: port.unwrap_or(UPDATE_PORT),
        key_file: entry.key_file.clone()?,
    }))
}

/// `Some(None)`: no device was asked for.
fn lan(entry: &config::Tunnel6, found: &mut Vec<Diagnostic>) -> Option<Option<String>> {
    let Some(lan) = &entry.lan else { return Some(None) };
    if !entry.routed.iter().any(|net| net.value.prefix_len() <= 64) {
        found.push(Diagnostic::new(
            lan.span.clone(),
            "`lan` needs a network of 64 bits or less in `routed`: hosts make their addresses in a /64",
            "add routed = [\"2001:db8:1:100::/64\"], or leave `lan` out",
        ));
        return None;
    }
    Some(Some(lan.value.clone()))
}

pub(super) fn name(entry: &config::Tunnel6) -> Option<String> {
    let own = entry.name.as_ref().map(|name| name.value.clone());
    own.or_else(|| Some(format!("tunnel6-{}", entry.client.as_ref()?.value)))
}

/// Named as the bridge, or by a number made of the hosts' names (FNV-1a).
pub(super) fn device(begin: &str, entry: &config::Tunnel6) -> Option<String> {
    if let Some(name) = &entry.name {
        return Some(format!("{begin}{}", name.value));
    }
    let words = [entry.server.as_ref()?.value.as_bytes(), b"\0", entry.client.as_ref()?.value.as_bytes()];
    let fold = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    Some(format!("{begin}{:08x}", words.concat().iter().fold(0x811c_9dc5, fold)))
}

/// Packets of protocol 41 have nothing but their addresses to be told apart by.
fn same_ends(config: &Config, found: &mut Vec<Diagnostic>) {
    let mut ends: HashMap<(&str, &str), &config::Tunnel6> = HashMap::new();
    for entry in &config.tunnels6 {
        let (Some(server), Some(client)) = (&entry.server, &entry.client) else { continue };
        let other = *ends.entry((&server.value, &client.value)).or_insert(entry);
        if std::ptr::eq(other, entry) {
            continue;
        }
        let [one, two] = [other, entry].map(|entry| name(entry).unwrap_or_default());
        found.push(Diagnostic::new(
            client.span.clone(),
            format!("{one} and {two} would have the same tunnel: same server, same endpoint"),
            "list all networks in one entry: routed = [\"2001:db8:1:100::/64\", \"2001:db8:1:200::/64\"]",
        ));
    }
}
