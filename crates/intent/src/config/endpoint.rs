//! From a word of the file to where a relay listens, and where it leads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr as _;

use ipnet::Ipv6Net;

use crate::model::{Destination, Family, Listen, Place, Protocol};

use super::prefix;
use super::value::{Complaint, complain, one_of};

const PROTOCOLS: &[(&str, (Protocol, Family))] = &[
    ("tcp", (Protocol::Tcp, Family::Both)),
    ("tcp4", (Protocol::Tcp, Family::V4)),
    ("tcp6", (Protocol::Tcp, Family::V6)),
    ("udp", (Protocol::Udp, Family::Both)),
    ("udp4", (Protocol::Udp, Family::V4)),
    ("udp6", (Protocol::Udp, Family::V6)),
];
/// Ports of one range: each takes a socket or two.
const MOST: u16 = 4096;
const LISTEN: &str = "write a protocol and a port, such as \"tcp4/443\", \"udp/53\", \"tcp4/8000-8099\" or \
                      \"tcp4/192.0.2.1:443\"";
const TO: &str = "write an address or a name and a port: \"[2001:db8::10]:443\", \"192.0.2.7:80\" or \
                  \"name.example:443\"";

/// `PROTOCOL/PORT`, `PROTOCOL/FIRST-LAST`, either with `ADDRESS:` before the port.
pub(super) fn listen(word: &str) -> Result<Listen, Complaint> {
    let Some((protocol, place)) = word.split_once('/') else {
        return complain(format!("`{word}` has no protocol"), LISTEN);
    };
    let (protocol, family) = one_of(protocol, PROTOCOLS)?;
    let (address, ports) = match place.rsplit_once(':') {
        None => (None, place),
        Some((address, ports)) => (Some(listened(word, address)?), ports),
    };
    let family = match (address, family) {
        (Some(IpAddr::V4(_)), Family::V6) | (Some(IpAddr::V6(_)), Family::V4) => {
            return complain(
                format!("the protocol and the address of `{word}` are of different families"),
                "write tcp4 or udp4 before an IPv4 address, tcp6 or udp6 before an IPv6 address",
            );
        }
        (Some(IpAddr::V4(_)), _) => Family::V4,
        (Some(IpAddr::V6(_)), _) => Family::V6,
        (None, family) => family,
    };
    let (first, last) = range(word, ports)?;
    Ok(Listen { word: word.into(), protocol, family, address, first, last })
}

fn range(word: &str, ports: &str) -> Result<(u16, u16), Complaint> {
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (port(word, first, LISTEN)?, port(word, last, LISTEN)?);
    if first > last {
        return complain(
            format!("the range of `{word}` ends before it begins"),
            "write the lower port first",
        );
    }
    if last - first >= MOST {
        return complain(
            format!("`{word}` are more than {MOST} ports, each with a socket of its own"),
            "write fewer; for all ports of an address there is [[borrow]]",
        );
    }
    Ok((first, last))
}

fn port(word: &str, port: &str, example: &str) -> Result<u16, Complaint> {
    // Of an address alone, what stands in the port's place is a part of it, or all.
    if port.is_empty() || port.ends_with(']') || Ipv4Addr::from_str(port).is_ok() {
        return complain(format!("`{word}` has no port"), example);
    }
    if !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return complain(format!("`{port}` is not a port number"), example);
    }
    match u16::from_str(port) {
        Ok(0) => complain(format!("port 0 of `{word}` means none"), "write a port from 1 to 65535"),
        Ok(port) => Ok(port),
        Err(_) => complain(format!("there is no port {port}"), "write a port from 1 to 65535"),
    }
}

/// An address to listen at, IPv6 in brackets. Loopback is one: the relay may be this host's alone.
fn listened(word: &str, address: &str) -> Result<IpAddr, Complaint> {
    match bracketed(address).unwrap_or_else(|| Ipv4Addr::from_str(address).ok().map(IpAddr::V4)) {
        Some(ip) if ip.is_unspecified() => complain(
            format!("`{address}` means every address"),
            "leave the address out: \"tcp4/443\" listens at every IPv4 address",
        ),
        Some(ip) => usable(ip),
        None if Ipv6Addr::from_str(address).is_ok() => complain(
            format!("the IPv6 address of `{word}` has no brackets"),
            format!("write it in brackets: [{address}]"),
        ),
        None => complain(format!("`{address}` is not an address to listen at"), LISTEN),
    }
}

/// What stands in brackets; none where there are none, and none in it where that is no IPv6 address.
fn bracketed(word: &str) -> Option<Option<IpAddr>> {
    let inner = word.strip_prefix('[')?.strip_suffix(']')?;
    Some(Ipv6Addr::from_str(inner).ok().map(IpAddr::V6))
}

/// `[IPV6]:PORT`, `IPV4:PORT` or `NAME:PORT`.
pub(super) fn destination(word: &str) -> Result<Destination, Complaint> {
    if word.contains('/') {
        return complain(
            format!("`{word}` names a protocol"),
            "leave it out: what comes by TCP goes on by TCP, and UDP by UDP",
        );
    }
    if Ipv6Addr::from_str(word).is_ok() {
        return complain(
            format!("`{word}` is an IPv6 address without brackets, or without a port"),
            "write the address in brackets, and the port: \"[2001:db8::10]:443\"",
        );
    }
    let Some((host, ports)) = word.rsplit_once(':') else {
        return complain(format!("`{word}` has no port"), TO);
    };
    if let Some((first, _)) = ports.split_once('-') {
        return complain(
            format!("`to` has one port, and `{word}` a range"),
            format!("write \"{host}:{first}\": the other ports follow in the order of `listen`"),
        );
    }
    let port = port(word, ports, TO)?;
    let place = match bracketed(host) {
        Some(Some(ip)) => Place::Address(usable(ip)?),
        Some(None) => return complain(format!("`{host}` is not an IPv6 address"), TO),
        None => match Ipv4Addr::from_str(host) {
            Ok(ip) => Place::Address(usable(ip.into())?),
            Err(_) => Place::Name(name(host)?),
        },
    };
    Ok(Destination { place, port })
}

/// An address that one host can have, also one of this host alone.
fn usable(address: IpAddr) -> Result<IpAddr, Complaint> {
    let why = match address {
        IpAddr::V4(ip) if ip.octets()[0] == 0 => "means \"no address\"",
        IpAddr::V4(ip) if ip.octets()[0] >= 240 => "is a reserved or broadcast address",
        IpAddr::V6(ip) if ip.is_unspecified() => "means \"no address\"",
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => "is an IPv4 address in IPv6 notation",
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            "is a link-local address, which needs a device to be told"
        }
        IpAddr::V4(_) | IpAddr::V6(_) if address.is_multicast() => "is a multicast address",
        IpAddr::V4(_) | IpAddr::V6(_) => return Ok(address),
    };
    complain(format!("`{address}` {why}"), "write the address of one host")
}

/// A name as DNS and /etc/hosts have them.
fn name(word: &str) -> Result<String, Complaint> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels: Vec<&str> = word.strip_suffix('.').unwrap_or(word).split('.').collect();
    // What ends in a number is an address that was misspelt.
    let number = labels.last().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()));
    if word.len() > 253 || number || !labels.into_iter().all(label) {
        return complain(format!("`{word}` is neither an address nor a name"), TO);
    }
    Ok(word.to_ascii_lowercase())
}

/// A prefix that takes an IPv4 address as its last 32 bits.
pub(super) fn embedding(word: &str) -> Result<Ipv6Net, Complaint> {
    let net = prefix::network6(word)?;
    if net.prefix_len() != 96 {
        return complain(
            format!("`{word}` has a length of {} bits", net.prefix_len()),
            format!("write a /96, such as \"{}/96\": an IPv4 address takes the other 32 bits", net.addr()),
        );
    }
    Ok(net)
}
