//! From a word of the file to a network, a translation prefix or a mapping.

use std::net::IpAddr;
use std::str::FromStr as _;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use straddle_xlat::eam::Mapping;
use straddle_xlat::rfc6052::{NotAPrefix, Prefix};

use crate::model::Prefix64;

use super::value::{Complaint, complain, host4, host6};

/// A translation prefix (RFC 6052 §2.2).
///
/// # Errors
/// What is wrong with the word.
pub fn translation(word: &str) -> Result<Prefix, Complaint> {
    let Ok(net) = Ipv6Net::from_str(word) else {
        return not_a_prefix(word);
    };
    // `::` begins what means no address, loopback, and IPv4 in IPv6 notation.
    if host6(net.addr()).is_err() {
        return no_hosts(word, "write a global prefix of your own, or the well-known \"64:ff9b::/96\"");
    }
    Prefix::new(net).or_else(|why| match why {
        NotAPrefix::Length => complain(
            format!("a translation prefix has no length of {} bits", net.prefix_len()),
            "write one of the six lengths of RFC 6052: /32, /40, /48, /56, /64 or /96",
        ),
        NotAPrefix::HostBits => host_bits(word, net.trunc()),
        NotAPrefix::UOctet => complain(
            format!("bits 64 to 71 of `{word}` are not zero"),
            "write a /96 whose fifth group begins with 00, as RFC 6052 demands",
        ),
    })
}

fn not_a_prefix<T>(word: &str) -> Result<T, Complaint> {
    let example = "write an IPv6 prefix, such as \"64:ff9b::/96\" or \"2001:db8:64::/96\"";
    match IpAddr::from_str(word.split('/').next().unwrap_or(word)) {
        Ok(IpAddr::V6(address)) if word.contains('/') => complain(
            format!("`{word}` has no prefix length from 0 to 128"),
            format!("write \"{address}/96\", or another length of RFC 6052"),
        ),
        Ok(IpAddr::V6(address)) => {
            complain(format!("`{word}` lacks its prefix length"), format!("write \"{address}/96\""))
        }
        Ok(IpAddr::V4(_)) => complain(format!("`{word}` is not IPv6"), example),
        Err(_) => complain(format!("`{word}` is not a prefix"), example),
    }
}

/// `discover`, or a translation prefix.
pub(super) fn prefix64(word: &str) -> Result<Prefix64, Complaint> {
    if word == "discover" {
        return Ok(Prefix64::Discover);
    }
    let found = translation(word).map(Prefix64::Given);
    found.map_err(|Complaint { message, help }| {
        let known = word.contains([':', '/', '.']);
        Complaint { message, help: if known { help } else { format!("write \"discover\"; or {help}") } }
    })
}

/// One explicit address mapping; an address without length stands for itself.
pub(super) fn mapping(one: &str, other: &str) -> Result<Mapping, Complaint> {
    match (network(one)?, network(other)?) {
        (IpNet::V6(v6), IpNet::V4(v4)) => Ok(Mapping { v6, v4 }),
        (IpNet::V4(v4), IpNet::V6(v6)) => complain(
            "the IPv4 prefix of the pair stands first",
            format!("write the IPv6 prefix first: [\"{v6}\", \"{v4}\"]"),
        ),
        (IpNet::V4(_), IpNet::V4(_)) | (IpNet::V6(_), IpNet::V6(_)) => complain(
            format!("`{one}` and `{other}` are of the same version"),
            "write an IPv6 prefix and the IPv4 prefix that it is mapped to",
        ),
    }
}

/// An IPv4 network; an address alone is one of its own.
pub(super) fn network4(word: &str) -> Result<Ipv4Net, Complaint> {
    match network(word)? {
        IpNet::V4(net) if host4(net.addr()).is_ok() => Ok(net),
        IpNet::V4(_) => no_hosts(word, "write an IPv4 prefix of your own, such as \"192.0.2.0/28\""),
        IpNet::V6(_) => {
            complain(format!("`{word}` is IPv6"), "write an IPv4 prefix, such as \"192.0.2.0/28\"")
        }
    }
}

/// An IPv6 network; an address alone is one of its own.
pub(super) fn network6(word: &str) -> Result<Ipv6Net, Complaint> {
    match network(word)? {
        IpNet::V6(net) if host6(net.addr()).is_ok() => Ok(net),
        IpNet::V6(_) => no_hosts(word, "write a global IPv6 prefix, such as \"2001:db8:1::/64\""),
        IpNet::V4(_) => {
            complain(format!("`{word}` is IPv4"), "write an IPv6 prefix, such as \"2001:db8:1::/64\"")
        }
    }
}

/// A network of either version, without bits behind its prefix.
pub(super) fn network(word: &str) -> Result<IpNet, Complaint> {
    let parsed = IpNet::from_str(word).or_else(|_| IpAddr::from_str(word).map(IpNet::from));
    let Ok(net) = parsed else {
        return complain(
            format!("`{word}` is not a prefix"),
            "write an address and a prefix length, such as \"2001:db8:3::/120\" or \"198.51.100.0/24\"",
        );
    };
    if net != net.trunc() {
        return host_bits(word, net.trunc());
    }
    if let IpNet::V6(six) = net
        && six.prefix_len() >= 96
        && let Some(four) = six.addr().to_ipv4_mapped()
    {
        let message = format!("`{word}` is IPv4 in IPv6 notation, which no packet has");
        return complain(message, format!("write \"{four}/{}\"", six.prefix_len() - 96));
    }
    Ok(net)
}

fn no_hosts<T>(word: &str, help: &str) -> Result<T, Complaint> {
    complain(format!("`{word}` is no prefix for addresses of hosts"), help)
}

fn host_bits<T>(word: &str, net: impl std::fmt::Display) -> Result<T, Complaint> {
    complain(format!("`{word}` has bits behind its prefix"), format!("write \"{net}\""))
}
