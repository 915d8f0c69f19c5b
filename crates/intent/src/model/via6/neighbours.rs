//! On a link every address is one host's.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::ops::Range;

use crate::config::{self, Config, Diagnostic, HopWord, Spanned};

use super::{NextHop, Parts, Router};

pub(super) fn check(config: &Config, parts: &[Parts<'_>], found: &mut Vec<Diagnostic>) {
    for part in parts {
        itself(part.entry, found);
        let (host, router) = (part.entry.host.as_ref(), part.entry.router.as_ref());
        somebody_else(config, &part.entry.gateways, (router, host), found);
        somebody_else(config, &part.entry.host6, (host, router), found);
    }
    twice(parts, found);
    for part in parts {
        let Some((host, router)) = part.host.zip(part.router()) else { continue };
        for hop in &router.hops {
            let gateway = parts.iter().find_map(|other| is_gateway(other, (host, router), hop));
            let same_entry = part.entry.gateways.iter().any(|word| word.value.address == hop.address);
            let Some(owner) = gateway.filter(|_| !same_entry) else { continue };
            found.push(Diagnostic::new(
                place(part.entry, hop),
                format!("`{}` is {owner}'s own address, the `gateway` of another [[via6]]", hop.address),
                format!(
                    "write the address that the router knows {host} by into `host6`, such as \"fe80::42\""
                ),
            ));
        }
    }
}

/// The two ends of a link don't have one address.
fn itself(entry: &config::Via6, found: &mut Vec<Diagnostic>) {
    for hop in &entry.host6 {
        if entry.gateways.iter().any(|gateway| gateway.value.address == hop.value.address) {
            found.push(Diagnostic::new(
                hop.span.clone(),
                format!("`{}` is the router's own address, the `gateway`", hop.value.address),
                "write the address that the router knows this host by, such as \"fe80::42\"",
            ));
        }
    }
}

/// An address that the file gives to a host is no other's. That of the other end of the link has its diagnostic.
fn somebody_else(
    config: &Config,
    words: &[Spanned<HopWord>],
    (whose, other): (Option<&Spanned<String>>, Option<&Spanned<String>>),
    found: &mut Vec<Diagnostic>,
) {
    // A name that no host has may be meant to be that one's.
    let Some(whose) = whose.filter(|whose| config.hosts.iter().any(|host| host.name.value == whose.value))
    else {
        return;
    };
    for word in words {
        let address = word.value.address;
        let has = |host: &&config::Host| host.ipv6.as_ref().is_some_and(|ipv6| ipv6.value == address);
        let Some(owner) = config.hosts.iter().find(has).map(|host| &host.name.value) else { continue };
        if *owner != whose.value && other.is_none_or(|other| other.value != *owner) {
            found.push(Diagnostic::new(
                word.span.clone(),
                format!("`{address}` is [host.{owner}]'s address, not that of {}", whose.value),
                format!("write the address of {} on the link", whose.value),
            ));
        }
    }
}

/// Two hosts can't be the same neighbour of their router.
fn twice(parts: &[Parts<'_>], found: &mut Vec<Diagnostic>) {
    let mut known: HashMap<(&str, &str, Ipv6Addr), &str> = HashMap::new();
    for part in parts {
        let Some((host, router)) = part.host.zip(part.router()) else { continue };
        for hop in &router.hops {
            let other = *known.entry((&router.host, &hop.dev.value, hop.address)).or_insert(host);
            if other != host {
                found.push(Diagnostic::new(
                    hop.dev.span.clone(),
                    format!(
                        "{other} and {host} are both {} on {} of {}",
                        hop.address, hop.dev.value, router.host
                    ),
                    "write each host's own address into `host6`, and the device that it is on into `router-dev`",
                ));
            }
        }
    }
}

/// Whose own address a router would send to in the place of the host: the other entry calls its router so. A global
/// address is its router's everywhere, a link-local one by the devices that lead to the other entry's host.
fn is_gateway<'a>(other: &'a Parts<'_>, (host, router): (&str, &Router), hop: &NextHop) -> Option<&'a str> {
    let theirs = other.router()?;
    let gateways = other.gateways.as_ref()?;
    let paired = gateways.len() == theirs.hops.len();
    let on_link = |index: usize| {
        let devices = theirs.hops.iter().enumerate().filter(|(at, _)| !paired || *at == index);
        let mut devices = devices.map(|(_, hop)| &hop.dev.value);
        theirs.host == router.host && devices.any(|dev| *dev == hop.dev.value)
    };
    let is = |(index, gateway): (usize, &NextHop)| {
        gateway.address == hop.address && (!hop.address.is_unicast_link_local() || on_link(index))
    };
    (theirs.host != host && gateways.iter().enumerate().any(is)).then_some(theirs.host.as_str())
}

/// Where the host's address stands: in `host6`, or, by its section, with the router's device.
fn place(entry: &config::Via6, hop: &NextHop) -> Range<usize> {
    let word = entry.host6.iter().find(|word| word.value.address == hop.address);
    word.map_or_else(|| hop.dev.span.clone(), |word| word.span.clone())
}
