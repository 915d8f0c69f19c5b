//! netplan's YAML.

use super::{Invitation, Piece};

pub(super) fn file(it: &Invitation) -> Piece {
    let path = format!("/etc/netplan/60-{}.yaml", it.device);
    let mut text = it.head(&format!("Goes to {path}, mode 0600; then: netplan apply"));
    let local = it.client4.map_or_else(|| "0.0.0.0".into(), |address| address.to_string());
    text.push_str(&format!(
        "network:\n  version: 2\n  tunnels:\n    {}:\n      mode: sit\n      remote: {}\n      local: {local}\n      \
        ttl: {}\n      mtu: {}\n      addresses:\n        - \"{}\"\n      routes:\n        - to: \"::/0\"\n          \
        via: \"{}\"\n",
        it.device,
        it.server4,
        it.hop_limit,
        it.mtu,
        it.client(),
        it.server6
    ));
    for net in &it.routed {
        text.push_str(&format!(
            "        # What is not in use of it goes nowhere, not back to the server.\n        - to: \"{net}\"\n          \
            type: unreachable\n          metric: 65535\n"
        ));
    }
    if let Some(lan) = &it.lan {
        text.push_str(&format!(
            "  # For it to be a router also: net.ipv6.conf.all.forwarding=1 in /etc/sysctl.d\n  ethernets:\n    {}:\n      \
            addresses:\n        - \"{}\"\n",
            lan.device,
            lan.address()
        ));
    }
    Piece { path, text }
}
