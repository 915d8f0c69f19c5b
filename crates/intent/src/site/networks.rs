//! Networks that are not the server's to give: it is in them itself, or its gateway is.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use ipnet::Ipv6Net;

use crate::config::Diagnostic;
use crate::model::{Host, Model};
use crate::object::{MAIN, Origin};
use crate::snapshot::Snapshot;

/// What clients can't have of what is given to them.
pub(super) fn taken(model: &Model, host: &Host, live: &Snapshot) -> Vec<Diagnostic> {
    let near: Vec<Ipv6Net> = live.on_link(&host.uplink.value).collect();
    let others = others(live);
    let mut found = Vec::new();
    for tunnel in model.tunnels6.iter().filter(|tunnel| tunnel.server.host == host.name) {
        let given = tunnel.routed.iter().zip(&tunnel.routed_at);
        for (net, span) in given.chain([(&tunnel.link, &tunnel.span)]) {
            found.extend(within(*net, span, &host.uplink.value, (&near, &others)));
        }
    }
    found
}

/// Whose an address is, in words.
type Whose = (Ipv6Addr, String);

/// Addresses that lead elsewhere than to a client: this host's, and those of its gateways.
fn others(live: &Snapshot) -> Vec<Whose> {
    let held = live.addresses.iter().filter(|held| held.origin != Origin::Straddle);
    let own = held.map(|held| (held.net.addr(), format!("this host's own on {}", held.dev)));
    let routes = live.routes.iter().filter(|route| route.table == MAIN && route.origin != Origin::Straddle);
    let gateways = routes.filter_map(|route| Some((route.gateway?, "that of this host's gateway".into())));
    let six = own.chain(gateways).filter_map(|(address, whose)| match address {
        IpAddr::V6(address) => Some((address, whose)),
        IpAddr::V4(_) => None,
    });
    six.collect()
}

fn within(
    net: Ipv6Net,
    span: &Range<usize>,
    uplink: &str,
    (near, others): (&[Ipv6Net], &[Whose]),
) -> Option<Diagnostic> {
    let whole = near.iter().find(|near| net.contains(*near));
    let message = match (whole, others.iter().find(|(address, _)| net.contains(address))) {
        (Some(near), _) if *near == net => format!("`{net}` is the network that {uplink} itself is in"),
        (Some(near), _) => format!("`{net}` contains {near}, the network that {uplink} itself is in"),
        (None, Some((address, whose))) => format!("`{net}` contains {address}, {whose}"),
        (None, None) => return None,
    };
    let part = part(net, near, others);
    let such = part.map(|part| format!(", such as \"{part}\"")).unwrap_or_default();
    Some(Diagnostic::new(
        span.clone(),
        message,
        format!("write a network that has neither this host's addresses nor its gateway in it{such}"),
    ))
}

/// The largest part of a network that is nobody else's.
fn part(net: Ipv6Net, near: &[Ipv6Net], others: &[Whose]) -> Option<Ipv6Net> {
    let whole = |part: &Ipv6Net| near.iter().any(|near| part.contains(near));
    let free = |part: &Ipv6Net| !whole(part) && !others.iter().any(|(address, _)| part.contains(address));
    // Of either half, the one that others are not in; where both have some, a part of the second.
    let mut rest = net;
    while rest.prefix_len() < 126 {
        let halves = rest.subnets(rest.prefix_len() + 1).ok()?;
        let halves: Vec<Ipv6Net> = halves.collect();
        if let Some(part) = halves.iter().rev().find(|part| free(part)) {
            return Some(*part);
        }
        rest = *halves.last()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_free() {
        let check = |net: &str, near: &str, others: &[&str], expected: Option<&str>| {
            let others: Vec<Whose> =
                others.iter().map(|address| (address.parse().unwrap(), String::new())).collect();
            let found = part(net.parse().unwrap(), &[near.parse().unwrap()], &others);
            assert_eq!(found, expected.map(|net| net.parse().unwrap()), "{net}");
        };
        let both = &["2001:db8:1::10", "2001:db8:1::1"];
        check("2001:db8:1::/64", "2001:db8:1::/64", both, Some("2001:db8:1:0:8000::/65"));
        check("2001:db8:1::/48", "2001:db8:1::/64", both, Some("2001:db8:1:8000::/49"));
        check("2001:db8:1::/64", "2001:db8:1::/64", &["2001:db8:1:0:ffff::1"], Some("2001:db8:1::/65"));
        let far = &["2001:db8:1::1", "2001:db8:1:0:ffff::1"];
        check("2001:db8:1::/64", "2001:db8:1::/64", far, Some("2001:db8:1:0:8000::/66"));
        check("2001:db8:1::2/127", "2001:db8:1::/64", &["2001:db8:1::2"], None);
    }
}
