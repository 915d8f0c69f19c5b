//! Clients that tell where they are by HTTP, as to the well-known broker.

mod place;

pub(in crate::model) use place::hears;

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
    /// The file at the server with the key that goes with the user, and where it is named.
    pub key_file: Spanned<String>,
}

/// A host that hears endpoints by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpServer {
    /// Its name.
    pub host: String,
    /// The beginning of what clients ask for.
    pub url: String,
    /// The name or the address in it.
    pub name: String,
    /// Where it listens: at every address of its section.
    pub listen: Vec<SocketAddr>,
    /// The files of the certificate and its key, and where they are named; none where requests come without TLS.
    pub certificate: Option<(Spanned<String>, Spanned<String>)>,
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
    if let Some(server) = server {
        let why = "endpoints are told by HTTP there";
        lacks(server, "update-url", why, "\"https://vps.example\", as clients reach it", found);
    }
    let own = name(entry)?;
    let word =
        |word: &Option<Spanned<String>>| word.as_ref().map_or_else(|| own.clone(), |it| it.value.clone());
    let hostname = word(&entry.update_hostname);
    Some(Some(HttpUpdate {
        url: format!("{}/nic/update?hostname={hostname}", server?.update_url.as_ref()?.value),
        hostname,
        user: word(&entry.update_user),
        key_file: entry.update_key_file.clone()?,
    }))
}

/// What a host's section says of it.
const KEYS: [&str; 3] = ["update-url", "certificate", "certificate-key"];

/// Every host with a legal `update-url`; what is illegal goes to `found`.
pub(in crate::model) fn servers(config: &Config, found: &mut Vec<Diagnostic>) -> Vec<HttpServer> {
    same_names(config, found);
    let told = |host: &&config::Host| KEYS.iter().any(|key| host.keys.iter().any(|word| word == key));
    for host in config.hosts.iter().filter(told).filter(|host| serves(config, host)) {
        certificates(host, found);
        place::check(config, host, found);
    }
    config.hosts.iter().filter_map(one).collect()
}

/// Whether it is the server of a tunnel.
fn serves(config: &Config, host: &config::Host) -> bool {
    let mut named = config.tunnels6.iter().filter_map(|entry| entry.server.as_ref());
    named.any(|server| server.value == host.name.value)
}

/// What shall be there for https has no use for http, nor for nothing.
fn certificates(host: &config::Host, found: &mut Vec<Diagnostic>) {
    let files = [("certificate", &host.certificate), ("certificate-key", &host.certificate_key)];
    let there = files.iter().filter_map(|(key, file)| Some((*key, file.as_ref()?)));
    let written = host.keys.iter().any(|key| key == "update-url");
    match host.update_tls.as_ref().map(|tls| tls.value) {
        // A word that says neither has its diagnostic.
        None if written => {}
        None => {
            for (key, file) in there {
                let message = format!("`{key}` has no use without `update-url`");
                let help = format!("add update-url = \"https://vps.example\", or leave `{key}` out");
                found.push(Diagnostic::new(file.span.clone(), message, help));
            }
        }
        Some(true) => {
            for (key, _) in &files {
                let why = "`update-url` is https";
                lacks(host, key, why, &format!("\"/etc/straddle/{key}.pem\", a file of PEM text"), found);
            }
        }
        Some(false) => {
            let secured = host
                .update_url
                .as_ref()
                .map_or("https://vps.example".into(), |url| secured(&url.value).to_string());
            for (key, file) in there {
                let message = format!(
                    "`{key}` has no use: `update-url` is http, so keys cross the network in the clear"
                );
                let help = format!("write \"{secured}\" into `update-url`, or leave `{key}` out");
                found.push(Diagnostic::new(file.span.clone(), message, help));
            }
        }
    }
}

fn one(host: &config::Host) -> Option<HttpServer> {
    let url = host.update_url.as_ref()?;
    let four = host.ipv4.iter().map(|net| IpAddr::V4(net.value.addr()));
    let all = four.chain(host.ipv6.iter().map(|address| address.value.into()));
    let files = host.certificate.as_ref().zip(host.certificate_key.as_ref());
    let certificate = files.map(|(certificate, key)| (certificate.clone(), key.clone()));
    Some(HttpServer {
        host: host.name.value.clone(),
        url: url.value.to_string(),
        name: url.value.host.clone(),
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
    let written = |entry: &config::Tunnel6, key: &str| entry.keys.iter().any(|word| word == key);
    for entry in config.tunnels6.iter().filter(|entry| written(entry, "update-key-file")) {
        // What it was called, and refused, has its diagnostic.
        let unnamed = || if written(entry, "update-hostname") { None } else { name(entry) };
        let own = entry.update_hostname.as_ref().map(|word| word.value.clone()).or_else(unnamed);
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
