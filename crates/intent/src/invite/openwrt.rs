//! A batch of OpenWrt's `uci`. The package `6in4` makes the tunnel, `odhcpd` announces the network.

use super::{Invitation, Piece};

pub(super) fn batch(it: &Invitation) -> Piece {
    let mut text =
        it.head("Run on the router, after `opkg install 6in4`: uci batch <FILE; /etc/init.d/network reload");
    let section = format!("network.{}", section(&it.device));
    let mut set = |option: &str, value: &str| text.push_str(&format!("set {section}.{option}='{value}'\n"));
    set("proto", "6in4");
    set("peeraddr", &it.server4.to_string());
    if let Some(address) = it.client4 {
        set("ipaddr", &address.to_string());
    }
    set("ip6addr", &it.client());
    set("mtu", &it.mtu.to_string());
    set("ttl", &it.hop_limit.to_string());
    set("defaultroute", "1");
    for net in &it.routed {
        text.push_str(&format!("add_list {section}.ip6prefix='{net}'\n"));
    }
    if let Some(lan) = &it.lan {
        text.push_str(&format!(
            "# The network of {} takes its addresses from it.\nset network.lan.ip6assign='{}'\n",
            lan.device,
            lan.network.prefix_len().max(64)
        ));
    }
    // The section has a type before it has options.
    let typed = format!("set {section}=interface\nset {section}.proto");
    text = text.replacen(&format!("set {section}.proto"), &typed, 1);
    text.push_str("commit network\n");
    Piece { path: format!("{}.uci", it.device), text }
}

/// Names of sections have letters, digits and underscores only.
fn section(device: &str) -> String {
    device.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
