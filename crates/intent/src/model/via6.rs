use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ipnet::Ipv4Net;

use crate::config::{self, Config, Diagnostic, HopWord, Spanned};

use super::Model;
use super::host::find;

mod address;
mod neighbours;
mod router;

/// IPv4 by way of an IPv6 next hop (RFC 8950 without BGP): no tunnel, no ARP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via6 {
    /// The bridge's name.
    pub name: String,
    /// The host that has IPv4 by it.
    pub host: String,
    /// The addresses that the host gets.
    pub addresses: Vec<Ipv4Addr>,
    /// The next hops, at least one.
    pub gateways: Vec<NextHop>,
    /// What goes that way; a default route where the file names none.
    pub routes: Vec<Ipv4Net>,
    /// The metric of these routes.
    pub metric: u32,
    /// The largest packet of the way in bytes, where the file says one.
    pub mtu: Option<u32>,
    /// Who the next hop is, where the file describes it.
    pub router: Option<Router>,
}

/// A neighbour that packets are handed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Its address: link-local, or global.
    pub address: Ipv6Addr,
    /// The device that it is on, and where the file says so.
    pub dev: Spanned<String>,
    /// Its share of the connections, from 1 to 256.
    pub weight: u16,
}

/// The other end of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Its name in the file.
    pub host: String,
    /// The host as it sees it, at least one.
    pub hops: Vec<NextHop>,
    /// What its own ICMP errors come from, where the file says it.
    pub address: Option<Ipv4Addr>,
}

impl Model {
    /// The IPv4 addresses that the router of an entry leads to the entry's host: the host's own, and those
    /// of everybody whose router it is in turn.
    #[must_use]
    pub fn behind(&self, via6: &Via6) -> Vec<Ipv4Addr> {
        let mut once: Vec<Ipv4Addr> = Vec::new();
        for address in self.hosts_behind(via6).into_iter().flat_map(|host| self.given(host)) {
            if !once.contains(&address) {
                once.push(address);
            }
        }
        once
    }

    /// The entry's host, and everybody whose router it is, at whatever distance.
    #[must_use]
    pub fn hosts_behind<'a>(&'a self, via6: &'a Via6) -> Vec<&'a str> {
        let mut hosts: Vec<&str> = vec![&via6.host];
        let mut next = 0;
        while let Some(&host) = hosts.get(next) {
            next += 1;
            for other in self.via6s.iter().filter(|other| other.leads_by(host)) {
                if !hosts.contains(&other.host.as_str()) {
                    hosts.push(&other.host);
                }
            }
        }
        hosts
    }

    /// The IPv4 addresses that the file gives a host by way of IPv6; else those that it has by itself and
    /// without a network.
    #[must_use]
    pub fn given(&self, host: &str) -> Vec<Ipv4Addr> {
        let entries = self.via6s.iter().filter(|entry| entry.host == host);
        let mut given: Vec<Ipv4Addr> = entries.flat_map(|entry| &entry.addresses).copied().collect();
        let led = self.via6s.iter().filter(|entry| entry.leads_by(host));
        given.extend(led.filter_map(|entry| entry.router.as_ref()?.address));
        if given.is_empty() {
            let known = self.hosts.iter().filter(|known| known.name == host);
            let alone = known.flat_map(|known| &known.ipv4).filter(|net| net.prefix_len() == 32);
            given.extend(alone.map(Ipv4Net::addr));
        }
        given
    }
}

impl Via6 {
    /// Whether this host is the entry's router.
    #[must_use]
    pub fn leads_by(&self, host: &str) -> bool {
        self.router.as_ref().is_some_and(|router| router.host == host)
    }
}

/// Every legal `[[via6]]` of the file; what is illegal goes to `found`.
pub(super) fn build(config: &Config, found: &mut Vec<Diagnostic>) -> Vec<Via6> {
    let mut parts: Vec<Parts<'_>> = Vec::new();
    for (index, entry) in config.via6s.iter().enumerate() {
        let earlier = config.via6s.get(..index).unwrap_or(&[]);
        address::check(config, entry, earlier, found);
        let part = Parts::of(config, entry, found);
        for other in &parts {
            beside(&part, other, found);
        }
        parts.push(part);
    }
    router::round(config, found);
    neighbours::check(config, &parts, found);
    parts.into_iter().filter_map(Parts::whole).collect()
}

/// What is legal of an entry, even where something else of it is not.
struct Parts<'a> {
    entry: &'a config::Via6,
    host: Option<&'a str>,
    /// None where any of them is illegal.
    gateways: Option<Vec<NextHop>>,
    /// Those that are legal.
    routes: Vec<Ipv4Net>,
    metric: Option<u32>,
    /// `Some(None)`: the file describes none.
    router: Option<Option<Router>>,
}

impl<'a> Parts<'a> {
    fn of(config: &'a Config, entry: &'a config::Via6, found: &mut Vec<Diagnostic>) -> Parts<'a> {
        let host = find(config, entry.host.as_ref(), found);
        let router = router::build(config, entry, host, found);
        let uplink = host.and_then(|host| host.uplink.as_ref());
        let gateways = hops(&entry.gateways, entry.dev.as_ref().or(uplink), found);
        own_neighbour(host, &entry.gateways, found);
        unused_dev("dev", "gateway", entry.dev.as_ref(), &entry.gateways, found);
        let written = |key: &str| entry.keys.iter().any(|word| word == key);
        let routes = entry.routes.iter().map(|route| route.value);
        let metric = entry.metric.as_ref().map(|metric| metric.value);
        Parts {
            entry,
            host: host.map(|host| host.name.value.as_str()),
            gateways,
            routes: if written("routes") { routes.collect() } else { vec![Ipv4Net::default()] },
            metric: metric.or((!written("metric")).then_some(0)),
            router,
        }
    }

    /// The entry, if nothing of it is illegal.
    fn whole(self) -> Option<Via6> {
        Some(Via6 {
            name: self.name()?,
            host: self.host?.into(),
            addresses: self.entry.addresses.iter().map(|address| address.value).collect(),
            gateways: self.gateways?,
            routes: self.routes,
            metric: self.metric?,
            mtu: self.entry.mtu.as_ref().map(|mtu| mtu.value),
            router: self.router?,
        })
    }

    fn name(&self) -> Option<String> {
        name(self.entry)
    }

    fn router(&self) -> Option<&Router> {
        self.router.as_ref()?.as_ref()
    }
}

/// Its own name, or that of its recipe and address; or host, where it gives none.
pub(super) fn name(entry: &config::Via6) -> Option<String> {
    if let Some(name) = &entry.name {
        return Some(name.value.clone());
    }
    let address = entry.addresses.first().map(|address| format!("via6-{}", address.value));
    address.or_else(|| entry.host.as_ref().map(|host| format!("via6-{}", host.value)))
}

/// The next hops with their devices; none where one has no device, which has its diagnostic.
fn hops(
    words: &[Spanned<HopWord>],
    dev: Option<&Spanned<String>>,
    found: &mut Vec<Diagnostic>,
) -> Option<Vec<NextHop>> {
    let mut hops: Vec<NextHop> = Vec::new();
    for Spanned { value: word, span } in words {
        let own = word.dev.clone().map(|dev| Spanned { value: dev, span: span.clone() });
        let dev = own.or_else(|| dev.cloned())?;
        let same = |hop: &NextHop| hop.address == word.address && hop.dev.value == dev.value;
        if hops.iter().any(same) {
            let message = format!("`{}` on {} is listed twice", word.address, dev.value);
            let help = "delete one of the two; `weight` gives a next hop a larger share";
            found.push(Diagnostic::new(span.clone(), message, help));
        }
        hops.push(NextHop { address: word.address, dev, weight: word.weight });
    }
    (!hops.is_empty()).then_some(hops)
}

/// A host is not its own next hop.
fn own_neighbour(host: Option<&config::Host>, words: &[Spanned<HopWord>], found: &mut Vec<Diagnostic>) {
    let own = host.and_then(|host| host.ipv6.as_ref().map(|ipv6| (host, ipv6.value)));
    for word in words {
        if let Some((host, own)) = own
            && word.value.address == own
        {
            let message = format!("`{own}` is [host.{}]'s own address", host.name.value);
            let help = "write the address of its neighbour at the other end of the link";
            found.push(Diagnostic::new(word.span.clone(), message, help));
        }
    }
}

/// A device for those that name none has no use where each names its own.
fn unused_dev(
    key: &str,
    of: &str,
    dev: Option<&Spanned<String>>,
    words: &[Spanned<HopWord>],
    found: &mut Vec<Diagnostic>,
) {
    if let Some(dev) = dev
        && !words.is_empty()
        && words.iter().all(|word| word.value.dev.is_some())
    {
        let message = format!("`{key}` has no use: each of `{of}` names its device");
        found.push(Diagnostic::new(dev.span.clone(), message, format!("leave `{key}` out")));
    }
}

/// What two entries can't have in common.
fn beside(part: &Parts<'_>, other: &Parts<'_>, found: &mut Vec<Diagnostic>) {
    let Some(host) = part.host.filter(|host| other.host == Some(host)) else { return };
    let (entry, theirs) = (part.entry, other.name().unwrap_or_default());
    let same = part.routes.iter().find(|route| other.routes.contains(route));
    if let Some(route) = same
        && part.metric.is_some()
        && part.metric == other.metric
    {
        let span = entry.routes.iter().find(|word| word.value == *route).map(|word| word.span.clone());
        let message = format!("{theirs} is {host}'s way to {} already", to(*route));
        let help = "list all next hops in one entry: gateway = [\"fe80::1\", \"fe80::2 dev eth1 weight 2\"]; \
                    or give this one a larger `metric`";
        found.push(Diagnostic::new(span.unwrap_or(entry.span.clone()), message, help));
    }
    if let (Some(mine), Some(their)) = (part.router(), other.router())
        && mine.host == their.host
        && alike(&mine.hops) != alike(&their.hops)
    {
        let message = format!("{theirs} says otherwise how {} reaches {host}", mine.host);
        let own = part.name().unwrap_or_default();
        let help = format!("write the same `host6` and `router-dev`, or leave `router` out of {own}");
        found.push(Diagnostic::new(at(entry.router.as_ref(), entry), message, help));
    }
}

fn alike(hops: &[NextHop]) -> Vec<(Ipv6Addr, &str, u16)> {
    hops.iter().map(|hop| (hop.address, hop.dev.value.as_str(), hop.weight)).collect()
}

fn at<T>(word: Option<&Spanned<T>>, entry: &config::Via6) -> Range<usize> {
    word.map_or(entry.span.clone(), |word| word.span.clone())
}

/// A destination as one says it.
fn to(route: Ipv4Net) -> String {
    if route.prefix_len() == 0 { "default".into() } else { route.to_string() }
}

#[cfg(test)]
mod tests {
    use crate::model;

    #[test]
    fn who_is_behind_whom() {
        let hosts = "[host.a]\nuplink = \"e\"\n[host.b]\nuplink = \"e\"\nipv4 = \"10.0.0.9/32\"\n\
                     [host.r]\nuplink = \"e\"\n[host.s]\nuplink = \"e\"\n";
        let entry = |host: &str, router: &str, more: &str| {
            format!(
                "[[via6]]\nhost = \"{host}\"\ngateway = \"fe80::1\"\nrouter = \"{router}\"\n\
                 host6 = \"fe80::{host}\"\nrouter-dev = \"to-{host}\"\n{more}\n"
            )
        };
        let text = [
            hosts,
            &entry("a", "r", "address = [\"10.0.0.1\", \"10.0.0.2\"]\nrouter-address = \"10.0.0.100\""),
            &entry("b", "r", ""),
            &entry("r", "s", "").replace("fe80::r", "fe80::f"),
        ]
        .concat();
        let model = model::read(&text).unwrap_or_else(|found| panic!("{found:?}"));
        let check = |index: usize, expected: &[&str]| {
            let found: Vec<String> =
                model.behind(&model.via6s[index]).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{index}");
        };
        check(0, &["10.0.0.1", "10.0.0.2"]);
        check(1, &["10.0.0.9"]);
        check(2, &["10.0.0.100", "10.0.0.1", "10.0.0.2", "10.0.0.9"]);
    }
}
