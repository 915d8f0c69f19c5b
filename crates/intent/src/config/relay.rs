use ipnet::{IpNet, Ipv6Net};

use crate::model::{Destination, Listen};

use super::section::{Reader, Section};
use super::{Spanned, endpoint, prefix, value};

/// `[[relay]]`: connections and datagrams that come to a port, carried on to a target of either family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Where the entry stands.
    pub span: std::ops::Range<usize>,
    /// Its own name, if it has one.
    pub name: Option<Spanned<String>>,
    /// The host that relays.
    pub host: Option<Spanned<String>>,
    /// Where it listens.
    pub listen: Vec<Spanned<Listen>>,
    /// Where what came to the first port of each goes.
    pub to: Option<Spanned<Destination>>,
    /// Whether the target gets a PROXY header, and of which version.
    pub proxy_protocol: Option<Spanned<ProxyVersion>>,
    /// Whose connections begin with a PROXY header.
    pub accept_proxy: Vec<Spanned<IpNet>>,
    /// What the target sees as the client's address.
    pub source: Option<Spanned<Source>>,
    /// The prefix for that.
    pub embed: Option<Spanned<Ipv6Net>>,
    /// Who may connect.
    pub allow: Vec<Spanned<IpNet>>,
    /// Private addresses that the target's name may have.
    pub allow_private: Vec<Spanned<IpNet>>,
    /// Most connections at once.
    pub max_connections: Option<Spanned<u32>>,
    /// Most connections of one client at once.
    pub max_per_source: Option<Spanned<u32>>,
    /// Seconds until the target has answered.
    pub connect_timeout: Option<Spanned<u32>>,
    /// Seconds in which nothing moves.
    pub idle_timeout: Option<Spanned<u32>>,
    /// The same with one side closed.
    pub half_close_timeout: Option<Spanned<u32>>,
    /// Seconds that connections have left once straddle ends.
    pub drain_time: Option<Spanned<u32>>,
    /// The keys that stand in the section, legal or not.
    pub keys: Vec<String>,
}

/// The version of the PROXY protocol that is sent. (Version 1 knows no UDP, and is a line to be searched for.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// The binary one.
    V2,
}

/// What the target sees as the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The relay's own.
    Own,
    /// The client's IPv4 address within an IPv6 prefix.
    Embed,
}

/// The keys of the section.
pub(super) const KEYS: &[&str] = &[
    "name",
    "host",
    "listen",
    "to",
    "proxy-protocol",
    "accept-proxy",
    "source",
    "embed",
    "allow",
    "allow-private",
    "max-connections",
    "max-per-source",
    "connect-timeout",
    "idle-timeout",
    "half-close-timeout",
    "drain-time",
];
const VERSIONS: &[(&str, ProxyVersion)] = &[("v2", ProxyVersion::V2)];
const SOURCES: &[(&str, Source)] = &[("own", Source::Own), ("embed", Source::Embed)];
/// A day, in seconds.
const DAY: u32 = 86_400;

pub(super) fn read(reader: &mut Reader, section: &Section<'_>) -> Relay {
    // A required key may also be a list; what lacks it altogether is told by `required`.
    let listed = section.keys().iter().any(|key| key == "listen");
    if !listed {
        section.required(reader, "listen", "\"tcp4/443\"", endpoint::listen);
    }
    Relay {
        span: section.span.clone(),
        name: section.optional(reader, "name", value::word_of_a_relay),
        host: section.required(reader, "host", "\"NAME\", the host that relays", value::word),
        listen: section.list(reader, "listen", endpoint::listen),
        to: section.required(reader, "to", "\"[2001:db8::10]:443\", where it goes", endpoint::destination),
        proxy_protocol: section.choice(reader, "proxy-protocol", VERSIONS),
        accept_proxy: section.distinct(reader, "accept-proxy", prefix::network),
        source: section.choice(reader, "source", SOURCES),
        embed: section.optional(reader, "embed", endpoint::embedding),
        allow: section.distinct(reader, "allow", prefix::network),
        allow_private: section.distinct(reader, "allow-private", prefix::network),
        max_connections: section.number(reader, "max-connections", 1..=10_000_000),
        max_per_source: section.number(reader, "max-per-source", 1..=10_000_000),
        connect_timeout: section.number(reader, "connect-timeout", 1..=600),
        idle_timeout: section.number(reader, "idle-timeout", 1..=30 * DAY),
        half_close_timeout: section.number(reader, "half-close-timeout", 1..=30 * DAY),
        drain_time: section.number(reader, "drain-time", 0..=DAY),
        keys: section.keys(),
    }
}
