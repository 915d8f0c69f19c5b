//! Every bridge of a file has a name of its own, and on each host a device of its own.

use std::collections::HashMap;
use std::ops::Range;

use crate::config::{Config, Diagnostic, Spanned};

use super::{borrow, clat, publish, relay, siit, tunnel6, via6};

struct Named<'a> {
    recipe: &'static str,
    /// Where its name stands, or what its name is made of.
    span: Range<usize>,
    /// Whether the file gives it one.
    given: bool,
    name: String,
    /// Its device, if it has one.
    device: Option<String>,
    hosts: Vec<&'a str>,
}

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    let tunnels = borrows(config).chain(publishes(config));
    let translators = siits(config).chain(clats(config));
    let others = relays(config).chain(via6s(config)).chain(tunnels6(config));
    let mut bridges: Vec<Named<'_>> = tunnels.chain(translators).chain(others).collect();
    bridges.sort_by_key(|bridge| bridge.span.start);
    // Those before that share the name, or a host and the device, by their places.
    let mut names: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut devices: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (index, bridge) in bridges.iter().enumerate() {
        let named = names.entry(&bridge.name).or_default();
        let mut others = named.clone();
        named.push(index);
        for (host, device) in bridge.hosts.iter().zip(bridge.device.iter().cycle()) {
            let beside = devices.entry((host, device)).or_default();
            others.extend(&*beside);
            beside.push(index);
        }
        others.retain(|other| *other != index);
        others.sort_unstable();
        let clash =
            others.iter().filter_map(|other| bridges.get(*other)).find_map(|other| bridge.clash(other));
        found.extend(clash);
    }
}

impl Named<'_> {
    fn clash(&self, other: &Self) -> Option<Diagnostic> {
        let named = self.given || other.given;
        // Two without names in other recipes say the same thing twice, which has words of its own.
        let entries_alike = ["siit", "publish", "via6", "tunnel6"].contains(&self.recipe);
        if self.name == other.name && (named || entries_alike) {
            let help = match (self.given, other.given) {
                (true, true) => "give each its own name",
                (true, false) => {
                    "write another name: a bridge without one is called after its host or address"
                }
                (false, _) => "add a name of its own, such as name = \"second\"",
            };
            let message = format!("two bridges are called `{}`", self.name);
            return Some(Diagnostic::new(self.span.clone(), message, help));
        }
        let together = self.hosts.iter().any(|host| other.hosts.contains(host));
        if let Some(device) = &self.device
            && (named || self.recipe == "tunnel6")
            && together
            && self.device == other.device
        {
            let message =
                format!("`{}` and `{}` would have the same device, {device}", other.name, self.name);
            return Some(Diagnostic::new(self.span.clone(), message, "write another name for one of them"));
        }
        None
    }
}

fn borrows(config: &Config) -> impl Iterator<Item = Named<'_>> {
    config.borrows.iter().filter_map(|entry| {
        let address = entry.address.as_ref();
        let span = span(entry.name.as_ref()).or(address.map(|address| address.span.clone()))?;
        let hosts = [&entry.from, &entry.to].into_iter().flatten().map(|host| host.value.as_str());
        // What is named needs no address for its name and device.
        let address = address.map_or(std::net::Ipv4Addr::UNSPECIFIED, |address| address.value);
        Some(Named {
            recipe: "borrow",
            span,
            given: entry.name.is_some(),
            name: borrow::name(entry, address),
            device: Some(borrow::device(entry, address)),
            hosts: hosts.collect(),
        })
    })
}

fn publishes(config: &Config) -> impl Iterator<Item = Named<'_>> {
    config.publishes.iter().filter_map(|entry| {
        let address = entry.address.as_ref();
        let span = span(entry.name.as_ref()).or(address.map(|address| address.span.clone()))?;
        let hosts = [&entry.from, &entry.to].into_iter().flatten().map(|host| host.value.as_str());
        let address = address.map_or(std::net::Ipv4Addr::UNSPECIFIED, |address| address.value);
        Some(Named {
            recipe: "publish",
            span,
            given: entry.name.is_some(),
            name: publish::name(entry, address),
            device: Some(publish::device(entry, address)),
            hosts: hosts.collect(),
        })
    })
}

fn siits(config: &Config) -> impl Iterator<Item = Named<'_>> {
    config.siits.iter().filter_map(|entry| {
        Some(Named {
            recipe: "siit",
            span: span(entry.name.as_ref()).or(span(entry.host.as_ref()))?,
            given: entry.name.is_some(),
            name: siit::name(entry)?,
            device: Some(siit::device(entry)),
            hosts: entry.host.iter().map(|host| host.value.as_str()).collect(),
        })
    })
}

fn clats(config: &Config) -> impl Iterator<Item = Named<'_>> {
    config.clats.iter().filter_map(|entry| {
        Some(Named {
            recipe: "clat",
            span: span(entry.name.as_ref()).or(span(entry.host.as_ref()))?,
            given: entry.name.is_some(),
            name: clat::name(entry)?,
            device: Some(clat::device(entry)),
            hosts: entry.host.iter().map(|host| host.value.as_str()).collect(),
        })
    })
}

fn relays(config: &Config) -> impl Iterator<Item = Named<'_>> {
    config.relays.iter().filter_map(|entry| {
        let listen = entry.listen.first().map(|listen| listen.span.clone());
        Some(Named {
            recipe: "relay",
            span: span(entry.name.as_ref()).or(listen)?,
            given: entry.name.is_some(),
            name: relay::name(entry)?,
            device: None,
            hosts: entry.host.iter().map(|host| host.value.as_str()).collect(),
        })
    })
}

fn via6s(config: &Config) -> impl Iterator<Item = Named<'_>> {
    config.via6s.iter().filter_map(|entry| {
        Some(Named {
            recipe: "via6",
            span: span(entry.name.as_ref()).or(span(entry.host.as_ref()))?,
            given: entry.name.is_some(),
            name: via6::name(entry)?,
            device: None,
            hosts: entry.host.iter().map(|host| host.value.as_str()).collect(),
        })
    })
}

fn tunnels6(config: &Config) -> impl Iterator<Item = Named<'_>> {
    config.tunnels6.iter().filter_map(|entry| {
        let hosts = [&entry.server, &entry.client].into_iter().flatten().map(|host| host.value.as_str());
        Some(Named {
            recipe: "tunnel6",
            span: span(entry.name.as_ref()).or(span(entry.client.as_ref()))?,
            given: entry.name.is_some(),
            name: tunnel6::name(entry)?,
            device: Some(tunnel6::device("st-", entry)?),
            hosts: hosts.collect(),
        })
    })
}

fn span(word: Option<&Spanned<String>>) -> Option<Range<usize>> {
    word.map(|word| word.span.clone())
}
