use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr as _;

use ipnet::Ipv4Net;

use crate::DUMMY4;

use super::section::{Reader, Section};
use super::value::{self, Complaint, complain, host6};
use super::{Spanned, prefix};

/// `[[via6]]`: IPv4 by way of an IPv6 next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via6 {
    /// Where the entry stands.
    pub span: Range<usize>,
    /// Its own name, if it has one.
    pub name: Option<Spanned<String>>,
    /// The host that shall have IPv4.
    pub host: Option<Spanned<String>>,
    /// The addresses that it gets.
    pub addresses: Vec<Spanned<Ipv4Addr>>,
    /// The next hops.
    pub gateways: Vec<Spanned<HopWord>>,
    /// The device of those that name none.
    pub dev: Option<Spanned<String>>,
    /// What goes that way; everything where there is none.
    pub routes: Vec<Spanned<Ipv4Net>>,
    /// The metric of these routes.
    pub metric: Option<Spanned<u32>>,
    /// The largest packet of the way in bytes.
    pub mtu: Option<Spanned<u32>>,
    /// The host that is the next hop.
    pub router: Option<Spanned<String>>,
    /// The host as its router sees it.
    pub host6: Vec<Spanned<HopWord>>,
    /// The router's device towards the host, of those of `host6` that name none.
    pub router_dev: Option<Spanned<String>>,
    /// The router's own IPv4 address.
    pub router_address: Option<Spanned<Ipv4Addr>>,
    /// The keys that stand in the entry, legal or not.
    pub keys: Vec<String>,
}

/// A next hop: `fe80::1`, `fe80::2 dev eth1 weight 2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopWord {
    /// Its address.
    pub address: Ipv6Addr,
    /// The device that it is on, where it names one.
    pub dev: Option<String>,
    /// Its share of the connections, from 1 to 256.
    pub weight: u16,
}

/// The keys of the section.
pub(super) const KEYS: &[&str] = &[
    "name",
    "host",
    "address",
    "gateway",
    "dev",
    "routes",
    "metric",
    "mtu",
    "router",
    "host6",
    "router-dev",
    "router-address",
];
const HOP: &str =
    "write an IPv6 address, and what it needs besides: \"fe80::1\" or \"fe80::2 dev eth1 weight 2\"";

pub(super) fn read(reader: &mut Reader, section: &Section<'_>) -> Via6 {
    let gateways = section.list(reader, "gateway", hop);
    let keys = section.keys();
    if !keys.iter().any(|key| key == "gateway") {
        let help = "add gateway = \"fe80::1\", the IPv6 address of the next router on the host's link";
        reader.add(section.span.clone(), "[[via6]] lacks `gateway`", help);
    }
    Via6 {
        span: section.span.clone(),
        name: section.optional(reader, "name", value::bridge_name),
        host: section.required(reader, "host", "\"NAME\", the host that shall have IPv4", value::word),
        addresses: section.distinct(reader, "address", address),
        gateways,
        dev: section.optional(reader, "dev", link),
        routes: section.distinct(reader, "routes", destination),
        metric: section.number(reader, "metric", 0..=u32::MAX),
        mtu: section.number(reader, "mtu", 68..=65535),
        router: section.optional(reader, "router", value::word),
        host6: section.list(reader, "host6", hop),
        router_dev: section.optional(reader, "router-dev", link),
        router_address: section.optional(reader, "router-address", address),
        keys,
    }
}

/// One address, with or without the length that says so.
fn address(word: &str) -> Result<Ipv4Addr, Complaint> {
    let alone = word.strip_suffix("/32").unwrap_or(word);
    match Ipv4Net::from_str(alone) {
        Ok(net) if net.addr() == net.network() => complain(
            format!("`{word}` is a network, not the address of a host"),
            "write one address, such as \"10.0.8.42\"; networks that are reached that way go into `routes`",
        ),
        Ok(net) => complain(
            format!("`{word}` is an address with a network"),
            format!("write \"{}\": nobody else of its network is on the host's link", net.addr()),
        ),
        Err(_) => match value::ipv4(alone)? {
            DUMMY4 => complain(
                format!("`{word}` is what routers without an IPv4 address answer from (RFC 7600)"),
                "write an address that no other host has",
            ),
            address => Ok(address),
        },
    }
}

/// A device with neighbours.
fn link(word: &str) -> Result<String, Complaint> {
    if word == "lo" {
        return complain(
            "no neighbour is on `lo`",
            "write the device that the neighbour is on, such as \"eth1\"",
        );
    }
    value::device(word)
}

/// `default`, or an IPv4 network.
fn destination(word: &str) -> Result<Ipv4Net, Complaint> {
    match word {
        "default" | "0.0.0.0/0" => Ok(Ipv4Net::default()),
        _ => prefix::network4(word).map_err(|Complaint { message, help }| Complaint {
            message,
            help: format!("write \"default\"; or {help}"),
        }),
    }
}

/// `ADDRESS [dev DEV] [weight N]`.
fn hop(word: &str) -> Result<HopWord, Complaint> {
    let mut words = word.split_whitespace();
    let address = neighbour(words.next().unwrap_or_default())?;
    let mut hop = HopWord { address, dev: None, weight: 1 };
    let mut said: Vec<&str> = Vec::new();
    while let Some(key) = words.next() {
        if said.contains(&key) {
            return complain(format!("`{word}` has `{key}` twice"), HOP);
        }
        said.push(key);
        match (key, words.next()) {
            ("dev", Some(dev)) => hop.dev = Some(link(dev)?),
            ("weight", Some(weight)) => hop.weight = self::weight(weight)?,
            ("dev" | "weight", None) => return complain(format!("`{word}` ends behind `{key}`"), HOP),
            _ => return complain(format!("`{key}` says nothing of a next hop"), HOP),
        }
    }
    Ok(hop)
}

fn weight(word: &str) -> Result<u16, Complaint> {
    match u16::from_str(word) {
        Ok(weight @ 1..=256) => Ok(weight),
        Ok(_) | Err(_) => complain(
            format!("`{word}` is no weight"),
            "write a whole number from 1 to 256: a next hop's share against those of the others",
        ),
    }
}

/// The address of a neighbour on a link.
fn neighbour(word: &str) -> Result<Ipv6Addr, Complaint> {
    match IpAddr::from_str(word) {
        Ok(IpAddr::V6(address)) if address.is_unicast_link_local() => Ok(address),
        Ok(IpAddr::V6(address)) => host6(address).map_err(|Complaint { message, .. }| Complaint {
            message,
            help: "write the neighbour's own address, such as \"fe80::1\"".into(),
        }),
        Ok(IpAddr::V4(_)) => complain(
            format!("`{word}` is an IPv4 address"),
            "write the neighbour's IPv6 address, such as \"fe80::1\": \
             a next hop with IPv4 needs no [[via6]]",
        ),
        Err(_) if word.contains('%') => {
            let (address, dev) = word.split_once('%').unwrap_or((word, ""));
            complain(format!("`{word}` names a zone"), format!("write \"{address} dev {dev}\""))
        }
        Err(_) if word.contains('/') => complain(
            format!("`{word}` has a prefix length"),
            format!("write the address alone: \"{}\"", word.split('/').next().unwrap_or(word)),
        ),
        Err(_) => complain(format!("`{word}` is not an IPv6 address"), HOP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops() {
        let check = |word: &str, expected: Option<(&str, Option<&str>, u16)>| {
            let expected = expected.map(|(address, dev, weight)| HopWord {
                address: address.parse().unwrap(),
                dev: dev.map(str::to_string),
                weight,
            });
            assert_eq!(hop(word).ok(), expected, "{word}");
        };
        check("fe80::1", Some(("fe80::1", None, 1)));
        check("fe80::1 dev eth1", Some(("fe80::1", Some("eth1"), 1)));
        check("2001:db8::1 weight 256", Some(("2001:db8::1", None, 256)));
        check(" fe80::1  weight 2 dev eth1 ", Some(("fe80::1", Some("eth1"), 2)));
        for wrong in ["", "192.0.2.1", "fe80::1%eth0", "fe80::1/64", "fe80::1 dev", "fe80::1 weight 0"] {
            check(wrong, None);
        }
        for wrong in [
            "fe80::1 weight 257",
            "fe80::1 metric 3",
            "fe80::1 dev a dev b",
            "fe80::1 weight 1 weight 2",
            "fe80::1 dev lo",
            "ff02::1",
            "::1",
            "::",
            "fe80::1 dev a/b",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn addresses_stand_alone() {
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(address(word).ok(), expected.map(|word| word.parse().unwrap()), "{word}");
        };
        check("10.0.8.42", Some("10.0.8.42"));
        check("10.0.8.42/32", Some("10.0.8.42"));
        check("10.0.8.42/24", None);
        check("10.0.8.0/24", None);
        check("127.0.0.1", None);
        check("192.0.0.8", None);
        check("fe80::1", None);
    }
}
