use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr as _;

use ipnet::Ipv6Net;

use super::section::{Reader, Section};
use super::value::{self, Complaint, complain};
use super::{Spanned, prefix, update_url};

/// `[[tunnel6]]`: a host without IPv6 has that of another one, through a tunnel over IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel6 {
    /// Where the entry stands.
    pub span: Range<usize>,
    /// Its own name, if it has one.
    pub name: Option<Spanned<String>>,
    /// The name of the host that has IPv6.
    pub server: Option<Spanned<String>>,
    /// The name of the host that gets it.
    pub client: Option<Spanned<String>>,
    /// The two addresses of the tunnel: the server's, then the client's.
    pub link: Option<Spanned<Ipv6Net>>,
    /// Networks of the server's that links are counted out of, and of which nobody has the rest.
    pub pool: Vec<Spanned<Ipv6Net>>,
    /// Networks that are the client's.
    pub routed: Vec<Spanned<Ipv6Net>>,
    /// Where the tunnel ends at the client.
    pub client_endpoint: Option<Spanned<EndpointWord4>>,
    /// The file with the key that updates of the endpoint are signed with.
    pub key_file: Option<Spanned<String>>,
    /// The UDP port that the server hears updates at.
    pub update_port: Option<Spanned<u32>>,
    /// The user that the client names when it tells its endpoint by HTTP.
    pub update_user: Option<Spanned<String>>,
    /// What it calls the tunnel then.
    pub update_hostname: Option<Spanned<String>>,
    /// The file with the key that goes with the user.
    pub update_key_file: Option<Spanned<String>>,
    /// The client's device that a routed network lives on.
    pub lan: Option<Spanned<String>>,
    /// The keys that stand in the entry, legal or not.
    pub keys: Vec<String>,
}

/// Where a tunnel over IPv4 ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointWord4 {
    /// At the host's `ipv4`.
    Fixed,
    /// At whatever address the host's uplink has; the host tells the other end.
    Dynamic,
}

/// The keys of the section.
pub(super) const KEYS: &[&str] = &[
    "name",
    "server",
    "client",
    "link",
    "pool",
    "routed",
    "client-endpoint",
    "key-file",
    "update-port",
    "update-user",
    "update-hostname",
    "update-key-file",
    "lan",
];
const ENDPOINTS: &[(&str, EndpointWord4)] =
    &[("fixed", EndpointWord4::Fixed), ("dynamic", EndpointWord4::Dynamic)];

pub(super) fn read(reader: &mut Reader, section: &Section<'_>) -> Tunnel6 {
    Tunnel6 {
        span: section.span.clone(),
        name: section.optional(reader, "name", value::bridge_name),
        server: section.required(reader, "server", "\"NAME\", the host that has IPv6", value::word),
        client: section.required(reader, "client", "\"NAME\", the host that gets it", value::word),
        link: section.optional(reader, "link", link),
        pool: section.distinct(reader, "pool", network),
        routed: section.list(reader, "routed", network),
        client_endpoint: section.choice(reader, "client-endpoint", ENDPOINTS),
        key_file: section.optional(reader, "key-file", value::path),
        update_port: section.number(reader, "update-port", 1..=65535),
        update_user: section.optional(reader, "update-user", update_url::user),
        update_hostname: section.optional(reader, "update-hostname", update_url::hostname),
        update_key_file: section.optional(reader, "update-key-file", value::path),
        lan: section.optional(reader, "lan", value::device),
        keys: section.keys(),
    }
}

/// `2001:db8:1::2/127`: the server has the address as written, the client the next one.
fn link(word: &str) -> Result<Ipv6Net, Complaint> {
    let example = "write it like \"2001:db8:1::2/127\": the server has ::2, the client ::3";
    let Ok(net) = Ipv6Net::from_str(word) else {
        return match IpAddr::from_str(word) {
            Ok(IpAddr::V6(address)) => complain(format!("`{word}` lacks its prefix length"), pair(address)),
            Ok(IpAddr::V4(_)) | Err(_) => {
                complain(format!("`{word}` is not a pair of IPv6 addresses"), example)
            }
        };
    };
    if net.prefix_len() != 127 {
        return complain(
            format!("`{word}` is not a pair of addresses: a link has 127 bits (RFC 6164)"),
            pair(net.addr()),
        );
    }
    if net != net.trunc() {
        return complain(format!("`{word}` begins with the second address of its pair"), pair(net.addr()));
    }
    of_hosts(net, word)
}

fn pair(address: Ipv6Addr) -> String {
    let net = Ipv6Net::new(address, 127).unwrap_or_else(|_| address.into()).trunc();
    format!("write \"{net}\": the server has {}, the client {}", net.network(), net.broadcast())
}

/// A network that clients can have addresses of.
pub(super) fn network(word: &str) -> Result<Ipv6Net, Complaint> {
    let net = prefix::network6(word)?;
    if net.prefix_len() < 16 {
        return complain(
            format!("`{word}` is larger than anything that is routed to a host"),
            "write the network that you were given, such as \"2001:db8:1::/48\"",
        );
    }
    of_hosts(net, word)
}

/// Networks with a meaning of their own are no client's.
fn of_hosts(net: Ipv6Net, word: &str) -> Result<Ipv6Net, Complaint> {
    let why = match net.addr().segments() {
        [0x2002, ..] => "6to4 (RFC 7526 has ended it)",
        [0x2001, 0, ..] => "Teredo",
        [0x64, 0xff9b, ..] => "IPv4 translated (RFC 6052)",
        [first, ..] if first & 0xe000 == 0x2000 || first & 0xfe00 == 0xfc00 => return Ok(net),
        [0xfe80..=0xfebf, ..] => "link-local addresses",
        [0xff00..=0xffff, ..] => "multicast",
        _ => "a range that nobody was given",
    };
    complain(format!("`{word}` is {why}"), "write a network that is routed to the server")
}
