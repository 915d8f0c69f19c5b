//! A batch of OpenWrt's `uci`. The package `6in4` makes the tunnel, `odhcpd` announces its networks.

use super::{HOP_LIMIT, Handout, Invitation, Piece};

pub(super) fn handout(it: &Invitation<'_>) -> Handout {
    let section = section(it.device());
    let place = "Paste it into the router's shell, or run it there: sh FILE\n\
                 It needs the package 6in4: opkg install 6in4, or apk add 6in4";
    let mut text = it.head(place) + &it.telling("uclient-fetch -4 -qO- --password=KEY --user=");
    text.push_str("uci -q batch <<'STRADDLE'\n");
    text.push_str(&format!("delete network.{section}\nset network.{section}=interface\n"));
    let mut option = |command: &str, name: &str, value: &str| {
        text.push_str(&format!("{command} network.{section}.{name}='{value}'\n"));
    };
    option("set", "proto", "6in4");
    option("set", "peeraddr", &it.server4.to_string());
    if let Some(address) = it.client4() {
        option("set", "ipaddr", &address.to_string());
    }
    option("set", "ip6addr", &it.client6());
    option("set", "mtu", &it.mtu().to_string());
    option("set", "ttl", &HOP_LIMIT.to_string());
    for net in &it.tunnel.routed {
        option("add_list", "ip6prefix", &net.to_string());
    }
    text.push_str(&format!(
        "del_list firewall.@zone[1].network='{section}'\nadd_list firewall.@zone[1].network='{section}'\n\
        commit network\ncommit firewall\nSTRADDLE\n\
        # The second zone of the firewall is `wan`, unless you changed that. Interfaces\n\
        # with ip6assign, as `lan` has it, get addresses of the networks.\n\
        /etc/init.d/network reload\n/etc/init.d/firewall reload\n"
    ));
    let path = format!("{}.sh", it.device());
    let then = format!("sh {path}");
    Handout { pieces: vec![Piece { path, mode: 0o755, text }], then }
}

/// Names of sections have letters, digits and underscores only.
fn section(device: &str) -> String {
    device.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
