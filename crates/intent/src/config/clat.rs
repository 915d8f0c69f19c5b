use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use ipnet::Ipv6Net;

use crate::model::Prefix64;

use super::section::{Reader, Section};
use super::{Spanned, Translation, prefix, translation, value};

/// `[[clat]]`: IPv4 for the programs of an IPv6-only host (RFC 6877).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clat {
    /// Where the entry stands.
    pub span: std::ops::Range<usize>,
    /// Its own name, if it has one.
    pub name: Option<Spanned<String>>,
    /// The host that has it.
    pub host: Option<Spanned<String>>,
    /// The NAT64's prefix; discovered when left out.
    pub prefix64: Option<Spanned<Prefix64>>,
    /// The IPv6 address that the host's IPv4 packets get.
    pub address6: Option<Spanned<Ipv6Addr>>,
    /// The prefix that such an address is chosen from.
    pub prefix6: Option<Spanned<Ipv6Net>>,
    /// The IPv4 address that programs see as the host's.
    pub address4: Option<Spanned<Ipv4Addr>>,
    /// The resolvers that are asked for the prefix; the host's own when left out.
    pub dns64: Vec<Spanned<Ipv6Addr>>,
    /// A service that is tried through each of several prefixes.
    pub probe4: Option<Spanned<SocketAddrV4>>,
    /// MTU of the IPv6 side, in bytes.
    pub mtu6: Option<Spanned<u32>>,
    /// What every translator has.
    pub translation: Translation,
}

/// The keys of the section.
pub(super) const KEYS: &[&str] = &[
    "name",
    "host",
    "prefix64",
    "address6",
    "prefix6",
    "address4",
    "dns64",
    "probe4",
    "mtu6",
    "lowest-ipv6-mtu",
    "udp-zero-checksum",
    "mtu-plateaus",
    "traffic-class",
    "fast-path",
];

pub(super) fn read(reader: &mut Reader, section: &Section<'_>) -> Clat {
    Clat {
        span: section.span.clone(),
        name: section.optional(reader, "name", value::bridge_name),
        host: section.required(reader, "host", "\"NAME\", the host that shall have IPv4", value::word),
        prefix64: section.optional(reader, "prefix64", prefix::prefix64),
        address6: section.optional(reader, "address6", value::ipv6),
        prefix6: section.optional(reader, "prefix6", prefix::network6),
        address4: section.optional(reader, "address4", value::ipv4),
        dns64: section.distinct(reader, "dns64", value::resolver6),
        probe4: section.optional(reader, "probe4", value::socket4),
        mtu6: section.number(reader, "mtu6", 1280..=65535),
        translation: translation::read(reader, section),
    }
}
