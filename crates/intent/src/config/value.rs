//! From a word of the file to a value that is legal by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::str::FromStr;

use ipnet::Ipv4Net;

use crate::model::FastChoice;

use super::section::suggestion;

/// The words of `fast-path`.
pub(super) const FAST_PATH: &[(&str, FastChoice)] =
    &[("auto", FastChoice::Auto), ("off", FastChoice::Off), ("require", FastChoice::Require)];

/// What is wrong with a value, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What is wrong with it, one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

pub(super) fn complain<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Complaint> {
    Err(Complaint { message: message.into(), help: help.into() })
}

/// A network device's name as the kernel takes it (`dev_valid_name`, IFNAMSIZ).
pub(super) fn device(word: &str) -> Result<String, Complaint> {
    let legal = !word.is_empty()
        && word.len() <= 15
        && word != "."
        && word != ".."
        && !word.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
    if legal {
        return Ok(word.into());
    }
    complain(
        format!("`{word}` is not a device name"),
        "write it as `ip link` shows it: 1 to 15 characters without blanks, `/` or `:`",
    )
}

/// A bridge's own name: with `st-` before it, it names the carrier's device.
pub(super) fn bridge_name(word: &str) -> Result<String, Complaint> {
    let legal = (1..=12).contains(&word.len())
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if legal {
        return Ok(word.into());
    }
    complain(
        format!("`{word}` is not a bridge's name"),
        "write 1 to 12 of a-z, 0-9 and `-`: it becomes the device `st-NAME`",
    )
}

/// A relay's own name; it has no device.
pub(super) fn word_of_a_relay(word: &str) -> Result<String, Complaint> {
    let legal = (1..=32).contains(&word.len())
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if legal {
        return Ok(word.into());
    }
    complain(format!("`{word}` is not a relay's name"), "write 1 to 32 of a-z, 0-9 and `-`")
}

/// The name of a host of the file.
pub(super) fn word(word: &str) -> Result<String, Complaint> {
    if word.is_empty() {
        complain("the name is empty", "write the NAME of a [host.NAME]")
    } else {
        Ok(word.into())
    }
}

/// An IPv4 address that one host can have.
pub(super) fn ipv4(word: &str) -> Result<Ipv4Addr, Complaint> {
    match IpAddr::from_str(word) {
        Ok(IpAddr::V4(address)) => host4(address),
        Ok(IpAddr::V6(_)) => {
            complain(format!("`{word}` is an IPv6 address"), "write an IPv4 address, such as \"192.0.2.158\"")
        }
        Err(_) if word.contains('/') => complain(
            format!("`{word}` has a prefix length"),
            format!("write the address alone: \"{}\"", head(word)),
        ),
        Err(_) => complain(
            format!("`{word}` is not an IPv4 address"),
            "write four numbers from 0 to 255, such as \"192.0.2.158\"",
        ),
    }
}

/// An IPv4 address with the length of the prefix it lives in.
pub(super) fn ipv4_net(word: &str) -> Result<Ipv4Net, Complaint> {
    if let Ok(net) = Ipv4Net::from_str(word) {
        host4(net.addr())?;
        if net.prefix_len() <= 30 && (net.addr() == net.network() || net.addr() == net.broadcast()) {
            return complain(
                format!("`{word}` is the network or broadcast address of its prefix, not a host's"),
                format!("write the host's own address in {}", net.trunc()),
            );
        }
        return Ok(net);
    }
    match IpAddr::from_str(head(word)) {
        Ok(IpAddr::V4(address)) if word.contains('/') => complain(
            format!("`{word}` has no prefix length from 0 to 32"),
            format!("write it as `ip addr` shows it, such as \"{address}/24\""),
        ),
        Ok(IpAddr::V4(address)) => complain(
            format!("`{word}` lacks its prefix length"),
            format!("write it as `ip addr` shows it, such as \"{address}/24\""),
        ),
        Ok(IpAddr::V6(_)) => complain(
            format!("`{word}` is an IPv6 address"),
            "write an IPv4 address, such as \"192.0.2.158/24\"",
        ),
        Err(_) => complain(
            format!("`{word}` is not an IPv4 address"),
            "write it as `ip addr` shows it, such as \"192.0.2.158/24\"",
        ),
    }
}

/// A global IPv6 address of one host.
pub(super) fn ipv6(word: &str) -> Result<Ipv6Addr, Complaint> {
    match IpAddr::from_str(word) {
        Ok(IpAddr::V6(address)) => host6(address),
        Ok(IpAddr::V4(_)) => {
            complain(format!("`{word}` is an IPv4 address"), "write an IPv6 address, such as \"2001:db8::2\"")
        }
        Err(_) if word.contains('/') => complain(
            format!("`{word}` has a prefix length"),
            format!("write the address alone: \"{}\"", head(word)),
        ),
        Err(_) if word.contains('%') => {
            complain(format!("`{word}` names a zone"), "write a global address, without `%`")
        }
        Err(_) => complain(
            format!("`{word}` is not an IPv6 address"),
            "write an IPv6 address, such as \"2001:db8::2\"",
        ),
    }
}

/// A resolver's IPv6 address; one on the host itself will do.
pub(super) fn resolver6(word: &str) -> Result<Ipv6Addr, Complaint> {
    if word == "::1" { Ok(Ipv6Addr::LOCALHOST) } else { ipv6(word) }
}

/// An IPv4 address and a port.
pub(super) fn socket4(word: &str) -> Result<SocketAddrV4, Complaint> {
    let example = "write an IPv4 address and a port, such as \"1.1.1.1:443\"";
    match SocketAddrV4::from_str(word) {
        Ok(socket) if socket.port() == 0 => complain(format!("`{word}` has no port"), example),
        Ok(socket) => host4(*socket.ip()).map(|_| socket),
        Err(_) => complain(format!("`{word}` is not an IPv4 address with a port"), example),
    }
}

/// A file, from the root.
pub(super) fn path(word: &str) -> Result<String, Complaint> {
    if word.starts_with('/') {
        return Ok(word.into());
    }
    complain(
        format!("`{word}` is not a path from the root"),
        "write one that is, such as \"/etc/straddle/home.key\"",
    )
}

/// A word of a fixed list.
pub(super) fn one_of<T: Copy>(word: &str, choices: &[(&str, T)]) -> Result<T, Complaint> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
        return Ok(*value);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    complain(format!("`{word}` is no word that is known here"), suggestion(word, &names))
}

pub(super) fn host4(address: Ipv4Addr) -> Result<Ipv4Addr, Complaint> {
    let why = if address.is_unspecified() || address.octets()[0] == 0 {
        "means \"no address\""
    } else if address.is_loopback() {
        "is a loopback address"
    } else if address.is_multicast() {
        "is a multicast address"
    } else if address.is_link_local() {
        "is a link-local address"
    } else if address.octets()[0] >= 240 {
        "is a reserved or broadcast address"
    } else {
        return Ok(address);
    };
    complain(format!("`{address}` {why}"), "write the address of one host")
}

pub(super) fn host6(address: Ipv6Addr) -> Result<Ipv6Addr, Complaint> {
    let why = if address.is_unspecified() {
        "means \"no address\""
    } else if address.is_loopback() {
        "is the loopback address"
    } else if address.is_multicast() {
        "is a multicast address"
    } else if address.is_unicast_link_local() {
        "is a link-local address, which other networks can't reach"
    } else if address.to_ipv4_mapped().is_some() {
        "is an IPv4 address in IPv6 notation"
    } else {
        return Ok(address);
    };
    complain(format!("`{address}` {why}"), "write a global IPv6 address of the host")
}

fn head(word: &str) -> &str {
    word.split('/').next().unwrap_or(word)
}
