//! Endpoints that are told as to the well-known broker.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use straddle_intent::plan::HttpUpdates;
use straddle_serve::http::{Expected, Server, Tls, TlsError, Transport};
use straddle_serve::told::Endpoints;
use straddle_serve::update::read_secret;
use straddle_wire::ip::Version;

use crate::complaint::Complaint;
use crate::keep::is_readable;

use super::listen;
use super::trouble::{Trouble, not_told};

/// Whoever hears them.
pub(super) struct Http {
    wanted: HttpUpdates,
    pub(super) server: Server,
    /// Clients whose key can't be read.
    lacking: Vec<Trouble>,
    tls: Option<Tls>,
}

/// What was read of a server's files.
pub(super) struct Files {
    clients: Vec<Expected>,
    lacking: Vec<Trouble>,
    tls: Option<Tls>,
}

/// Reads the certificate, and of the keys those that can be read.
pub(super) fn read(wanted: &HttpUpdates) -> Result<Files, Complaint> {
    let tls = tls(wanted)?;
    let (clients, lacking) = clients(wanted);
    Ok(Files { clients, lacking, tls })
}

impl Http {
    pub(super) fn begin(
        wanted: &HttpUpdates,
        Files { clients, lacking, tls }: Files,
        endpoints: &Arc<Endpoints>,
        news: &OwnedFd,
    ) -> Result<Http, Complaint> {
        let transport = tls.clone().map_or(Transport::Plain, Transport::Tls);
        let server = Server::begin(&wanted.listen, transport, clients, endpoints.clone());
        let server = server.map_err(|why| not_told(format!("{}: {why}", wanted.url)))?;
        listen(news, server.ended())?;
        Ok(Http { wanted: wanted.clone(), server, lacking, tls })
    }

    /// Whether it hears exactly these, by all keys that can be read.
    pub(super) fn suits(&self, wanted: &HttpUpdates) -> bool {
        self.wanted == *wanted && (self.lacking.is_empty() || clients(wanted).1 == self.lacking)
    }

    pub(super) fn has_ended(&self) -> bool {
        is_readable(self.server.ended())
    }

    /// Keys that can't be read, and what clients will find wrong with the certificate.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let doubts = self.tls.iter().flat_map(|tls| tls.doubts(&self.wanted.name, now));
        let file = self.wanted.certificate.as_ref().map_or("", |(certificate, _)| certificate);
        let doubts = doubts.map(|doubt| Trouble::Doubt(format!("{file}: {doubt}")));
        self.lacking.iter().cloned().chain(doubts).collect()
    }
}

/// Tunnels over IPv4 are the only bridges that HTTP tells of.
fn clients(wanted: &HttpUpdates) -> (Vec<Expected>, Vec<Trouble>) {
    let (mut clients, mut lacking) = (Vec::new(), Vec::new());
    for client in &wanted.clients {
        match read_secret(Path::new(&client.key_file)) {
            Ok(key) => clients.push(Expected {
                bridge: client.bridge.clone(),
                hostname: client.hostname.clone(),
                user: client.user.clone(),
                key,
                version: Version::V4,
            }),
            Err(why) => lacking.push(Trouble::of_key(&client.bridge, false, &why)),
        }
    }
    (clients, lacking)
}

fn all(found: &[TlsError]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn tls(wanted: &HttpUpdates) -> Result<Option<Tls>, Complaint> {
    let Some((certificate, key)) = &wanted.certificate else { return Ok(None) };
    Tls::read(Path::new(certificate), Path::new(key)).map(Some).map_err(|found| Complaint::Other {
        message: format!("endpoints can't be heard by https: {}", all(&found)),
        help:
            "write the files of a certificate, with those that signed it, and of its key: `certificate` and \
               `certificate-key`. They are read again within half a minute"
                .into(),
    })
}
