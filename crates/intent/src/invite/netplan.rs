//! netplan's YAML.

use super::quote::double;
use super::{HOP_LIMIT, Handout, Invitation, NOWHERE, Piece, forwarding};

pub(super) fn handout(it: &Invitation<'_>) -> Handout {
    let path = format!("/etc/netplan/60-{}.yaml", it.device());
    let mut text = it.head(&format!("Goes to {path}, mode 0600; then: {THEN}"));
    let local = it.client4().map_or_else(|| "0.0.0.0".into(), |address| address.to_string());
    text.push_str(&format!(
        "network:\n  version: 2\n  tunnels:\n    {}:\n      mode: sit\n      remote: {}\n      local: {local}\n      \
        ttl: {}\n      mtu: {}\n      accept-ra: false\n      addresses:\n        - \"{}\"\n      routes:\n        \
        - to: \"::/0\"\n          via: \"{}\"\n",
        it.device(),
        it.server4,
        HOP_LIMIT,
        it.mtu(),
        it.client6(),
        it.server6()
    ));
    for net in it.unassigned() {
        text.push_str(&format!(
            "        # {NOWHERE}\n        - to: \"{net}\"\n          type: unreachable\n          metric: 65535\n"
        ));
    }
    let Some(lan) = it.lan() else {
        return Handout { pieces: vec![Piece { path, mode: 0o600, text }], then: THEN.into() };
    };
    text.push_str(&format!(
        "  ethernets:\n    {}:\n      addresses:\n        - \"{}\"\n{}",
        double(lan.device),
        lan.address(),
        lan.advertised()
    ));
    let (router, reads) = forwarding(it);
    Handout { pieces: vec![Piece { path, mode: 0o600, text }, router], then: format!("{reads}\n{THEN}") }
}

const THEN: &str = "netplan apply";
