//! Files of systemd-networkd.

use super::quote::comment;
use super::{HOP_LIMIT, Handout, Invitation, Lan, NOWHERE, Piece, forwarding};

pub(super) fn handout(it: &Invitation<'_>) -> Handout {
    let mut pieces = vec![netdev(it), network(it)];
    let mut then = THEN.to_string();
    if it.lan().is_some() {
        let (router, reads) = forwarding(it);
        pieces.push(router);
        then = format!("{reads}\n{THEN}");
    }
    Handout { pieces, then }
}

fn netdev(it: &Invitation<'_>) -> Piece {
    let path = format!("/etc/systemd/network/60-{}.netdev", it.device());
    let head = it.head(&format!("Goes to {path}"));
    let local = it.client4().map_or_else(|| "any".into(), |address| address.to_string());
    let text = format!(
        "{head}[NetDev]\nName={}\nKind=sit\nMTUBytes={}\n\n\
        [Tunnel]\nIndependent=yes\nRemote={}\nLocal={local}\nTTL={}\n",
        it.device(),
        it.mtu(),
        it.server4,
        HOP_LIMIT
    );
    Piece { path, mode: 0o644, text }
}

fn network(it: &Invitation<'_>) -> Piece {
    let path = format!("/etc/systemd/network/60-{}.network", it.device());
    let mut text = it.head(&format!("Goes to {path}\nThen: {THEN}"));
    text.push_str(&format!(
        "[Match]\nName={}\n\n[Network]\nAddress={}\nIPv6AcceptRA=no\n\n\
        [Route]\nDestination=::/0\nGateway={}\n",
        it.device(),
        it.client6(),
        it.server6()
    ));
    for net in it.unassigned() {
        text.push_str(&format!(
            "\n# {NOWHERE}\n[Route]\nDestination={net}\nType=unreachable\nMetric=65535\n"
        ));
    }
    text.push_str(&it.lan().as_ref().map(announced).unwrap_or_default());
    Piece { path, mode: 0o644, text }
}

/// What the LAN's own file needs, which is the client's to write.
fn announced(lan: &Lan<'_>) -> String {
    format!(
        "\n# The .network file of {} is yours; into it:\n#   [Network]\n#   Address={}\n#   IPv6SendRA=yes\n\
        #   [IPv6Prefix]\n#   Prefix={}\n",
        comment(lan.device),
        lan.address(),
        lan.network
    )
}

const THEN: &str = "networkctl reload";
