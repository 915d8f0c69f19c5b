//! Clients that tell where they are by HTTP, as to the well-known broker.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::config::{self, Config, Diagnostic, Spanned, UpdateUrl};
use crate::model::host::lacks;

use super::name;

/// How a client without straddle tells its endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUpdate {
    /// All that it asks for, without its address: `https://vps.example/nic/update?hostname=box`.
    pub url: String,
    /// What it calls the tunnel.
    pub hostname: String,
    /// The user that it names.
    pub user: String,
    /// The file at the server with the key that goes with the user.
    pub key_file: String,
}

/// A host that hears endpoints by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpServer {
    /// Its name.
    pub host: String,
    /// The beginning of what clients ask for.
    pub url: String,
    /// Where it listens: at every address of its section.
    pub listen: Vec<SocketAddr>,
    /// The files of the certificate and its key; none where requests come without TLS.
    pub certificate: Option<(String, String)>,
}

/// `Some(None)`: the client tells nothing by HTTP.
pub(super) fn update(
    entry: &config::Tunnel6,
    server: Option<&config::Host>,
    found: &mut Vec<Diagnostic>,
) -> Option<Option<HttpUpdate>> {
    if !entry.keys.iter().any(|key| key == "update-key-file") {
        let unused = [("update-user", &entry.update_user), ("update-hostname", &entry.update_hostname)];
        for (key, value) in unused.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            let message =
                format!("`{key}` has no use without `update-key-file`: nobody is let in without a key");
            let help = format!("add update-key-file = \"/etc/straddle/box-http.key\", or leave `{key}` out");
            found.push(Diagnostic::new(value.span.clone(), message, help));
        }
        return Some(None);
    }
    let server = server?;
    if server.update_url.is_none() {
        let why = "endpoints are told by HTTP there";
        lacks(server, "update-url", why, "\"https://vps.example\", as clients reach it", found);
    }
    if let (Some(signs), Some(sent)) = (&entry.key_file, &entry.update_key_file)
        && signs.value == sent.value
    {
        found.push(Diagnostic::new(
            sent.span.clone(),
            "the key of signed updates would be sent to the server",
            "write a file of its own into `update-key-file`, such as \"/etc/straddle/box-http.key\"",
        ));
    }
    let own = name(entry)?;
    let word =
        |word: &Option<Spanned<String>>| word.as_ref().map_or_else(|| own.clone(), |it| it.value.clone());
    let hostname = word(&entry.update_hostname);
    Some(Some(HttpUpdate {
        url: format!("{}/nic/update?hostname={hostname}", server.update_url.as_ref()?.value),
        hostname,
        user: word(&entry.update_user),
        key_file: entry.update_key_file.as_ref()?.value.clone(),
    }))
}

/// Every host with a legal `update-url`; what is illegal goes to `found`.
pub(in crate::model) fn servers(config: &Config, found: &mut Vec<Diagnostic>) -> Vec<HttpServer> {
    same_names(config, found);
    let with_url = config.hosts.iter().filter_map(|host| Some((host, host.update_url.as_ref()?)));
    let servers = with_url.filter_map(|(host, url)| one(host, url, found)).collect();
    let serves = |host: &config::Host| {
        let mut named = config.tunnels6.iter().filter_map(|entry| entry.server.as_ref());
        named.any(|server| server.value == host.name.value)
    };
    let without = |host: &&config::Host| {
        let certified = host.certificate.is_some() || host.certificate_key.is_some();
        certified && !host.keys.iter().any(|key| key == "update-url") && serves(host)
    };
    for host in config.hosts.iter().filter(without) {
        let unused = [("certificate", &host.certificate), ("certificate-key", &host.certificate_key)];
        for (key, file) in unused.into_iter().filter_map(|(key, file)| Some((key, file.as_ref()?))) {
            let message = format!("`{key}` has no use without `update-url`");
            let help = format!("add update-url = \"https://vps.example\", or leave `{key}` out");
            found.push(Diagnostic::new(file.span.clone(), message, help));
        }
    }
    servers
}

fn one(host: &config::Host, url: &Spanned<UpdateUrl>, found: &mut Vec<Diagnostic>) -> Option<HttpServer> {
    let files = [("certificate", &host.certificate), ("certificate-key", &host.certificate_key)];
    if url.value.tls {
        for (key, _) in &files {
            let why = "`update-url` is https";
            lacks(host, key, why, &format!("\"/etc/straddle/{key}.pem\", a file of PEM text"), found);
        }
    } else {
        for (key, file) in files.iter().filter_map(|(key, file)| Some((key, file.as_ref()?))) {
            let message =
                format!("`{key}` has no use: `update-url` is http, so keys cross the network in the clear");
            let help = format!("write \"{}\" into `update-url`, or leave `{key}` out", secured(&url.value));
            found.push(Diagnostic::new(file.span.clone(), message, help));
        }
    }
    let four = host.ipv4.iter().map(|net| IpAddr::V4(net.value.addr()));
    let all = four.chain(host.ipv6.iter().map(|address| address.value.into()));
    let files = host.certificate.as_ref().zip(host.certificate_key.as_ref());
    let certificate = files.map(|(certificate, key)| (certificate.value.clone(), key.value.clone()));
    Some(HttpServer {
        host: host.name.value.clone(),
        url: url.value.to_string(),
        listen: all.map(|address| SocketAddr::new(address, url.value.port)).collect(),
        certificate: if url.value.tls { Some(certificate?) } else { None },
    })
}

fn secured(url: &UpdateUrl) -> UpdateUrl {
    let port = if url.port == 80 { 443 } else { url.port };
    UpdateUrl { tls: true, port, ..url.clone() }
}

/// What a client calls its tunnel tells the tunnel, whatever letters it is written in.
fn same_names(config: &Config, found: &mut Vec<Diagnostic>) {
    let mut named: HashMap<(&str, String), &config::Tunnel6> = HashMap::new();
    for entry in config.tunnels6.iter().filter(|entry| entry.update_key_file.is_some()) {
        let own = entry.update_hostname.as_ref().map(|word| word.value.clone()).or_else(|| name(entry));
        let (Some(server), Some(own)) = (&entry.server, own) else { continue };
        let key = (server.value.as_str(), own.to_lowercase());
        if named.insert(key, entry).is_some() {
            let span = entry.update_hostname.as_ref().map_or(&entry.span, |word| &word.span);
            found.push(Diagnostic::new(
                span.clone(),
                format!("two tunnels of {} are called `{own}` by their clients", server.value),
                "give each an `update-hostname` of its own",
            ));
        }
    }
}
