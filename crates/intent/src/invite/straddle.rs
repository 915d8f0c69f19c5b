//! A Straddle file with the client's view alone.

use super::{Invitation, Piece, Update};

pub(super) fn file(it: &Invitation) -> Piece {
    let mut text = it.head("Goes to /etc/straddle/straddle.toml; then: straddle up, or straddle run");
    let client4 = it.client4.map_or_else(
        || "# Its IPv4 address changes.\n".into(),
        |address| format!("ipv4   = \"{address}/32\"\n"),
    );
    text.push_str(&format!(
        "\n[host.server]\nuplink = \"eth0\"\nipv4   = \"{}/32\"\n\n\
        # Write the device and the network of your own uplink.\n[host.client]\nuplink = \"eth0\"\n{client4}\n\
        [[tunnel6]]\nname   = \"{}\"\nserver = \"server\"\nclient = \"client\"\nlink   = \"{}/{}\"\n",
        it.server4, it.name, it.server6, it.prefix_len
    ));
    if !it.routed.is_empty() {
        let routed: Vec<String> = it.routed.iter().map(|net| format!("\"{net}\"")).collect();
        text.push_str(&format!("routed = [{}]\n", routed.join(", ")));
    }
    if let Some(lan) = &it.lan {
        text.push_str(&format!("lan    = \"{}\"\n", lan.device));
    }
    if it.client4.is_none() {
        let key_file = match &it.update {
            Some(Update::Signed { key_file }) => key_file.clone(),
            // Straddle itself tells its endpoint signed.
            Some(Update::Http { .. }) | None => format!("/etc/straddle/{}.key", it.name),
        };
        text.push_str(&format!(
            "client-endpoint = \"dynamic\"\n# The key that the server has for this tunnel, mode 0600.\n\
            key-file = \"{key_file}\"\n"
        ));
    }
    Piece { path: "/etc/straddle/straddle.toml".into(), text }
}
