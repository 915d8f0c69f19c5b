//! Stanzas of `/etc/network/interfaces`.

use super::quote::shell;
use super::{FORWARDING, HOP_LIMIT, Handout, Invitation, NOWHERE, Piece};

pub(super) fn handout(it: &Invitation<'_>) -> Handout {
    let device = it.device();
    let path = format!("/etc/network/interfaces.d/{device}");
    let then = format!("ifup {device}");
    let mut text = it.head(&format!("Goes to {path}; then: {then}"));
    let local = it.client4().map(|address| format!("    local {address}\n")).unwrap_or_default();
    text.push_str(&format!(
        "auto {device}\niface {device} inet6 v4tunnel\n    endpoint {}\n{local}    ttl {}\n    mtu {}\n    \
        address {}\n    netmask {}\n    gateway {}\n",
        it.server4,
        HOP_LIMIT,
        it.mtu(),
        it.tunnel.client6(),
        it.tunnel.link.prefix_len(),
        it.server6()
    ));
    for net in it.unassigned() {
        text.push_str(&format!(
            "    # {NOWHERE}\n    \
            up ip -6 route replace unreachable {net} metric 65535\n    \
            down ip -6 route delete unreachable {net} metric 65535 || true\n"
        ));
    }
    if let Some(lan) = it.lan() {
        let (address, dev) = (lan.address(), shell(lan.device));
        text.push_str(&format!(
            "    up sysctl -w {FORWARDING}=1\n    up ip -6 address replace {address} dev {dev}\n    \
            down ip -6 address delete {address} dev {dev} || true\n{}",
            lan.advertised()
        ));
    }
    Handout { pieces: vec![Piece { path, mode: 0o644, text }], then }
}
