//! Keys that clients tell where they are with.

use std::collections::HashMap;

use crate::config::{Config, Diagnostic, Spanned};
use crate::model::publish;

use super::name;

/// What a key at a server is for.
struct Use<'a> {
    /// The bridge's name.
    bridge: String,
    /// The host at the other end.
    client: &'a str,
    /// Whether it goes over the wire itself.
    sent: bool,
}

/// Each client has keys of its own: whoever has a client's key says where that client is. One that is sent is nothing
/// to sign with.
pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    let mut uses: HashMap<(&str, &str), Vec<Use<'_>>> = HashMap::new();
    for entry in &config.publishes {
        let (Some(from), Some(to), Some(file)) = (&entry.from, &entry.to, &entry.key_file) else { continue };
        let address = entry.address.as_ref().map_or(std::net::Ipv4Addr::UNSPECIFIED, |address| address.value);
        let bridge = publish::name(entry, address);
        uses.entry((&from.value, &file.value)).or_default().push(Use {
            bridge,
            client: &to.value,
            sent: false,
        });
    }
    for entry in &config.tunnels6 {
        let (Some(server), Some(client)) = (&entry.server, &entry.client) else { continue };
        let files = [("key-file", &entry.key_file, false), ("update-key-file", &entry.update_key_file, true)];
        for (key, file, sent) in files {
            let Some(file) = file else { continue };
            let bridge = name(entry).unwrap_or_default();
            let this = Use { bridge, client: &client.value, sent };
            let others = uses.entry((&server.value, &file.value)).or_default();
            found.extend(others.iter().find_map(|other| this.clashes(other, key, file)));
            others.push(this);
        }
    }
}

impl Use<'_> {
    /// What is wrong with this one beside another of the same file.
    fn clashes(&self, other: &Use<'_>, key: &str, file: &Spanned<String>) -> Option<Diagnostic> {
        let (bridge, theirs) = (&self.bridge, &other.bridge);
        let message = if self.client != other.client {
            format!("{theirs} and {bridge} have one key: either client could say where the other is")
        } else if self.sent != other.sent {
            let signs = if self.sent { theirs } else { bridge };
            format!("the key that updates of {signs} are signed with would be sent to the server")
        } else {
            return None;
        };
        let ending = if self.sent { "-http" } else { "" };
        let help =
            format!("write a file of its own into `{key}`, such as \"/etc/straddle/{bridge}{ending}.key\"");
        Some(Diagnostic::new(file.span.clone(), message, help))
    }
}
