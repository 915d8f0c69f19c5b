use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use straddle_xlat::Hairpin;
use straddle_xlat::eam::Mapping;
use straddle_xlat::rfc6052::Prefix;

use super::section::{Reader, Section};
use super::value::{Complaint, complain};
use super::{Spanned, Translation, prefix, translation, value};

/// `[[siit]]`: a stateless translator between an IPv6 and an IPv4 network (RFC 7915).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Siit {
    /// Where the entry stands.
    pub span: std::ops::Range<usize>,
    /// Its own name, if it has one.
    pub name: Option<Spanned<String>>,
    /// The host that translates.
    pub host: Option<Spanned<String>>,
    /// RFC 6052 prefixes.
    pub pool6: Vec<Spanned<Prefix>>,
    /// Explicit address mappings (RFC 7757).
    pub eam: Vec<Spanned<Mapping>>,
    /// The translator's own IPv4 address.
    pub own4: Option<Spanned<Ipv4Addr>>,
    /// The translator's own IPv6 address.
    pub own6: Option<Spanned<Ipv6Addr>>,
    /// Sources for ICMPv6 errors whose own can't be translated (RFC 6791).
    pub rfc6791v4: Option<Spanned<Ipv4Net>>,
    /// Sources for ICMPv4 errors whose own can't be translated.
    pub rfc6791v6: Option<Spanned<Ipv6Net>>,
    /// MTU of the IPv4 side, in bytes.
    pub mtu4: Option<Spanned<u32>>,
    /// MTU of the IPv6 side, in bytes.
    pub mtu6: Option<Spanned<u32>>,
    /// What becomes of packets between two mapped hosts.
    pub hairpin: Option<Spanned<Hairpin>>,
    /// Whether private IPv4 addresses may stand in 64:ff9b::/96.
    pub private_through_well_known: Option<Spanned<bool>>,
    /// Devices whose packets take one step past both passes through the host.
    pub direct: Vec<Spanned<String>>,
    /// What every translator has.
    pub translation: Translation,
    /// The keys that stand in the section, legal or not.
    pub keys: Vec<String>,
}

/// The keys of the section.
pub(super) const KEYS: &[&str] = &[
    "name",
    "host",
    "pool6",
    "eam",
    "own4",
    "own6",
    "rfc6791v4",
    "rfc6791v6",
    "lowest-ipv6-mtu",
    "mtu4",
    "mtu6",
    "udp-zero-checksum",
    "hairpin",
    "mtu-plateaus",
    "traffic-class",
    "fast-path",
    "direct",
    "private-through-well-known",
];
const HAIRPINS: &[(&str, Hairpin)] =
    &[("none", Hairpin::None), ("simple", Hairpin::Simple), ("intrinsic", Hairpin::Intrinsic)];
const PAIR: &str = "[\"2001:db8:3::/120\", \"198.51.100.0/24\"]";

pub(super) fn read(reader: &mut Reader, section: &Section<'_>) -> Siit {
    Siit {
        span: section.span.clone(),
        name: section.optional(reader, "name", value::bridge_name),
        host: section.required(reader, "host", "\"NAME\", the host that translates", value::word),
        pool6: section.list(reader, "pool6", prefix::translation),
        eam: section.pairs(reader, "eam", PAIR, prefix::mapping),
        own4: section.optional(reader, "own4", value::ipv4),
        own6: section.optional(reader, "own6", value::ipv6),
        rfc6791v4: section.optional(reader, "rfc6791v4", prefix::network4),
        rfc6791v6: section.optional(reader, "rfc6791v6", prefix::network6),
        mtu4: section.number(reader, "mtu4", 68..=65535),
        mtu6: section.number(reader, "mtu6", 1280..=65535),
        hairpin: section.choice(reader, "hairpin", HAIRPINS),
        private_through_well_known: section.flag(reader, "private-through-well-known"),
        direct: section.distinct(reader, "direct", incoming),
        translation: translation::read(reader, section),
        keys: section.keys(),
    }
}

/// A device that packets come in by.
fn incoming(word: &str) -> Result<String, Complaint> {
    if word == "lo" {
        return complain(
            "nothing comes in by `lo` that this host would forward",
            "write a device that packets for the translator come in by, such as \"eth0\"",
        );
    }
    value::device(word)
}
