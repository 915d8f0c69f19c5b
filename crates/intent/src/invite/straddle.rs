//! A Straddle file with the client's view alone.

use crate::model::{BackendChoice, End4, Host, UPDATE_PORT};

use super::quote::{comment, double, key, shell};
use super::{Handout, Invitation, Piece};

const PATH: &str = "/etc/straddle/straddle.toml";

pub(super) fn handout(it: &Invitation<'_>) -> Handout {
    // Of a client whose address changes, the file can't tell which host it is.
    let run = match it.client4() {
        Some(_) => "straddle run".into(),
        None => format!("straddle --host {} run", shell(&it.client.name)),
    };
    let mut text =
        it.head(&format!("Goes to {PATH} on {}; then: {}", comment(&it.client.name), comment(&run)));
    text.push_str(&format!("\n{}", host(it.server, &it.tunnel.server, true)));
    text.push_str("\n# Is the uplink right? It is the device of `ip route show default`.\n");
    text.push_str(&host(it.client, &it.tunnel.client, it.client4().is_some()));
    if let Some(backend) = &it.client.backend {
        text.push_str(&format!("carrier-backend = \"{}\"\n", word(backend.value)));
    }
    text.push_str(&tunnel(it));
    Handout { pieces: vec![Piece { path: PATH.into(), mode: 0o644, text }], then: run }
}

fn host(host: &Host, end: &End4, stays: bool) -> String {
    let mut text = format!("[host.{}]\nuplink = {}\n", key(&host.name), double(&end.uplink));
    // Others of its addresses are nothing to this tunnel.
    if let Some(net) = host.ipv4.first().filter(|_| stays) {
        text.push_str(&format!("ipv4   = \"{net}\"\n"));
    }
    if let Some(mtu) = end.mtu {
        text.push_str(&format!("mtu    = {mtu}\n"));
    }
    text
}

fn word(choice: BackendChoice) -> &'static str {
    match choice {
        BackendChoice::Auto => "auto",
        BackendChoice::Kernel => "kernel",
        BackendChoice::Tun => "tun",
    }
}

fn tunnel(it: &Invitation<'_>) -> String {
    let tunnel = it.tunnel;
    let mut text = String::from("\n[[tunnel6]]\n");
    // Without a name of its own, both ends make the same one of the same hosts.
    if tunnel.device == format!("st-{}", tunnel.name) {
        text.push_str(&format!("name   = {}\n", double(&tunnel.name)));
    }
    let (server, client) = (double(&tunnel.server.host), double(&tunnel.client.host));
    text.push_str(&format!("server = {server}\nclient = {client}\nlink   = \"{}\"\n", tunnel.link));
    if !tunnel.routed.is_empty() {
        let routed: Vec<String> = tunnel.routed.iter().map(|net| format!("\"{net}\"")).collect();
        text.push_str(&format!("routed = [{}]\n", routed.join(", ")));
    }
    if let Some(lan) = &tunnel.lan {
        text.push_str(&format!("lan    = {}\n", double(lan)));
    }
    if let Some(update) = &tunnel.update {
        let file = shell(&update.key_file.value);
        let bring = comment(&format!("scp -p root@{}:{file} {file}", it.server4));
        text.push_str(&format!(
            "client-endpoint = \"dynamic\"\n\
            # The key that the server has for this tunnel, mode 0600; to bring it here:\n#   {bring}\n\
            key-file = {}\n",
            double(&update.key_file.value)
        ));
        if update.port != UPDATE_PORT {
            text.push_str(&format!("update-port = {}\n", update.port));
        }
    }
    text
}
