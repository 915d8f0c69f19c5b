//! The router of an entry, and the chain that routers make.

use crate::config::{self, Config, Diagnostic, HopWord, Spanned};
use crate::model::host::find;

use super::{Router, at, hops, own_neighbour, unused_dev};

/// `Some(None)`: the file describes none.
pub(super) fn build(
    config: &Config,
    entry: &config::Via6,
    host: Option<&config::Host>,
    found: &mut Vec<Diagnostic>,
) -> Option<Option<Router>> {
    if entry.router.is_none() {
        // One that was written and refused has its diagnostic.
        let written = entry.keys.iter().any(|key| key == "router");
        if !written {
            without_use(entry, found);
        }
        return (!written).then_some(None);
    }
    let router = find(config, entry.router.as_ref(), found);
    if let (Some(host), Some(router)) = (host, router)
        && host.name.value == router.name.value
    {
        let message = "a host can't be its own router";
        found.push(Diagnostic::new(at(entry.router.as_ref(), entry), message, "name the next hop's host"));
    }
    let words = seen(entry, host, found);
    own_neighbour(router, &words, found);
    unused_dev("router-dev", "host6", entry.router_dev.as_ref(), &entry.host6, found);
    let named = words.iter().all(|word| word.value.dev.is_some());
    if !entry.keys.iter().any(|key| key == "router-dev") && (!named || words.is_empty()) {
        found.push(Diagnostic::new(
            at(entry.router.as_ref(), entry),
            "[[via6]] with `router` lacks `router-dev`: by which device does the router reach the host?",
            "add router-dev = \"eth1\", as `ip -6 neigh` on the router tells it",
        ));
    }
    if let Some(host) = host {
        leads_nowhere(config, entry, host, found);
    }
    let hops = hops(&words, entry.router_dev.as_ref(), found);
    let address = entry.router_address.as_ref().map(|address| address.value);
    Some(Some(Router { host: router?.name.value.clone(), hops: hops?, address }))
}

fn without_use(entry: &config::Via6, found: &mut Vec<Diagnostic>) {
    let keys = [
        ("host6", entry.host6.first().map(|word| &word.span)),
        ("router-dev", entry.router_dev.as_ref().map(|word| &word.span)),
        ("router-address", entry.router_address.as_ref().map(|word| &word.span)),
    ];
    for (key, span) in keys.into_iter().filter_map(|(key, span)| Some((key, span?))) {
        let message = format!("`{key}` has no use without `router`");
        let help = format!("add router = \"NAME\", the host that it is about, or leave `{key}` out");
        found.push(Diagnostic::new(span.clone(), message, help));
    }
}

/// The host as its router sees it: by `host6`, else by the address that the host's section has.
fn seen(
    entry: &config::Via6,
    host: Option<&config::Host>,
    found: &mut Vec<Diagnostic>,
) -> Vec<Spanned<HopWord>> {
    if entry.keys.iter().any(|key| key == "host6") {
        return entry.host6.clone();
    }
    let Some(host) = host else { return Vec::new() };
    if let Some(ipv6) = &host.ipv6 {
        let value = HopWord { address: ipv6.value, dev: None, weight: 1 };
        return vec![Spanned { value, span: ipv6.span.clone() }];
    }
    let name = &host.name.value;
    if !host.keys.iter().any(|key| key == "ipv6") {
        found.push(Diagnostic::new(
            at(entry.router.as_ref(), entry),
            format!("the router has no next hop towards {name}: neither `host6` nor `ipv6` of [host.{name}]"),
            "add host6 = \"fe80::2\", the host's address on the link to its router",
        ));
    }
    Vec::new()
}

/// What shall lead back must have an address.
fn leads_nowhere(config: &Config, entry: &config::Via6, host: &config::Host, found: &mut Vec<Diagnostic>) {
    let name = &host.name.value;
    let is = |word: Option<&Spanned<String>>| word.is_some_and(|word| word.value == *name);
    let given = config.via6s.iter().any(|other| {
        is(other.host.as_ref()) && other.keys.iter().any(|key| key == "address") || is(other.router.as_ref())
    });
    let by_itself = host.ipv4.iter().any(|net| net.value.prefix_len() == 32);
    if !given && !by_itself {
        found.push(Diagnostic::new(
            entry.span.clone(),
            format!("nothing leads to {name}: the file knows no IPv4 address of it"),
            format!(
                "add address = \"10.0.8.42\"; or, of one that it has by itself, ipv4 = \"10.0.8.42/32\" to \
                 [host.{name}]"
            ),
        ));
    }
}

/// A chain of routers must not come back to where it begins.
pub(super) fn round(config: &Config, found: &mut Vec<Diagnostic>) {
    for (index, entry) in config.via6s.iter().enumerate() {
        let (Some(host), Some(router)) = (&entry.host, &entry.router) else { continue };
        if host.value == router.value {
            continue;
        }
        // Only what stands above counts: the entry that closes the ring is the one to tell of.
        let above = config.via6s.get(..index).unwrap_or(&[]);
        let mut reached = vec![router.value.as_str()];
        let mut next = 0;
        while let Some(&at) = reached.get(next) {
            next += 1;
            for other in above {
                if let (Some(from), Some(to)) = (&other.host, &other.router)
                    && from.value == at
                    && !reached.contains(&to.value.as_str())
                {
                    reached.push(&to.value);
                }
            }
        }
        if reached.contains(&host.value.as_str()) {
            let message = format!("{} is a router of {}'s already", host.value, router.value);
            let help = "let the chain end at a host that has IPv4 of its own";
            found.push(Diagnostic::new(router.span.clone(), message, help));
        }
    }
}
