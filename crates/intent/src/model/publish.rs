use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use straddle_encap::Kind;

use crate::config::{self, Config, Diagnostic, EndpointWord, Spanned};

use super::CarrierKind;
use super::host::{find, lacks};

/// The UDP port that updates of an endpoint arrive at.
pub const UPDATE_PORT: u16 = 4646;

/// An IPv4 address of one host that leads to a server behind another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The bridge's name.
    pub name: String,
    /// The carrier's device, the same on both hosts.
    pub device: String,
    /// The public address.
    pub address: Ipv4Addr,
    /// Who has it.
    pub from: Side,
    /// Whom the server is behind.
    pub to: Side,
    /// The carrier between them.
    pub kind: Kind,
    /// What of the address goes where.
    pub share: Share,
    /// How `to` tells `from` its endpoint, where that changes.
    pub update: Option<Update>,
}

/// One side of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The host's name.
    pub host: String,
    /// Its device to the internet.
    pub uplink: String,
    /// Where the carrier ends.
    pub endpoint: Endpoint,
    /// MTU of its path in bytes, where the file says one.
    pub mtu: Option<u32>,
}

/// Where a carrier ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// At this address.
    Fixed(Ipv6Addr),
    /// At the public address inside whatever /64 the uplink has.
    Follows,
}

/// What of an address is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// Every protocol and port, to this server.
    Whole(Ipv4Addr),
    /// These ports.
    Ports(Vec<Forwarding>),
}

/// Some ports of the public address and the server's that they lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The protocol.
    pub transport: Transport,
    /// The ports of the public address.
    pub outer: RangeInclusive<u16>,
    /// The server.
    pub target: Ipv4Addr,
    /// The server's first port; those after it follow.
    pub inner: u16,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// How an endpoint that changes is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Whom it is told.
    pub server: IpAddr,
    /// The UDP port there.
    pub port: u16,
    /// The file with the shared key, and where it is named.
    pub key_file: Spanned<String>,
}

impl Transport {
    /// The word of the file, and nft's.
    pub fn word(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }
}

impl Share {
    /// The servers, each once, in the order of the file.
    pub fn targets(&self) -> Vec<Ipv4Addr> {
        match self {
            Share::Whole(target) => vec![*target],
            Share::Ports(list) => {
                let mut targets = Vec::new();
                for forwarding in list {
                    if !targets.contains(&forwarding.target) {
                        targets.push(forwarding.target);
                    }
                }
                targets
            }
        }
    }
}

impl Forwarding {
    /// The ports of the public address, as the file writes them.
    fn outside(&self) -> String {
        let (word, first, last) = (self.transport.word(), self.outer.start(), self.outer.end());
        if first == last { format!("{word}/{first}") } else { format!("{word}/{first}-{last}") }
    }

    /// The server's ports.
    pub fn inners(&self) -> RangeInclusive<u16> {
        // The reader has seen to it that they end below 65536.
        self.inner..=self.inner.saturating_add(self.outer.end() - self.outer.start())
    }
}

/// An IPv4 address inside a /64, its decimal digits written as hexadecimal groups: 192.0.2.158 inside
/// 2001:db8:1:2::/64 is 2001:db8:1:2:192:0:2:158.
#[must_use]
pub fn derived(network: Ipv6Addr, address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d, ..] = network.segments();
    let digits =
        |octet: u8| u16::from(octet / 100) << 8 | u16::from(octet / 10 % 10) << 4 | u16::from(octet % 10);
    let [e, f, g, h] = address.octets().map(digits);
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

/// Every legal `[[publish]]` of the file; what is illegal goes to `found`.
pub(super) fn build(config: &Config, found: &mut Vec<Diagnostic>) -> Vec<Publish> {
    let mut publishes: Vec<Publish> = Vec::new();
    for entry in &config.publishes {
        lent_already(config, entry, found);
        if let Some(publish) = one(config, entry, found) {
            for other in &publishes {
                beside(&publish, other, entry, found);
            }
            publishes.push(publish);
        }
    }
    publishes
}

fn one(config: &Config, entry: &config::Publish, found: &mut Vec<Diagnostic>) -> Option<Publish> {
    let from = find(config, entry.from.as_ref(), found);
    let to = find(config, entry.to.as_ref(), found);
    if let (Some(from), Some(to)) = (&entry.from, &entry.to)
        && from.value == to.value
    {
        let message = "a host can't publish through itself";
        found.push(Diagnostic::new(to.span.clone(), message, "name the host that the server is behind"));
        return None;
    }
    let share = share(entry, from, found);
    let update = update(entry, from, found);
    let address = entry.address.as_ref()?;
    let sides = (
        from.and_then(|host| side(host, address.value, entry.from_endpoint.as_ref(), found)),
        to.and_then(|host| side(host, address.value, entry.to_endpoint.as_ref(), found)),
    );
    let kind = match entry.carrier.as_ref().map_or(CarrierKind::Ip4ip6, |kind| kind.value) {
        CarrierKind::Ip4ip6 => Kind::Ip4ip6,
        CarrierKind::Ip6gre => Kind::Ip6gre { key: None },
    };
    Some(Publish {
        name: name(entry, address.value),
        device: device(entry, address.value),
        address: address.value,
        from: sides.0?,
        to: sides.1?,
        kind,
        share: share?,
        update: update?,
    })
}

fn share(entry: &config::Publish, from: Option<&config::Host>, found: &mut Vec<Diagnostic>) -> Option<Share> {
    let refused = found.len();
    if let Some(target) = &entry.target {
        reachable(target.value, target.span.clone(), entry, from, found);
    } else if !entry.keys.iter().any(|key| key == "target" || key == "ports") {
        found.push(Diagnostic::new(
            entry.span.clone(),
            "[[publish]] lacks `target`: where should packets go?",
            "add target = \"192.168.1.210\", the server's address",
        ));
    }
    if !entry.keys.iter().any(|key| key == "ports") {
        let target = entry.target.as_ref()?.value;
        return (found.len() == refused).then_some(Share::Whole(target));
    }
    let mut list: Vec<Forwarding> = Vec::new();
    for Spanned { value, span } in &entry.ports {
        let Some(target) = value.target.or(entry.target.as_ref().map(|target| target.value)) else {
            if !entry.keys.iter().any(|key| key == "target") {
                let help = "add target = \"192.168.1.210\", or write the server behind an arrow: \
                            \"tcp/443 -> 192.168.1.210\"";
                found.push(Diagnostic::new(span.clone(), "these ports lead to no server", help));
            }
            continue;
        };
        if value.target.is_some() {
            reachable(target, span.clone(), entry, from, found);
        }
        let (transport, outer) = (value.transport, value.outer.clone());
        let forwarding = Forwarding { transport, outer, target, inner: value.inner };
        if list.iter().any(|other| overlap(other, &forwarding)) {
            found.push(Diagnostic::new(
                span.clone(),
                "these ports are published twice",
                "delete one of the two: a port leads to one server",
            ));
        }
        list.push(forwarding);
    }
    (found.len() == refused && !list.is_empty()).then_some(Share::Ports(list))
}

fn overlap(one: &Forwarding, other: &Forwarding) -> bool {
    one.transport == other.transport
        && one.outer.start() <= other.outer.end()
        && other.outer.start() <= one.outer.end()
}

/// The server must be somebody else than the host that has the public address.
fn reachable(
    target: Ipv4Addr,
    span: std::ops::Range<usize>,
    entry: &config::Publish,
    from: Option<&config::Host>,
    found: &mut Vec<Diagnostic>,
) {
    if entry.address.as_ref().is_some_and(|address| address.value == target) {
        let help = "write the address that the server itself has, such as \"192.168.1.210\"";
        found.push(Diagnostic::new(span, format!("`{target}` is the public address itself"), help));
        return;
    }
    let Some(from) = from else { return };
    let near = from.ipv4.iter().find(|net| net.value.prefix_len() < 32 && net.value.contains(&target));
    if let Some(net) = near {
        found.push(Diagnostic::new(
            span,
            format!("`{target}` is inside {}, which [host.{}] stands in", net.value.trunc(), from.name.value),
            "write the address that the server has behind the other host",
        ));
    }
}

fn side(
    host: &config::Host,
    address: Ipv4Addr,
    word: Option<&Spanned<EndpointWord>>,
    found: &mut Vec<Diagnostic>,
) -> Option<Side> {
    let endpoint = match word.map_or(EndpointWord::Derived, |word| word.value) {
        EndpointWord::Given(address) => Some(Endpoint::Fixed(address)),
        EndpointWord::Dynamic => Some(Endpoint::Follows),
        EndpointWord::Derived => {
            if host.ipv6.is_none() {
                let example = "\"2001:db8::2\", an address of its /64 (or see `to-endpoint`)";
                lacks(host, "ipv6", "the carrier's end is derived from its network", example, found);
            }
            host.ipv6.as_ref().map(|own| Endpoint::Fixed(derived(own.value, address)))
        }
    };
    Some(Side {
        host: host.name.value.clone(),
        uplink: host.uplink.as_ref()?.value.clone(),
        endpoint: endpoint?,
        mtu: host.mtu.as_ref().map(|mtu| mtu.value),
    })
}

/// Only the side that the server is behind may move. `Some(None)`: neither does.
fn update(
    entry: &config::Publish,
    from: Option<&config::Host>,
    found: &mut Vec<Diagnostic>,
) -> Option<Option<Update>> {
    if let Some(word) = entry.from_endpoint.as_ref().filter(|word| word.value == EndpointWord::Dynamic) {
        found.push(Diagnostic::new(
            word.span.clone(),
            "the end at the public address can't be dynamic: the other one must find it",
            "write \"derived\" or an IPv6 address that this host keeps",
        ));
        return None;
    }
    let dynamic = entry.to_endpoint.as_ref().filter(|word| word.value == EndpointWord::Dynamic);
    let Some(dynamic) = dynamic else {
        let unused = [
            ("key-file", entry.key_file.as_ref().map(|key| &key.span)),
            ("update-port", entry.update_port.as_ref().map(|port| &port.span)),
        ];
        for (key, span) in unused.into_iter().filter_map(|(key, span)| Some((key, span?))) {
            let help = format!("leave `{key}` out, or write to-endpoint = \"dynamic\"");
            let message = format!("`{key}` has no use: no endpoint changes");
            found.push(Diagnostic::new(span.clone(), message, help));
        }
        return Some(None);
    };
    let from = from?;
    if from.ipv6.is_none() {
        lacks(from, "ipv6", "updates are sent to it", "\"2001:db8::2\", its global IPv6 address", found);
    }
    if !entry.keys.iter().any(|key| key == "key-file") {
        found.push(Diagnostic::new(
            dynamic.span.clone(),
            "an endpoint that changes needs `key-file`: whoever knew no secret could take the address over",
            "add key-file = \"/etc/straddle/home.key\"; `straddle key` makes one for both hosts",
        ));
    }
    Some(Some(Update {
        server: from.ipv6.as_ref()?.value.into(),
        port: entry
            .update_port
            .as_ref()
            .and_then(|port| u16::try_from(port.value).ok())
            .unwrap_or(UPDATE_PORT),
        key_file: entry.key_file.clone()?,
    }))
}

pub(super) fn name(entry: &config::Publish, address: Ipv4Addr) -> String {
    entry.name.as_ref().map_or_else(|| format!("publish-{address}"), |name| name.value.clone())
}

pub(super) fn device(entry: &config::Publish, address: Ipv4Addr) -> String {
    let own = entry.name.as_ref().map(|name| format!("st-{}", name.value));
    own.unwrap_or_else(|| format!("st-{:08x}", u32::from(address)))
}

/// An address that is lent has left its host.
fn lent_already(config: &Config, entry: &config::Publish, found: &mut Vec<Diagnostic>) {
    let Some(address) = &entry.address else { return };
    let lent = config.borrows.iter().filter_map(|borrow| borrow.address.as_ref());
    if lent.into_iter().any(|lent| lent.value == address.value) {
        found.push(Diagnostic::new(
            address.span.clone(),
            format!("`{}` is borrowed as a whole: nothing of it is left to publish", address.value),
            "delete the [[borrow]] or the [[publish]]",
        ));
    }
}

/// The lines whose ports another publish of the address has.
fn published_already(
    (lines, mine): (&[Spanned<config::Ports>], &[Forwarding]),
    (other, theirs): (&str, &[Forwarding]),
    found: &mut Vec<Diagnostic>,
) {
    for Spanned { value, span } in lines {
        let is_it = |one: &&Forwarding| (one.transport, &one.outer) == (value.transport, &value.outer);
        let mine = mine.iter().find(is_it);
        if let Some(theirs) = mine.and_then(|mine| theirs.iter().find(|theirs| overlap(mine, theirs))) {
            let message = format!("{other} publishes {} already", theirs.outside());
            found.push(Diagnostic::new(span.clone(), message, "give each home ports of its own"));
        }
    }
}

/// What two publishes can't have in common.
fn beside(publish: &Publish, other: &Publish, entry: &config::Publish, found: &mut Vec<Diagnostic>) {
    let span = entry.address.as_ref().map_or(entry.span.clone(), |address| address.span.clone());
    let hosts = |publish: &Publish| (publish.from.host.clone(), publish.to.host.clone());
    if publish.address == other.address
        && hosts(publish) != hosts(other)
        && let (Share::Ports(mine), Share::Ports(theirs)) = (&publish.share, &other.share)
    {
        published_already((&entry.ports, mine), (&other.name, theirs), found);
    }
    let mut add = |message: String, help: &str| found.push(Diagnostic::new(span.clone(), message, help));
    if publish.address == other.address {
        match (&publish.share, &other.share) {
            _ if hosts(publish) == hosts(other) => add(
                format!("{} has a carrier between these hosts already", other.name),
                "list all ports in one entry: ports = [\"tcp/443 -> 192.168.1.210\", \"tcp/8443 -> 192.168.1.211:443\"]",
            ),
            (Share::Ports(_), Share::Ports(_)) => {}
            (Share::Whole(_), _) | (_, Share::Whole(_)) => add(
                format!("`{}` can't be published as a whole and once more", publish.address),
                "add `ports` to both entries, or delete one of the two",
            ),
        }
    }
    if publish.from.host == other.from.host && hosts(publish) != hosts(other) {
        let theirs = other.share.targets();
        if let Some(target) = publish.share.targets().into_iter().find(|target| theirs.contains(target)) {
            add(
                format!("{} leads to `{target}` too, at another host", other.name),
                "give the servers addresses that differ: each has one route",
            );
        }
    }
    let same = |one: Endpoint, two: Endpoint| one == two && one != Endpoint::Follows;
    let ends =
        same(publish.from.endpoint, other.from.endpoint) && same(publish.to.endpoint, other.to.endpoint);
    if ends && publish.kind == other.kind && publish.address != other.address {
        add(
            format!("{} and {} would have the same carrier", other.name, publish.name),
            "leave `from-endpoint` and `to-endpoint` out: derived ones differ",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_as_groups() {
        let check = |network: &str, address: &str, expected: &str| {
            let found = derived(network.parse().unwrap(), address.parse().unwrap());
            assert_eq!(found, expected.parse::<Ipv6Addr>().unwrap());
        };
        check("54a0:6231:d015:6ef9::", "231.201.224.144", "54a0:6231:d015:6ef9:231:201:224:144");
        check("2001:db8:1:2:3:4:5:6", "192.0.2.158", "2001:db8:1:2:192:0:2:158");
        check("2001:db8::", "10.1.20.9", "2001:db8:0:0:10:1:20:9");
    }
}
