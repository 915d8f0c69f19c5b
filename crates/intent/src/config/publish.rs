use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use crate::model::{CarrierKind, Transport};

use super::Spanned;
use super::section::{Reader, Section};
use super::value::{self, Complaint, complain, host4};

/// `[[publish]]`: an IPv4 address of one host leads to a server behind another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where the entry stands.
    pub span: Range<usize>,
    /// Its own name, if it has one.
    pub name: Option<Spanned<String>>,
    /// The public address.
    pub address: Option<Spanned<Ipv4Addr>>,
    /// The name of the host that has it.
    pub from: Option<Spanned<String>>,
    /// The name of the host that the server is behind, or that is the server.
    pub to: Option<Spanned<String>>,
    /// The server's address.
    pub target: Option<Spanned<Ipv4Addr>>,
    /// What is published of the address; all of it where there is none.
    pub ports: Vec<Spanned<Ports>>,
    /// How packets cross; `ip4ip6` when left out.
    pub carrier: Option<Spanned<CarrierKind>>,
    /// Where the carrier ends at `from`.
    pub from_endpoint: Option<Spanned<EndpointWord>>,
    /// Where it ends at `to`.
    pub to_endpoint: Option<Spanned<EndpointWord>>,
    /// The file with the key that updates of an endpoint are signed with.
    pub key_file: Option<Spanned<String>>,
    /// The UDP port that `from` hears updates at.
    pub update_port: Option<Spanned<u32>>,
    /// The keys that stand in the entry, legal or not.
    pub keys: Vec<String>,
}

/// One line of `ports`: what arrives at these ports goes to those of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The protocol.
    pub transport: Transport,
    /// The ports of the public address.
    pub outer: RangeInclusive<u16>,
    /// The server, where it is not the entry's `target`.
    pub target: Option<Ipv4Addr>,
    /// The server's first port; those after it follow.
    pub inner: u16,
}

/// Where a carrier ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointWord {
    /// At the public address inside the /64 of the host's `ipv6`.
    Derived,
    /// At the public address inside whatever /64 the host's uplink has; the host tells the other end.
    Dynamic,
    /// At this address.
    Given(Ipv6Addr),
}

/// The keys of the section.
pub(super) const KEYS: &[&str] = &[
    "name",
    "address",
    "from",
    "to",
    "target",
    "ports",
    "carrier",
    "from-endpoint",
    "to-endpoint",
    "key-file",
    "update-port",
];
const CARRIERS: &[(&str, CarrierKind)] = &[("ip4ip6", CarrierKind::Ip4ip6), ("ip6gre", CarrierKind::Ip6gre)];
const TRANSPORTS: &[(&str, Transport)] = &[("tcp", Transport::Tcp), ("udp", Transport::Udp)];

pub(super) fn read(reader: &mut Reader, section: &Section<'_>) -> Publish {
    Publish {
        span: section.span.clone(),
        name: section.optional(reader, "name", value::bridge_name),
        address: section.required(reader, "address", "\"203.0.113.7\", the public address", value::ipv4),
        from: section.required(reader, "from", "\"NAME\", the host that has the address", value::word),
        to: section.required(reader, "to", "\"NAME\", the host that the server is behind", value::word),
        target: section.optional(reader, "target", value::ipv4),
        ports: section.list(reader, "ports", ports),
        carrier: section.choice(reader, "carrier", CARRIERS),
        from_endpoint: section.optional(reader, "from-endpoint", endpoint),
        to_endpoint: section.optional(reader, "to-endpoint", endpoint),
        key_file: section.optional(reader, "key-file", value::path),
        update_port: section.number(reader, "update-port", 1..=65535),
        keys: section.keys(),
    }
}

/// `tcp/443`, `udp/27015-27030`, `tcp/8443 -> 443`, `tcp/8443 -> 192.168.1.211:443`.
fn ports(word: &str) -> Result<Ports, Complaint> {
    let (outer, inner) = match word.split_once("->") {
        Some((outer, inner)) => (outer.trim(), Some(inner.trim())),
        None => (word.trim(), None),
    };
    let Some((protocol, range)) = outer.split_once('/') else {
        return complain(format!("`{word}` names no protocol"), EXAMPLE);
    };
    let Some((_, transport)) = TRANSPORTS.iter().find(|(name, _)| *name == protocol.trim()) else {
        return complain(
            format!("`{protocol}` is not tcp or udp"),
            "write \"tcp/…\" or \"udp/…\"; without `ports` the whole address is published, every protocol",
        );
    };
    let outer = self::range(range.trim(), word)?;
    let (target, first) = match inner {
        None => (None, *outer.start()),
        Some(inner) => to(inner, &outer, word)?,
    };
    let more = outer.end() - outer.start();
    if first.checked_add(more).is_none() {
        return complain(
            format!("`{word}` leads beyond port 65535"),
            format!(
                "the last of {} ports from {first} on would be {}",
                more + 1,
                u32::from(first) + u32::from(more)
            ),
        );
    }
    Ok(Ports { transport: *transport, outer, target, inner: first })
}

fn range(text: &str, word: &str) -> Result<RangeInclusive<u16>, Complaint> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first.trim(), word)?, port(last.trim(), word)?);
    if last < first {
        return complain(
            format!("`{text}` ends before it begins"),
            format!("write the smaller port first: {last}-{first}"),
        );
    }
    Ok(first..=last)
}

fn port(text: &str, word: &str) -> Result<u16, Complaint> {
    match u16::from_str(text) {
        Ok(0) => complain(format!("`{word}` has port 0, which nothing can listen on"), EXAMPLE),
        Ok(port) => Ok(port),
        Err(_) => complain(format!("`{text}` is not a port from 1 to 65535"), EXAMPLE),
    }
}

/// What stands behind the arrow: a port, an address, or both.
fn to(inner: &str, outer: &RangeInclusive<u16>, word: &str) -> Result<(Option<Ipv4Addr>, u16), Complaint> {
    let server = |text: &str| match Ipv4Addr::from_str(text) {
        Ok(address) => host4(address),
        Err(_) => complain(format!("`{text}` is not an IPv4 address"), EXAMPLE),
    };
    if let Ok(address) = Ipv4Addr::from_str(inner) {
        return Ok((Some(host4(address)?), *outer.start()));
    }
    if inner.matches(':').count() > 1 {
        return complain(
            format!("`{inner}` is not an IPv4 address: a carrier of this recipe has no other"),
            "write the server's IPv4 address, or use [[relay]], which leads to IPv6",
        );
    }
    let (target, ports) = match inner.split_once(':') {
        Some((address, ports)) => (Some(server(address)?), ports),
        None => (None, inner),
    };
    match ports.split_once('-') {
        Some(_) => {
            complain_of_range(range(ports, word)?, outer, inner.strip_suffix(ports).unwrap_or_default())
        }
        None => Ok((target, port(ports, word)?)),
    }
}

/// The server's ports follow the first one, so no range is written there.
fn complain_of_range<T>(
    inner: RangeInclusive<u16>,
    outer: &RangeInclusive<u16>,
    server: &str,
) -> Result<T, Complaint> {
    let (first, last) = (*inner.start(), *inner.end());
    let (theirs, ours) = (inner.len(), outer.len());
    if theirs == ours {
        return complain(
            format!("`{first}-{last}` is a range: the first port is enough"),
            format!("write -> {server}{first}: the others follow"),
        );
    }
    let port = |count: usize| if count == 1 { "1 port".to_string() } else { format!("{count} ports") };
    complain(
        format!("{} can't lead to `{first}-{last}`, which has {}", port(ours), port(theirs)),
        format!("write the first port alone, -> {server}{first}, and as many before the arrow as are meant"),
    )
}

fn endpoint(word: &str) -> Result<EndpointWord, Complaint> {
    match word {
        "derived" => Ok(EndpointWord::Derived),
        "dynamic" => Ok(EndpointWord::Dynamic),
        _ => match value::ipv6(word) {
            Ok(address) => Ok(EndpointWord::Given(address)),
            Err(complaint) if word.contains([':', '.', '/', '%']) => Err(complaint),
            Err(_) => complain(
                format!("`{word}` is no endpoint"),
                "write \"derived\", \"dynamic\" or an IPv6 address of the host",
            ),
        },
    }
}

const EXAMPLE: &str = "write it like \"tcp/443\", \"udp/27015-27030\" or \"tcp/8443 -> 192.168.1.211:443\"";
