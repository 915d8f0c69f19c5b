//! Messages of our own, signed.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use straddle_intent::plan;
use straddle_serve::told::Endpoints;
use straddle_serve::update::{Client, Expected, Key, Server, Timing, read_key};
use straddle_wire::ip::Version;

use crate::complaint::Complaint;
use crate::keep::is_readable;

use super::listen;
use super::trouble::{Trouble, not_told};

/// Whoever tells this host's endpoints, and hears those of others.
pub(super) struct Signed {
    wanted: Vec<plan::Updates>,
    pub(super) server: Option<Server>,
    pub(super) clients: Vec<(String, Client)>,
    /// What each bridge's key is told apart by.
    pub(super) prints: BTreeMap<String, String>,
    /// What was said to be in the way, by bridge.
    pub(super) said: BTreeMap<String, String>,
    /// Bridges whose key can't be read.
    pub(super) lacking: Vec<Trouble>,
}

impl Signed {
    /// Reads the keys and begins to tell and to hear.
    pub(super) fn begin(
        wanted: &[plan::Updates],
        endpoints: &Arc<Endpoints>,
        news: &OwnedFd,
    ) -> Result<Signed, Complaint> {
        let (keys, lacking) = keys(wanted);
        let server = server(&keys, endpoints)?;
        if let Some(server) = &server {
            listen(news, server.ended())?;
        }
        let (mut clients, mut prints) = (Vec::new(), BTreeMap::new());
        for (update, key) in keys {
            prints.insert(update.bridge.clone(), key.print().to_string());
            if update.tells.is_none() {
                continue;
            }
            let client =
                Client::begin(&update.bridge, key, update.server, Timing::default()).map_err(not_told)?;
            listen(news, client.fd())?;
            listen(news, client.ended())?;
            clients.push((update.bridge.clone(), client));
        }
        let said = BTreeMap::new();
        let mut signed = Signed { wanted: Vec::new(), server, clients, prints, said, lacking };
        signed.follow(wanted);
        Ok(signed)
    }

    /// Whether it tells and hears for exactly these, whatever the endpoints are, by all keys that can be read.
    pub(super) fn suits(&self, wanted: &[plan::Updates]) -> bool {
        let alike = |one: &plan::Updates, other: &plan::Updates| {
            let bare = |update: &plan::Updates| plan::Updates { tells: None, ..update.clone() };
            bare(one) == bare(other) && one.tells.is_some() == other.tells.is_some()
        };
        self.wanted.len() == wanted.len()
            && self.wanted.iter().zip(wanted).all(|(a, b)| alike(a, b))
            && (self.lacking.is_empty() || keys(wanted).1 == self.lacking)
    }

    /// Tells what this host's endpoints are by now.
    pub(super) fn follow(&mut self, wanted: &[plan::Updates]) {
        for (bridge, client) in &self.clients {
            let update = wanted.iter().find(|update| update.bridge == *bridge);
            let endpoint = update.and_then(|update| update.tells);
            client.tell(endpoint.map(Into::into));
        }
        self.wanted = wanted.to_vec();
    }

    pub(super) fn has_ended(&self) -> bool {
        let server = self.server.iter().map(Server::ended);
        server.chain(self.clients.iter().map(|(_, client)| client.ended())).any(is_readable)
    }
}

/// The keys that can be read, and what keeps the others from it.
fn keys(wanted: &[plan::Updates]) -> (Vec<(&plan::Updates, Key)>, Vec<Trouble>) {
    let (mut keys, mut lacking) = (Vec::new(), Vec::new());
    for update in wanted {
        match read_key(Path::new(&update.key_file)) {
            Ok(key) => keys.push((update, key)),
            Err(why) => lacking.push(Trouble::of_key(&update.bridge, update.tells.is_some(), &why)),
        }
    }
    (keys, lacking)
}

/// One for all bridges whose endpoints are heard of; none where there are none.
fn server(keys: &[(&plan::Updates, Key)], endpoints: &Arc<Endpoints>) -> Result<Option<Server>, Complaint> {
    let (mut addresses, mut expected) = (Vec::new(), Vec::new());
    for (update, key) in keys.iter().filter(|(update, _)| update.tells.is_none()) {
        let address = update.server;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        let version = if update.over_v4() { Version::V4 } else { Version::V6 };
        expected.push(Expected { bridge: update.bridge.clone(), key: key.clone(), version });
    }
    if expected.is_empty() {
        return Ok(None);
    }
    Server::begin(&addresses, expected, endpoints.clone()).map(Some).map_err(not_told)
}
