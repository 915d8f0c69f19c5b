use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::Serialize;

use crate::config::{self, Config, Diagnostic, SourceWord, Spanned, suggestion};

use super::FastChoice;

/// Which make of a carrier a host uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// The kernel's device where the kernel has it, else tun.
    #[default]
    Auto,
    /// The kernel's device.
    Kernel,
    /// A tun device served by a process of ours.
    Tun,
}

/// A host that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name in the file.
    pub name: String,
    /// The device that leads to the internet, and where the file names it.
    pub uplink: Spanned<String>,
    /// Its own IPv4 addresses.
    pub ipv4: Vec<Ipv4Net>,
    /// The IPv6 address that carriers end at.
    pub ipv6: Option<Spanned<Ipv6Addr>>,
    /// Which make of a carrier, and where the file says so.
    pub backend: Option<Spanned<BackendChoice>>,
    /// Whether the kernel carries plain packets of carriers that are tun, and where the file says so.
    pub fast_path: Option<Spanned<FastChoice>>,
    /// Networks that are delivered on the uplink's link, beyond what its routes tell.
    pub on_link: Vec<Ipv6Net>,
    /// Which address neighbours there are answered from.
    pub neighbour_source: NeighbourSource,
}

/// Which address neighbours are answered from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighbourSource {
    /// The uplink's link-local one.
    #[default]
    LinkLocal,
    /// This one.
    Global(Ipv6Addr),
    /// The one of both that is of the kind that was asked from.
    AsAsked(Ipv6Addr),
}

impl Host {
    pub(super) fn from_config(host: &config::Host) -> Option<Host> {
        Some(Host {
            name: host.name.value.clone(),
            uplink: host.uplink.clone()?,
            ipv4: host.ipv4.iter().map(|net| net.value).collect(),
            ipv6: host.ipv6.clone(),
            backend: host.carrier_backend.clone(),
            fast_path: host.fast_path.clone(),
            on_link: host.on_link.iter().map(|net| net.value).collect(),
            neighbour_source: source(host),
        })
    }
}

/// Without `ipv6` there is a diagnostic.
fn source(host: &config::Host) -> NeighbourSource {
    let word = host.neighbour_source.as_ref().map(|word| word.value);
    let global = host.ipv6.as_ref().map(|address| address.value);
    let source = word.zip(global).map(|(word, global)| match word {
        SourceWord::LinkLocal => NeighbourSource::LinkLocal,
        SourceWord::Global => NeighbourSource::Global(global),
        SourceWord::AsAsked => NeighbourSource::AsAsked(global),
    });
    source.unwrap_or_default()
}

/// What can be wrong with the hosts by themselves.
pub(super) fn check(hosts: &[config::Host], found: &mut Vec<Diagnostic>) {
    for host in hosts {
        gateway(host, found);
    }
    let mut holders: HashMap<IpAddr, Vec<&config::Host>> = HashMap::new();
    for host in hosts {
        let own = host.ipv6.iter().map(|address| IpAddr::V6(address.value));
        let own: HashSet<IpAddr> = own.chain(host.ipv4.iter().map(|net| net.value.addr().into())).collect();
        let mut others: Vec<&config::Host> =
            own.iter().filter_map(|address| holders.get(address)).flatten().copied().collect();
        others.sort_by_key(|other| other.name.span.start);
        others.dedup_by_key(|other| other.name.span.start);
        others.into_iter().for_each(|other| twice(host, other, found));
        own.into_iter().for_each(|address| holders.entry(address).or_default().push(host));
    }
}

fn gateway(host: &config::Host, found: &mut Vec<Diagnostic>) {
    let Some(gateway) = &host.gateway4 else { return };
    let nets: Vec<Ipv4Net> = host.ipv4.iter().map(|net| net.value).collect();
    if nets.iter().any(|net| net.addr() == gateway.value) {
        found.push(Diagnostic::new(
            gateway.span.clone(),
            format!("`{}` is the host's own address", gateway.value),
            "write the router's address, as `ip route show default` tells it",
        ));
        return;
    }
    // A /32 has its gateway outside by nature, as some hosters have it.
    if nets.is_empty() || nets.iter().any(|net| net.prefix_len() == 32 || usable(*net, gateway.value)) {
        return;
    }
    let prefixes: Vec<String> = nets.iter().map(|net| net.trunc().to_string()).collect();
    let inside = nets.iter().any(|net| net.contains(&gateway.value));
    let why = if inside { "is no host's address in" } else { "is outside" };
    found.push(Diagnostic::new(
        gateway.span.clone(),
        format!("the gateway `{}` {why} {}", gateway.value, prefixes.join(" and ")),
        "write a router's address inside the prefix, as `ip route show default` tells it",
    ));
}

fn usable(net: Ipv4Net, address: Ipv4Addr) -> bool {
    net.contains(&address)
        && (net.prefix_len() == 31 || (address != net.network() && address != net.broadcast()))
}

fn twice(host: &config::Host, other: &config::Host, found: &mut Vec<Diagnostic>) {
    let help = format!("each host has its own; [host.{}] has this one already", other.name.value);
    if let (Some(mine), Some(theirs)) = (&host.ipv6, &other.ipv6)
        && mine.value == theirs.value
    {
        found.push(Diagnostic::new(
            mine.span.clone(),
            format!("two hosts with the address `{}`", mine.value),
            help.clone(),
        ));
    }
    for mine in &host.ipv4 {
        if other.ipv4.iter().any(|theirs| theirs.value.addr() == mine.value.addr()) {
            let message = format!("two hosts with the address `{}`", mine.value.addr());
            found.push(Diagnostic::new(mine.span.clone(), message, help.clone()));
        }
    }
}

/// The host that a bridge names.
pub(super) fn find<'a>(
    config: &'a Config,
    name: Option<&Spanned<String>>,
    found: &mut Vec<Diagnostic>,
) -> Option<&'a config::Host> {
    let name = name?;
    let host = config.hosts.iter().find(|host| host.name.value == name.value);
    if host.is_none() {
        let known: Vec<&str> = config.hosts.iter().map(|host| host.name.value.as_str()).collect();
        let help = if known.is_empty() {
            format!("describe it as [host.{}]", name.value)
        } else {
            suggestion(&name.value, &known)
        };
        found.push(Diagnostic::new(name.span.clone(), format!("no host is called `{}`", name.value), help));
    }
    host
}

/// A key of the host's section that this bridge needs; a value that was refused has its diagnostic.
pub(super) fn lacks(host: &config::Host, key: &str, why: &str, example: &str, found: &mut Vec<Diagnostic>) {
    if !host.keys.iter().any(|written| written == key) {
        let message = format!("[host.{}] lacks `{key}`: {why}", host.name.value);
        found.push(Diagnostic::new(host.name.span.clone(), message, format!("add {key} = {example}")));
    }
}
