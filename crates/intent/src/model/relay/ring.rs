//! Where a relay must not lead: to where it, or what it leads to, comes from.

use std::net::IpAddr;
use std::ops::Range;

use crate::config::{self, Config, Diagnostic, Spanned};

use super::{Destination, Listen, Place};

/// Tells of a target that is this relay, another one of the same host, one that leads back, or an address that
/// leads on only what comes from elsewhere.
pub(super) fn check(
    config: &Config,
    index: usize,
    entry: &config::Relay,
    host: &config::Host,
    found: &mut Vec<Diagnostic>,
) {
    let Some(to) = &entry.to else { return };
    let Place::Address(address) = to.value.place else { return };
    let mut tell = |message: String, help: String| {
        found.push(Diagnostic::new(to.span.clone(), message, help));
    };
    if let Some(listen) = itself(entry, host, &to.value, address) {
        return tell(
            format!("`{}` is this relay itself, which listens at `{}`", to.value, listen.word),
            "write the server's own address, or another port".into(),
        );
    }
    if let Some((other, listen)) = beside(config, entry, host) {
        let target = other.to.as_ref().map_or("its target".into(), |to| format!("to = \"{}\"", to.value));
        return tell(
            format!("`{}` is another relay of this host, which listens at `{}`", to.value, listen.word),
            format!("write where that one leads: {target}"),
        );
    }
    if let Some((other, listen)) = comes_back(config, index, entry) {
        let named = other.host.as_ref().map_or("", |host| host.value.as_str());
        return tell(
            format!(
                "what goes to `{}` comes back here, by the relay of {named} that listens at `{}`",
                to.value, listen.word
            ),
            "write the server's own address in one of them".into(),
        );
    }
    if is_published(config, entry, host, &to.value) {
        tell(
            format!("a [[publish]] leads `{}` on, but nothing that this host itself sends there", to.value),
            "write the server's address within its own network".into(),
        );
    }
}

/// The ports of a target that a listener's ports, given as the offsets in it, lead to.
fn led_to(to: &Destination, listen: &Listen, ports: &Range<u32>) -> Range<u32> {
    let first = u32::from(to.port);
    let own = u32::from(listen.first);
    first + ports.start - own..first + ports.end - own
}

fn ports(listen: &Listen) -> Range<u32> {
    u32::from(listen.first)..u32::from(listen.last) + 1
}

/// Whether an address is this host's, as far as the file tells.
fn has(config: &Config, host: &config::Host, address: IpAddr) -> bool {
    let mut here = config.relays.iter().filter(|relay| is_of(relay, host));
    host.ipv4.iter().any(|net| net.value.addr() == address)
        || host.ipv6.as_ref().is_some_and(|own| own.value == address)
        || here.any(|relay| relay.listen.iter().any(|listen| listen.value.address == Some(address)))
}

fn is_of(relay: &config::Relay, host: &config::Host) -> bool {
    relay.host.as_ref().is_some_and(|named| named.value == host.name.value)
}

fn itself<'a>(
    entry: &'a config::Relay,
    host: &config::Host,
    to: &Destination,
    address: IpAddr,
) -> Option<&'a Listen> {
    let own = address.is_loopback()
        || host.ipv4.iter().any(|net| net.value.addr() == address)
        || host.ipv6.as_ref().is_some_and(|own| own.value == address)
        || entry.listen.iter().any(|listen| listen.value.address == Some(address));
    let comes_back = |listen: &&Spanned<Listen>| {
        let listen = &listen.value;
        listen.takes(address, led_to(to, listen, &ports(listen)))
    };
    entry.listen.iter().find(comes_back).filter(|_| own).map(|listen| &listen.value)
}

/// Another relay of the same host that takes what goes to this one's target.
fn beside<'a>(
    config: &'a Config,
    entry: &config::Relay,
    host: &config::Host,
) -> Option<(&'a config::Relay, &'a Listen)> {
    entry.listen.iter().find_map(|listen| {
        let next = next(config, &config.relays, entry, &listen.value, &ports(&listen.value));
        next.into_iter().find(|next| is_of(next.relay, host)).map(|next| (next.relay, next.listen))
    })
}

/// Where some ports of a listener are led to: a listener too.
struct Next<'a> {
    relay: &'a config::Relay,
    listen: &'a Listen,
    ports: Range<u32>,
}

/// The relays among these that take what comes to some ports of a listener.
fn next<'a>(
    config: &Config,
    among: &'a [config::Relay],
    from: &config::Relay,
    listen: &Listen,
    ports: &Range<u32>,
) -> Vec<Next<'a>> {
    let Some(to) = from.to.as_ref().map(|to| &to.value) else { return Vec::new() };
    let Place::Address(address) = to.place else { return Vec::new() };
    let led = led_to(to, listen, ports);
    let at = |relay: &&config::Relay| {
        let same_host =
            matches!((&relay.host, &from.host), (Some(one), Some(other)) if one.value == other.value);
        let mut hosts = config.hosts.iter();
        let host = hosts.find(|host| is_of(relay, host));
        host.is_some_and(|host| has(config, host, address)) || address.is_loopback() && same_host
    };
    let listens = among
        .iter()
        .filter(at)
        .flat_map(|relay| relay.listen.iter().map(move |listen| (relay, &listen.value)));
    let taking =
        listens.filter(|(_, own)| own.protocol == listen.protocol && own.takes(address, led.clone()));
    taking
        .map(|(relay, own)| {
            let whole = self::ports(own);
            let ports = led.start.max(whole.start)..led.end.min(whole.end);
            Next { relay, listen: own, ports }
        })
        .collect()
}

/// The last relay of a ring that this one closes: all others stand before it in the file.
fn comes_back<'a>(
    config: &'a Config,
    index: usize,
    entry: &config::Relay,
) -> Option<(&'a config::Relay, &'a Listen)> {
    let before = config.relays.get(..=index).unwrap_or_default();
    entry.listen.iter().find_map(|start| {
        let whole = ports(&start.value);
        let mut seen: Vec<&Listen> = Vec::new();
        let mut ways = next(config, before, entry, &start.value, &whole);
        while let Some(way) = ways.pop() {
            if seen.iter().any(|known| std::ptr::eq(*known, way.listen)) {
                continue;
            }
            seen.push(way.listen);
            let onward = next(config, before, way.relay, way.listen, &way.ports);
            let back = |next: &Next<'_>| {
                std::ptr::eq(next.listen, &start.value)
                    && next.ports.start < whole.end
                    && whole.start < next.ports.end
            };
            if onward.iter().any(back) {
                return Some((way.relay, way.listen));
            }
            ways.extend(onward);
        }
        None
    })
}

/// Whether a `[[publish]]` of this host leads on what comes to the target from elsewhere.
fn is_published(config: &Config, entry: &config::Relay, host: &config::Host, to: &Destination) -> bool {
    let led = |ports: &config::Ports| {
        ports.outer.contains(&to.port)
            && entry.listen.iter().any(|listen| listen.value.protocol == ports.transport.into())
    };
    config.publishes.iter().any(|publish| {
        let here = publish.from.as_ref().is_some_and(|from| from.value == host.name.value);
        let address = publish.address.as_ref().map(|address| Place::Address(address.value.into()));
        let whole = publish.ports.is_empty();
        here && address.as_ref() == Some(&to.place)
            && (whole || publish.ports.iter().any(|ports| led(&ports.value)))
    })
}
