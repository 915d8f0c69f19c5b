//! Files of systemd-networkd.

use super::{Invitation, Piece};

pub(super) fn files(it: &Invitation) -> Vec<Piece> {
    vec![netdev(it), network(it)]
}

fn netdev(it: &Invitation) -> Piece {
    let path = format!("/etc/systemd/network/60-{}.netdev", it.device);
    let head = it.head(&format!("Goes to {path}; then: networkctl reload"));
    let local = it.client4.map_or_else(|| "any".into(), |address| address.to_string());
    let text = format!(
        "{head}[NetDev]\nName={}\nKind=sit\nMTUBytes={}\n\n\
        [Tunnel]\nIndependent=yes\nRemote={}\nLocal={local}\nTTL={}\n",
        it.device, it.mtu, it.server4, it.hop_limit
    );
    Piece { path, text }
}

fn network(it: &Invitation) -> Piece {
    let path = format!("/etc/systemd/network/60-{}.network", it.device);
    let mut text = it.head(&format!("Goes to {path}; then: networkctl reload"));
    let forwards = if it.lan.is_some() { "IPForward=ipv6\n" } else { "" };
    text.push_str(&format!(
        "[Match]\nName={}\n\n[Network]\nAddress={}\n{forwards}\n[Route]\nDestination=::/0\nGateway={}\n",
        it.device,
        it.client(),
        it.server6
    ));
    for net in &it.routed {
        text.push_str(&format!(
            "\n# What is not in use of it goes nowhere, not back to the server.\n\
            [Route]\nDestination={net}\nType=unreachable\nMetric=65535\n"
        ));
    }
    if let Some(lan) = &it.lan {
        text.push_str(&format!(
            "\n# Into the .network file of {}, below [Network]:\n#   Address={}\n#   IPv6SendRA=yes\n",
            lan.device,
            lan.address()
        ));
    }
    Piece { path, text }
}
