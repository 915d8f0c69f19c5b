//! An address belongs to one host.

use std::net::Ipv4Addr;

use crate::config::{self, Config, Diagnostic, Spanned};

pub(super) fn check(
    config: &Config,
    entry: &config::Via6,
    earlier: &[config::Via6],
    found: &mut Vec<Diagnostic>,
) {
    let host = entry.host.as_ref().map(|host| host.value.as_str());
    let router = entry.router.as_ref().map(|router| router.value.as_str());
    for address in &entry.addresses {
        let taken = taken(config, entry, address.value, host, earlier);
        found.extend(taken.map(|(message, help)| Diagnostic::new(address.span.clone(), message, help)));
    }
    if let Some(address) = &entry.router_address {
        let taken = taken(config, entry, address.value, router, earlier);
        let taken = taken.or_else(|| host_and_router(address, entry));
        found.extend(taken.map(|(message, help)| Diagnostic::new(address.span.clone(), message, help)));
    }
}

type Words = (String, String);

fn host_and_router(address: &Spanned<Ipv4Addr>, entry: &config::Via6) -> Option<Words> {
    let same = entry.addresses.iter().any(|other| other.value == address.value);
    same.then(|| {
        let message = format!("`{}` is the host's address, and can't be its router's too", address.value);
        (message, "write another address: ICMP errors of the router come from it".into())
    })
}

/// Who has an address already that `whose` shall have.
fn taken(
    config: &Config,
    entry: &config::Via6,
    address: Ipv4Addr,
    whose: Option<&str>,
    earlier: &[config::Via6],
) -> Option<Words> {
    if config.borrows.iter().any(|borrow| is(borrow.address.as_ref(), address)) {
        let message = format!("`{address}` is borrowed: it has its way already");
        return Some((message, "delete the [[borrow]] or write another address".into()));
    }
    let owner = config.hosts.iter().find(|host| host.ipv4.iter().any(|net| net.value.addr() == address));
    if let Some(owner) = owner.map(|owner| owner.name.value.as_str()) {
        let help = if Some(owner) == whose && entry.addresses.iter().any(|own| own.value == address) {
            "leave `address` out: an address that the host has by itself serves"
        } else if Some(owner) == whose {
            "leave `router-address` out: the router answers from an address of its own"
        } else {
            "give each host an address of its own"
        };
        return Some((format!("`{address}` is [host.{owner}]'s `ipv4` already"), help.into()));
    }
    let elsewhere = |publish: &&config::Publish| {
        is(publish.address.as_ref(), address)
            && publish.from.as_ref().is_some_and(|from| Some(from.value.as_str()) != whose)
    };
    if let Some(from) = config.publishes.iter().find(elsewhere).and_then(|publish| publish.from.as_ref()) {
        let message = format!("`{address}` is published by {}, which has it", from.value);
        return Some((message, "delete the [[publish]] or write another address".into()));
    }
    let other = earlier.iter().find(|other| has(other, address, whose))?;
    let (host, router) = (&other.host, &other.router);
    let given = other.addresses.iter().any(|given| given.value == address);
    let owner = if given { host } else { router };
    let owner = owner.as_ref().map_or("another host", |owner| owner.value.as_str());
    Some((
        format!("two hosts with the address `{address}`"),
        format!("each host has its own; another [[via6]] gives this one to {owner}"),
    ))
}

fn is(word: Option<&Spanned<Ipv4Addr>>, address: Ipv4Addr) -> bool {
    word.is_some_and(|word| word.value == address)
}

/// Whether an entry gives an address to somebody else.
fn has(other: &config::Via6, address: Ipv4Addr, whose: Option<&str>) -> bool {
    let someone_else =
        |name: Option<&Spanned<String>>| name.is_some_and(|name| Some(name.value.as_str()) != whose);
    let to_host = other.addresses.iter().any(|given| given.value == address);
    to_host && someone_else(other.host.as_ref())
        || is(other.router_address.as_ref(), address) && someone_else(other.router.as_ref())
}
