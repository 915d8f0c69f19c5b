//! Commands of `ip`, as a script.

use super::quote::{comment, shell};
use super::{FORWARDING, HOP_LIMIT, Handout, Invitation, NOWHERE, Piece};

pub(super) fn handout(it: &Invitation<'_>) -> Handout {
    let device = it.device();
    let path = format!("{device}.sh");
    let mut text = String::from("#!/bin/sh -e\n");
    text.push_str(&it.head("Paste it into a shell of root's, or run it at each boot: sh FILE"));
    let local = it.client4().map(|address| format!(" local {address}")).unwrap_or_default();
    let (server4, hops, mtu) = (it.server4, HOP_LIMIT, it.mtu());
    let (client6, server6) = (it.client6(), it.server6());
    text.push_str(&format!(
        "ip link delete {device} 2>/dev/null || true\n\
        ip link add {device} type sit remote {server4}{local} ttl {hops}\n\
        ip link set {device} mtu {mtu} up\n\
        ip -6 address add {client6} dev {device}\n\
        ip -6 route add ::/0 via {server6} dev {device}\n"
    ));
    let mut undo = format!("#   ip link delete {device}\n");
    for net in it.unassigned() {
        text.push_str(&format!("# {NOWHERE}\nip -6 route replace unreachable {net} metric 65535\n"));
        undo.push_str(&format!("#   ip -6 route delete unreachable {net} metric 65535\n"));
    }
    if let Some(lan) = it.lan() {
        let (address, dev) = (lan.address(), shell(lan.device));
        text.push_str(&format!(
            "sysctl -w {FORWARDING}=1\nip -6 address replace {address} dev {dev}\n{}",
            lan.advertised()
        ));
        undo.push_str(&format!("#   ip -6 address delete {address} dev {}\n", comment(&dev)));
    }
    text.push_str(&format!("# To undo it:\n{undo}"));
    let then = format!("sh {path}");
    Handout { pieces: vec![Piece { path, mode: 0o755, text }], then }
}
