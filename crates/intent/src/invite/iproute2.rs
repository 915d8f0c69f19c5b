//! Commands of `ip`, as a script.

use super::{Invitation, Piece};

pub(super) fn script(it: &Invitation) -> Piece {
    let device = &it.device;
    let head = it.head(&format!("Run it as root, at each boot. It is undone by: ip link delete {device}"));
    let local = it.client4.map(|address| format!(" local {address}")).unwrap_or_default();
    let mut text = format!(
        "#!/bin/sh\n{head}set -e\n\n\
        ip link add {device} type sit remote {}{local} ttl {}\n\
        ip link set {device} mtu {} up\n\
        ip -6 address add {} dev {device}\n\
        ip -6 route add ::/0 via {} dev {device}\n",
        it.server4,
        it.hop_limit,
        it.mtu,
        it.client(),
        it.server6
    );
    for net in &it.routed {
        text.push_str(&format!("# What is not in use of it goes nowhere, not back to the server.\nip -6 route add unreachable {net} metric 65535\n"));
    }
    if let Some(lan) = &it.lan {
        text.push_str(&format!(
            "sysctl -w net.ipv6.conf.all.forwarding=1\nip -6 address add {} dev {}\n",
            lan.address(),
            lan.device
        ));
    }
    Piece { path: format!("{device}.sh"), text }
}
