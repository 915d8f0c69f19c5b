mod ring;

use std::net::IpAddr;
use std::ops::Range;

use ipnet::{IpNet, Ipv6Net};
use serde::Serialize;

use crate::config::{self, Config, Diagnostic, Source, Spanned};

use super::host::find;
use super::publish::{Transport, UPDATE_PORT};

/// Connections and datagrams that come to ports of a host, carried on to a target of either family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Relay {
    /// The bridge's name.
    #[serde(skip)]
    pub name: String,
    /// The host that relays.
    #[serde(skip)]
    pub host: String,
    /// Where it listens; at least one.
    pub listen: Vec<Listen>,
    /// Where what came to the first port of each goes.
    pub to: Destination,
    /// Whether the target gets a PROXY header, version 2.
    pub proxy_out: bool,
    /// Whose connections begin with a PROXY header.
    pub accept_proxy: Vec<IpNet>,
    /// A /96 in which the target sees the client's IPv4 address.
    pub embed: Option<Ipv6Net>,
    /// Who may connect; none for everybody.
    pub allow: Vec<IpNet>,
    /// Private addresses that the target's name may have.
    pub allow_private: Vec<IpNet>,
    /// Most connections at once.
    pub max_connections: Option<u32>,
    /// Most connections of one client at once.
    pub max_per_source: Option<u32>,
    /// Seconds until the target has answered.
    pub connect_timeout: u32,
    /// Seconds in which nothing moves, of TCP and of UDP.
    pub idle_timeout: [u32; 2],
    /// The same with one side closed.
    pub half_close_timeout: u32,
    /// Seconds that connections have left once straddle ends.
    pub drain_time: u32,
}

/// Where a relay listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listen {
    /// As the file has it.
    pub word: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Of which family; that of the address where there is one.
    pub family: Family,
    /// Every address of the family where there is none.
    pub address: Option<IpAddr>,
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

/// What is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Protocol {
        match transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        }
    }
}

/// Which version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Either, each with a socket of its own.
    Both,
}

/// Where a relay leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// The host.
    pub place: Place,
    /// The port for the first port of a range.
    pub port: u16,
}

/// A host by its address, or by a name that is asked for with each connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// By its address.
    Address(IpAddr),
    /// By a name.
    Name(String),
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Address(ip) => write!(f, "{}", std::net::SocketAddr::new(*ip, self.port)),
            Place::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl Listen {
    /// Whether both can't listen on one host: the kernel takes an address and every address for the same.
    fn clashes(&self, other: &Listen) -> bool {
        let ports = self.first <= other.last && other.first <= self.last;
        let families = self.family == other.family || [self.family, other.family].contains(&Family::Both);
        let addresses = match (self.address, other.address) {
            (Some(mine), Some(theirs)) => mine == theirs,
            (Some(_) | None, _) => true,
        };
        self.protocol == other.protocol && ports && families && addresses
    }

    /// Whether a publish leads on what is listened for.
    fn is_led_on(&self, ports: &config::Ports) -> bool {
        self.protocol == ports.transport.into()
            && self.first <= *ports.outer.end()
            && *ports.outer.start() <= self.last
    }

    /// Whether what goes to this address and one of these ports comes here.
    fn takes(&self, address: IpAddr, ports: Range<u32>) -> bool {
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        let own = u32::from(self.first)..u32::from(self.last) + 1;
        (self.family == family || self.family == Family::Both)
            && self.address.is_none_or(|mine| mine == address)
            && own.start < ports.end
            && ports.start < own.end
    }
}

/// A relay's idle times where the file says none: RFC 5382 §5 (2 h 4 min), RFC 4787 §4.3 (5 min).
const IDLE: [u32; 2] = [7440, 300];

/// Every legal `[[relay]]` of the file; what is illegal goes to `found`.
pub(super) fn build(config: &Config, found: &mut Vec<Diagnostic>) -> Vec<Relay> {
    let mut relays = Vec::new();
    for (index, entry) in config.relays.iter().enumerate() {
        let earlier = config.relays.get(..index).unwrap_or(&[]);
        twice(entry, earlier, found);
        relays.extend(one(config, index, entry, found));
    }
    relays
}

fn one(config: &Config, index: usize, entry: &config::Relay, found: &mut Vec<Diagnostic>) -> Option<Relay> {
    let host = find(config, entry.host.as_ref(), found);
    beyond(entry, found);
    headers(entry, found);
    embedding(config, entry, host, found);
    if let Some(host) = host {
        ring::check(config, index, entry, host, found);
        published(config, entry, host, found);
        updates(config, entry, host, found);
    }
    let idle = entry.idle_timeout.as_ref().map(|idle| idle.value);
    let seconds = |written: &Option<Spanned<u32>>, otherwise| value(written).unwrap_or(otherwise);
    let nets = |written: &[Spanned<IpNet>]| written.iter().map(|net| net.value).collect();
    Some(Relay {
        name: name(entry)?,
        host: host?.name.value.clone(),
        listen: entry.listen.iter().map(|listen| listen.value.clone()).collect(),
        to: entry.to.as_ref()?.value.clone(),
        proxy_out: entry.proxy_protocol.is_some(),
        accept_proxy: nets(&entry.accept_proxy),
        embed: value(&entry.embed),
        allow: nets(&entry.allow),
        allow_private: nets(&entry.allow_private),
        max_connections: value(&entry.max_connections),
        max_per_source: value(&entry.max_per_source),
        connect_timeout: seconds(&entry.connect_timeout, 10),
        idle_timeout: IDLE.map(|otherwise| idle.unwrap_or(otherwise)),
        half_close_timeout: seconds(&entry.half_close_timeout, 120),
        drain_time: seconds(&entry.drain_time, 30),
    })
}

fn value<T: Copy>(written: &Option<Spanned<T>>) -> Option<T> {
    written.as_ref().map(|written| written.value)
}

/// Its own name, or one of its recipe, host and first `listen`.
pub(super) fn name(entry: &config::Relay) -> Option<String> {
    if let Some(name) = &entry.name {
        return Some(name.value.clone());
    }
    let (host, listen) = (entry.host.as_ref()?, entry.listen.first()?);
    Some(format!("relay-{}-{}", host.value, listen.value.word.replacen('/', "-", 1)))
}

/// No two listen at the same place of one host.
fn twice(entry: &config::Relay, earlier: &[config::Relay], found: &mut Vec<Diagnostic>) {
    let same_host = |other: &&config::Relay| match (&entry.host, &other.host) {
        (Some(mine), Some(theirs)) => mine.value == theirs.value,
        (Some(_) | None, _) => false,
    };
    for (index, listen) in entry.listen.iter().enumerate() {
        let before = earlier.iter().filter(same_host).flat_map(|other| &other.listen);
        let mut before = before.chain(entry.listen.iter().take(index));
        let Some(other) = before.find(|other| listen.value.clashes(&other.value)) else { continue };
        let (mine, theirs) = (&listen.value.word, &other.value.word);
        let message = if mine == theirs {
            format!("`{mine}` is listened at already")
        } else {
            format!("`{mine}` and `{theirs}`, which stands before it, are the same place in part")
        };
        let help = "listen at another port, or give each an address of its own";
        found.push(Diagnostic::new(listen.span.clone(), message, help));
    }
}

/// A range keeps its offset at the target.
fn beyond(entry: &config::Relay, found: &mut Vec<Diagnostic>) {
    let Some(to) = &entry.to else { return };
    for listen in &entry.listen {
        let more = listen.value.last - listen.value.first;
        if to.value.port.checked_add(more).is_none() {
            found.push(Diagnostic::new(
                to.span.clone(),
                format!(
                    "`{}` has {} ports, and from {} on there are fewer",
                    listen.value.word,
                    more + 1,
                    to.value.port
                ),
                format!("write a port of at most {}", u16::MAX - more),
            ));
        }
    }
}

/// A datagram has no beginning that a header could stand at before it is known whose it is.
fn headers(entry: &config::Relay, found: &mut Vec<Diagnostic>) {
    let Some(first) = entry.accept_proxy.first() else { return };
    if let Some(udp) = entry.listen.iter().find(|listen| listen.value.protocol == Protocol::Udp) {
        found.push(Diagnostic::new(
            first.span.clone(),
            format!("`accept-proxy` is for TCP, and `{}` is UDP", udp.value.word),
            "give UDP a [[relay]] of its own, without `accept-proxy`",
        ));
    }
}

fn embedding(
    config: &Config,
    entry: &config::Relay,
    host: Option<&config::Host>,
    found: &mut Vec<Diagnostic>,
) {
    let wanted = entry.source.as_ref().filter(|source| source.value == Source::Embed);
    match (&entry.embed, wanted) {
        (None, None) => return,
        (None, Some(source)) => {
            if !entry.keys.iter().any(|key| key == "embed") {
                found.push(Diagnostic::new(
                    source.span.clone(),
                    "`source` is embedded, and no prefix is given for it",
                    "add embed = \"2001:db8:64::/96\", a prefix of your own that nothing else uses",
                ));
            }
        }
        (Some(embed), None) => {
            found.push(Diagnostic::new(
                embed.span.clone(),
                "`embed` has no use without source = \"embed\"",
                "add source = \"embed\"",
            ));
        }
        (Some(embed), Some(_)) => prefix(config, embed, host, found),
    }
    for listen in entry.listen.iter().filter(|listen| listen.value.family != Family::V4) {
        found.push(Diagnostic::new(
            listen.span.clone(),
            format!("an IPv6 client of `{}` has no IPv4 address to embed", listen.value.word),
            "write tcp4 or udp4 here, and give IPv6 a [[relay]] of its own",
        ));
    }
    if let Some(to) = &entry.to
        && matches!(to.value.place, Place::Address(IpAddr::V4(_)))
    {
        found.push(Diagnostic::new(
            to.span.clone(),
            format!("`{}` is IPv4, and would not see an IPv6 source address", to.value),
            "write the target's IPv6 address, or leave `source` and `embed` out",
        ));
    }
}

/// Everything within the prefix comes to the relay.
fn prefix(
    config: &Config,
    embed: &Spanned<Ipv6Net>,
    host: Option<&config::Host>,
    found: &mut Vec<Diagnostic>,
) {
    let Some(host) = host else { return };
    if host.ipv6.as_ref().is_some_and(|own| embed.value.contains(&own.value)) {
        found.push(Diagnostic::new(
            embed.span.clone(),
            format!("[host.{}] itself stands inside `embed`", host.name.value),
            "write a prefix that is used for this alone",
        ));
    }
    let here = |siit: &&config::Siit| siit.host.as_ref().is_some_and(|named| named.value == host.name.value);
    let mut pools = config.siits.iter().filter(here).flat_map(|siit| &siit.pool6);
    let overlaps = |pool: &&Spanned<straddle_xlat::rfc6052::Prefix>| {
        pool.value.net().contains(&embed.value) || embed.value.contains(&pool.value.net())
    };
    if let Some(pool) = pools.find(overlaps) {
        found.push(Diagnostic::new(
            embed.span.clone(),
            format!("`embed` and the `pool6` {} of a [[siit]] overlap", pool.value),
            "write a prefix that is used for this alone",
        ));
    }
}

/// What a `[[publish]]` leads on never comes to a relay.
fn published(config: &Config, entry: &config::Relay, host: &config::Host, found: &mut Vec<Diagnostic>) {
    let here =
        |publish: &&config::Publish| publish.from.as_ref().is_some_and(|from| from.value == host.name.value);
    for publish in config.publishes.iter().filter(here) {
        let Some(address) = publish.address.as_ref().map(|address| address.value) else { continue };
        let alone = host.ipv4.iter().all(|net| net.value.addr() == address);
        let same = |listen: &Listen| match listen.address {
            Some(mine) => mine == IpAddr::V4(address),
            None => alone && listen.family != Family::V6,
        };
        let taken = |listen: &&Spanned<Listen>| {
            let led = publish.ports.iter().any(|ports| listen.value.is_led_on(&ports.value));
            same(&listen.value) && (publish.ports.is_empty() || led)
        };
        if let Some(listen) = entry.listen.iter().find(taken) {
            found.push(Diagnostic::new(
                listen.span.clone(),
                format!(
                    "nothing comes to `{}`: a [[publish]] leads it on, to another host",
                    listen.value.word
                ),
                "listen at another port or address, or publish by `ports` without this one",
            ));
        }
    }
}

/// Where this host hears of another's endpoint.
struct Hearing {
    protocol: Protocol,
    addresses: Vec<IpAddr>,
    port: u32,
    /// For whom.
    recipe: &'static str,
    /// What to give another port.
    other: &'static str,
}

/// Where another host tells its endpoint, nobody else can listen. A `key-file` says that it does.
fn updates(config: &Config, entry: &config::Relay, host: &config::Host, found: &mut Vec<Diagnostic>) {
    for Hearing { protocol, addresses, port, recipe, other } in hearings(config, host) {
        let taken = |listen: &&Spanned<Listen>| {
            listen.value.protocol == protocol
                && addresses.iter().any(|address| listen.value.takes(*address, port..port + 1))
        };
        let Some(listen) = entry.listen.iter().find(taken) else { continue };
        let word = &listen.value.word;
        let name = if protocol == Protocol::Tcp { "TCP" } else { "UDP" };
        let message = format!("`{word}`: at {name} port {port} a {recipe} hears where its other end is");
        let help = format!("listen at another port, or give {other}");
        found.push(Diagnostic::new(listen.span.clone(), message, help));
    }
}

fn hearings(config: &Config, host: &config::Host) -> Vec<Hearing> {
    let here =
        |named: &Option<Spanned<String>>| named.as_ref().is_some_and(|named| named.value == host.name.value);
    let four: Vec<IpAddr> = host.ipv4.iter().map(|net| net.value.addr().into()).collect();
    let six: Vec<IpAddr> = host.ipv6.iter().map(|address| address.value.into()).collect();
    let signed = |addresses: &[IpAddr], port: &Option<Spanned<u32>>, recipe, other| Hearing {
        protocol: Protocol::Udp,
        addresses: addresses.to_vec(),
        port: value(port).unwrap_or(UPDATE_PORT.into()),
        recipe,
        other,
    };
    let mut all = Vec::new();
    for publish in config.publishes.iter().filter(|it| here(&it.from) && it.key_file.is_some()) {
        all.push(signed(&six, &publish.update_port, "[[publish]]", "the [[publish]] another `update-port`"));
    }
    for tunnel in config.tunnels6.iter().filter(|it| here(&it.server) && it.key_file.is_some()) {
        let first = four.get(..1).unwrap_or_default();
        all.push(signed(first, &tunnel.update_port, "[[tunnel6]]", "the [[tunnel6]] another `update-port`"));
    }
    let url = host.update_url.as_ref().filter(|_| super::tunnel6::hears_http(config, host));
    all.extend(url.map(|url| Hearing {
        protocol: Protocol::Tcp,
        addresses: [four, six].concat(),
        port: url.value.port.into(),
        recipe: "[[tunnel6]]",
        other: "the host another port in its `update-url`",
    }));
    all
}
