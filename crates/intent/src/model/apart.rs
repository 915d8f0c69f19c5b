//! Translators of one host have networks of their own: a packet goes into one of them.

use std::ops::Range;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::{Config, Diagnostic};
use crate::model::Prefix64;

use super::{clat, siit};

/// A network that a translator takes for itself.
struct Claim {
    net: IpNet,
    /// Where it stands in the file.
    span: Range<usize>,
    /// The bridge's place among the translators.
    owner: usize,
    of: Of,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Siit,
    /// The IPv6 side of a mapping: packets for IPv4 may come from one network through two translators.
    Mapped6,
    /// A host has one, which is said elsewhere.
    Clat,
}

struct Translator<'a> {
    name: String,
    host: &'a str,
}

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    let (mut translators, mut claims) = (Vec::new(), Vec::new());
    for entry in &config.siits {
        let (Some(name), Some(host)) = (siit::name(entry), &entry.host) else { continue };
        of_siit(entry, translators.len(), &mut claims);
        translators.push(Translator { name, host: &host.value });
    }
    for entry in &config.clats {
        let (Some(name), Some(host)) = (clat::name(entry), &entry.host) else { continue };
        of_clat(entry, translators.len(), &mut claims);
        translators.push(Translator { name, host: &host.value });
    }
    let host = |claim: &Claim| translators.get(claim.owner).map(|translator| translator.host);
    claims.sort_by_key(|claim| (host(claim), claim.net.network(), claim.net.prefix_len(), claim.span.start));
    let mut around: Vec<&Claim> = Vec::new();
    for claim in &claims {
        // Sorted so, whatever contains a network stands before it, and what does not will contain none after.
        around.retain(|other| host(other) == host(claim) && other.net.contains(&claim.net));
        let other = around.iter().rev().find(|other| other.contradicts(claim));
        found.extend(other.and_then(|other| clash(claim, other, &translators)));
        around.push(claim);
    }
}

impl Claim {
    fn contradicts(&self, other: &Claim) -> bool {
        self.owner != other.owner && (self.of == Of::Siit || self.of != other.of)
    }
}

fn clash(one: &Claim, other: &Claim, translators: &[Translator<'_>]) -> Option<Diagnostic> {
    let (later, earlier) = if one.span.start > other.span.start { (one, other) } else { (other, one) };
    let whose = &translators.get(earlier.owner)?.name;
    let (net, theirs) = (words(later.net), words(earlier.net));
    let message = match net == theirs {
        true => format!("`{net}` is translated by {whose} already"),
        false => format!("`{net}` and `{theirs}`, which {whose} translates, overlap"),
    };
    let help = "give each translator of a host networks of its own, or make the two one";
    Some(Diagnostic::new(later.span.clone(), message, help))
}

/// A single address without its length.
fn words(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

fn of_siit(entry: &crate::config::Siit, owner: usize, claims: &mut Vec<Claim>) {
    let claim = |net, span: &Range<usize>, of| Claim { net, span: span.clone(), owner, of };
    let pools = entry.pool6.iter();
    claims.extend(pools.map(|pool| claim(IpNet::from(pool.value.net()), &pool.span, Of::Siit)));
    for mapping in &entry.eam {
        claims.push(claim(mapping.value.v4.trunc().into(), &mapping.span, Of::Siit));
        claims.push(claim(mapping.value.v6.trunc().into(), &mapping.span, Of::Mapped6));
    }
    claims.extend(entry.own4.as_ref().map(|own| claim(Ipv4Net::from(own.value).into(), &own.span, Of::Siit)));
    claims.extend(entry.own6.as_ref().map(|own| claim(Ipv6Net::from(own.value).into(), &own.span, Of::Siit)));
}

/// Where its prefix is discovered, nothing can be said of it here.
fn of_clat(entry: &crate::config::Clat, owner: usize, claims: &mut Vec<Claim>) {
    let claim = |net, span: &Range<usize>| Claim { net, span: span.clone(), owner, of: Of::Clat };
    let address4 = entry.address4.as_ref();
    let (address, span) =
        address4.map_or((clat::ADDRESS4, &entry.span), |written| (written.value, &written.span));
    claims.push(claim(Ipv4Net::from(address).into(), span));
    if let Some(prefix64) = &entry.prefix64
        && let Prefix64::Given(prefix) = prefix64.value
    {
        claims.push(claim(prefix.net().into(), &prefix64.span));
    }
    let address6 = entry.address6.as_ref();
    claims.extend(address6.map(|address| claim(Ipv6Net::from(address.value).into(), &address.span)));
    claims.extend(entry.prefix6.as_ref().map(|net| claim(net.value.trunc().into(), &net.span)));
}
