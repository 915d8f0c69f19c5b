//! Stanzas of `/etc/network/interfaces`.

use super::{Invitation, Piece};

pub(super) fn stanzas(it: &Invitation) -> Piece {
    let device = &it.device;
    let path = format!("/etc/network/interfaces.d/{device}");
    let mut text = it.head(&format!("Goes to {path}; then: ifup {device}"));
    let local = it.client4.map(|address| format!("    local {address}\n")).unwrap_or_default();
    text.push_str(&format!(
        "auto {device}\niface {device} inet6 v4tunnel\n    endpoint {}\n{local}    ttl {}\n    mtu {}\n    \
        address {}\n    netmask {}\n    gateway {}\n",
        it.server4, it.hop_limit, it.mtu, it.client6, it.prefix_len, it.server6
    ));
    for net in &it.routed {
        text.push_str(&format!(
            "    # What is not in use of it goes nowhere, not back to the server.\n    \
            up ip -6 route replace unreachable {net} metric 65535\n    \
            down ip -6 route delete unreachable {net} metric 65535 || true\n"
        ));
    }
    if let Some(lan) = &it.lan {
        text.push_str(&format!(
            "    up sysctl -w net.ipv6.conf.all.forwarding=1\n\niface {} inet6 static\n    address {}\n",
            lan.device,
            lan.address()
        ));
    }
    Piece { path, text }
}
