//! Who has which network.

use std::collections::{HashMap, HashSet};
use std::net::Ipv6Addr;
use std::ops::Range;

use ipnet::Ipv6Net;

use crate::config::{self, Config, Diagnostic, Spanned};

use super::Hosts;

/// Links that are counted out of pools: the first that is free, in the order of the file.
pub(super) struct Links {
    taken: HashSet<Ipv6Net>,
    next: HashMap<Ipv6Net, u128>,
}

impl Links {
    /// Those that the file gives are taken, and those with an address of a host's own.
    pub(super) fn given(config: &Config) -> Links {
        let given = config.tunnels6.iter().filter_map(|entry| Some(entry.link.as_ref()?.value));
        let own = config.hosts.iter().filter_map(|host| pair(host.ipv6.as_ref()?.value));
        Links { taken: given.chain(own).collect(), next: HashMap::new() }
    }

    /// The link of an entry.
    pub(super) fn of(&mut self, entry: &config::Tunnel6, found: &mut Vec<Diagnostic>) -> Option<Ipv6Net> {
        let written = |key: &str| entry.keys.iter().any(|word| word == key);
        if written("link") {
            return entry.link.as_ref().map(|link| link.value);
        }
        let Some(pool) = entry.pool.first() else {
            if !written("pool") {
                found.push(Diagnostic::new(
                    entry.span.clone(),
                    "[[tunnel6]] lacks `link`: which addresses does the tunnel have?",
                    "add link = \"2001:db8:1::2/127\", or pool = \"2001:db8:1::/64\" that it is counted out of",
                ));
            }
            return None;
        };
        let link = self.count(pool.value);
        if link.is_none() {
            let message = format!("`{}` has no room for another link", pool.value);
            found.push(Diagnostic::new(pool.span.clone(), message, "write a larger one, such as a /64"));
        }
        link
    }

    fn count(&mut self, pool: Ipv6Net) -> Option<Ipv6Net> {
        let bits = 127u8.checked_sub(pool.prefix_len())?;
        // The first address of a network is that of its routers (RFC 4291 §2.6.1).
        let next = self.next.entry(pool).or_insert(u128::from(bits > 0));
        loop {
            if *next >> bits != 0 {
                return None;
            }
            let link = pair(Ipv6Addr::from(u128::from(pool.network()) | *next << 1))?;
            *next += 1;
            if self.taken.insert(link) {
                return Some(link);
            }
        }
    }
}

/// The pair of addresses that one belongs to.
fn pair(address: Ipv6Addr) -> Option<Ipv6Net> {
    Ipv6Net::new(address, 127).ok().map(|net| net.trunc())
}

/// A network of a client's in the file.
struct Piece<'a> {
    net: Ipv6Net,
    span: &'a Range<usize>,
    what: &'static str,
}

/// No two clients of a server have anything in common, and neither has the server with them.
pub(super) fn check(
    config: &Config,
    hosts: &Hosts<'_>,
    links: &[Option<Ipv6Net>],
    found: &mut Vec<Diagnostic>,
) {
    let mut servers: HashMap<&str, Vec<Piece<'_>>> = HashMap::new();
    for (entry, link) in config.tunnels6.iter().zip(links) {
        let Some(server) = &entry.server else { continue };
        let pieces = servers.entry(&server.value).or_default();
        // One that was counted stands where its pool does.
        let at = entry.link.as_ref().or(entry.pool.first()).map(|word| &word.span);
        let link = link.zip(at).map(|(net, span)| Piece { net, span, what: "the link" });
        pieces.extend(link);
        pieces.extend(entry.routed.iter().map(|net| piece(net, "the network")));
    }
    for (server, mut pieces) in servers {
        // What contains others stands before them; of the same ones, the first of the file.
        pieces.sort_by_key(|piece| (piece.net.network(), piece.net.prefix_len(), piece.span.start));
        overlaps(&pieces, found);
        if let Some(own) = hosts.get(server).and_then(|host| host.ipv6.as_ref()) {
            own_address(own.value, &pieces, server, found);
        }
    }
}

fn piece<'a>(net: &'a Spanned<Ipv6Net>, what: &'static str) -> Piece<'a> {
    Piece { net: net.value, span: &net.span, what }
}

/// Networks contain one another or have nothing in common, so neighbours in their order tell.
fn overlaps(sorted: &[Piece<'_>], found: &mut Vec<Diagnostic>) {
    let mut outer: Vec<&Piece<'_>> = Vec::new();
    for piece in sorted {
        while outer.last().is_some_and(|last| !last.net.contains(&piece.net)) {
            outer.pop();
        }
        if let Some(last) = outer.last() {
            let (early, late) =
                if last.span.start < piece.span.start { (*last, piece) } else { (piece, *last) };
            let message = if early.net == late.net {
                format!("`{}` is there twice", late.net)
            } else {
                format!("{} `{}` overlaps {} {}", late.what, late.net, early.what, early.net)
            };
            let help = "give each client networks of its own: what is one's can't be another's";
            found.push(Diagnostic::new(late.span.clone(), message, help));
        }
        outer.push(piece);
    }
}

fn own_address(own: Ipv6Addr, pieces: &[Piece<'_>], server: &str, found: &mut Vec<Diagnostic>) {
    for piece in pieces.iter().filter(|piece| piece.net.contains(&own)) {
        found.push(Diagnostic::new(
            piece.span.clone(),
            format!("{} `{}` has the address {own} of [host.{server}] itself", piece.what, piece.net),
            "write one that is free: what leads to a client no longer leads to the server",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_counted() {
        let mut links = Links { taken: HashSet::new(), next: HashMap::new() };
        links.taken.insert("2001:db8::4/127".parse().unwrap());
        let mut check = |pool: &str, expected: Option<&str>| {
            let found = links.count(pool.parse().unwrap());
            assert_eq!(found, expected.map(|link| link.parse().unwrap()), "{pool}");
        };
        check("2001:db8::/64", Some("2001:db8::2/127"));
        check("2001:db8::/64", Some("2001:db8::6/127"));
        check("2001:db8:1::/126", Some("2001:db8:1::2/127"));
        check("2001:db8:1::/126", None);
        check("2001:db8:2::8/127", Some("2001:db8:2::8/127"));
        check("2001:db8:2::8/127", None);
        check("2001:db8:3::1/128", None);
        check("2001:db8::/64", Some("2001:db8::8/127"));
    }
}
