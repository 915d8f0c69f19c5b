//! Whether clients come to where a server hears them.

use std::net::Ipv4Addr;

use crate::config::{self, Config, Diagnostic, Spanned, UpdateUrl};
use crate::model::Transport;

pub(super) fn check(config: &Config, host: &config::Host, found: &mut Vec<Diagnostic>) {
    let Some(url) = &host.update_url else { return };
    let told =
        unused(config, host).or_else(|| elsewhere(config, host, url)).or_else(|| led_on(config, host, url));
    found.extend(told.map(|(message, help)| Diagnostic::new(url.span.clone(), message, help)));
}

/// What is wrong, and what to write.
type Words = (String, String);

/// Whether a host hears clients by HTTP.
pub(in crate::model) fn hears(config: &Config, host: &config::Host) -> bool {
    config.tunnels6.iter().any(|entry| {
        entry.server.as_ref().is_some_and(|server| server.value == host.name.value)
            && entry.keys.iter().any(|key| key == "update-key-file")
    })
}

fn unused(config: &Config, host: &config::Host) -> Option<Words> {
    let message = "`update-url` has no use: none of the host's [[tunnel6]] has an `update-key-file`";
    let help = "add update-key-file = \"/etc/straddle/box-http.key\" to the [[tunnel6]] of a client that tells its \
                address by HTTP, or leave `update-url` out";
    (!hears(config, host)).then(|| (message.into(), help.into()))
}

/// An address that the file gives to another host.
fn elsewhere(config: &Config, host: &config::Host, url: &Spanned<UpdateUrl>) -> Option<Words> {
    let address: Ipv4Addr = url.value.host.parse().ok()?;
    let has = |other: &config::Host| other.ipv4.iter().any(|net| net.value.addr() == address);
    let lent =
        config.borrows.iter().filter(|borrow| borrow.address.as_ref().is_some_and(|it| it.value == address));
    let mut owners: Vec<&str> = lent.filter_map(|borrow| Some(borrow.to.as_ref()?.value.as_str())).collect();
    owners.extend(config.hosts.iter().filter(|other| has(other)).map(|other| other.name.value.as_str()));
    let owner = owners.first().filter(|owner| **owner != host.name.value)?;
    let own = host.ipv4.iter().map(|net| net.value.addr()).find(|own| *own != address);
    let own = own.map_or("vps.example".into(), |own| own.to_string());
    let help = UpdateUrl { host: own, ..url.value.clone() };
    Some((
        format!("`{address}` is {owner}'s address: no client that asks there comes to {}", host.name.value),
        format!("write an address of [host.{}], or its name: \"{help}\"", host.name.value),
    ))
}

/// An address that a `[[publish]]` leads on, if that is where clients come to.
fn led_on(config: &Config, host: &config::Host, url: &Spanned<UpdateUrl>) -> Option<Words> {
    let literal: Option<Ipv4Addr> = url.value.host.parse().ok();
    let port = url.value.port;
    let taken = |publish: &&config::Publish| {
        let Some(address) = publish.address.as_ref().map(|address| address.value) else { return false };
        // Of a name it is known where it leads only if there is one address.
        let only = || host.ipv4.iter().all(|net| net.value.addr() == address);
        let mut ports = publish.ports.iter().map(|ports| &ports.value);
        publish.from.as_ref().is_some_and(|from| from.value == host.name.value)
            && literal.map_or_else(only, |literal| literal == address)
            && (publish.ports.is_empty()
                || ports.any(|ports| ports.transport == Transport::Tcp && ports.outer.contains(&port)))
    };
    let publish = config.publishes.iter().find(taken)?;
    let address = publish.address.as_ref()?.value;
    Some((
        format!("nothing comes to TCP port {port} of {address}: a [[publish]] leads it on, to another host"),
        "write another port, or publish by `ports` without this one".into(),
    ))
}
