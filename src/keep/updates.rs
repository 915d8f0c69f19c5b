//! Endpoints that change: this host's are told, those of others are heard.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::epoll;
use serde_json::{Value, json};
use straddle_intent::plan::{self, Endpoints};
use straddle_serve::update::{Client, Expected, Server, Timing, read_key};
use straddle_wire::ip::Version;

use crate::complaint::Complaint;

/// Whether every key can be read: asked before the host is touched.
pub(super) fn readable(wanted: &[plan::Updates]) -> Result<(), Complaint> {
    wanted.iter().try_for_each(|update| read_key(Path::new(&update.key_file)).map(drop).map_err(not_told))
}

/// Running loops; they end when this is dropped.
pub(super) struct Updates {
    wanted: Vec<plan::Updates>,
    server: Option<Server>,
    clients: Vec<(String, Client)>,
    /// What was said to be in the way, by bridge.
    said: BTreeMap<String, String>,
    /// Readable when one of them has news, or has ended.
    news: OwnedFd,
}

impl Updates {
    /// Reads the keys and begins to tell and to hear.
    pub(super) fn begin(wanted: &[plan::Updates], known: &Endpoints) -> Result<Updates, Complaint> {
        let news = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(not_told)?;
        let server = server(wanted, known)?;
        if let Some(server) = &server {
            listen(&news, server.fd())?;
            listen(&news, server.ended())?;
        }
        let mut clients = Vec::new();
        for update in wanted.iter().filter(|update| update.tells.is_some()) {
            let key = read_key(Path::new(&update.key_file)).map_err(not_told)?;
            let client =
                Client::begin(&update.bridge, key, update.server, Timing::default()).map_err(not_told)?;
            listen(&news, client.fd())?;
            listen(&news, client.ended())?;
            clients.push((update.bridge.clone(), client));
        }
        let mut updates = Updates { wanted: wanted.to_vec(), server, clients, said: BTreeMap::new(), news };
        updates.follow(wanted);
        Ok(updates)
    }

    /// Whether it tells and hears for exactly these, whatever the endpoints are.
    pub(super) fn suits(&self, wanted: &[plan::Updates]) -> bool {
        let alike = |one: &plan::Updates, other: &plan::Updates| {
            let bare = |update: &plan::Updates| plan::Updates { tells: None, ..update.clone() };
            bare(one) == bare(other) && one.tells.is_some() == other.tells.is_some()
        };
        self.wanted.len() == wanted.len() && self.wanted.iter().zip(wanted).all(|(a, b)| alike(a, b))
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

    /// Can be read from when something was told or heard, or a loop has ended.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    /// Whether a loop has ended by itself.
    pub(super) fn ended(&self) -> bool {
        let server = self.server.iter().map(Server::ended);
        let mut all = server.chain(self.clients.iter().map(|(_, client)| client.ended()));
        all.any(super::is_readable)
    }

    /// For each bridge of which it has changed: what keeps this host's endpoint from being acknowledged; nothing once
    /// it is.
    pub(super) fn troubles(&mut self) -> Vec<(String, Option<String>)> {
        let mut changed = Vec::new();
        for (bridge, client) in &self.clients {
            let trouble = client.state().trouble;
            if self.said.get(bridge) == trouble.as_ref() {
                continue;
            }
            match &trouble {
                Some(trouble) => drop(self.said.insert(bridge.clone(), trouble.clone())),
                None => drop(self.said.remove(bridge)),
            }
            changed.push((bridge.clone(), trouble));
        }
        changed
    }

    /// What others have told.
    pub(super) fn heard(&self) -> Endpoints {
        self.server.as_ref().map(Server::endpoints).unwrap_or_default()
    }

    /// How things are, for each bridge.
    pub(super) fn report(&self) -> Vec<Value> {
        let heard = self.server.iter().flat_map(Server::reports).map(|report| json!(report));
        let told = self.clients.iter().map(|(bridge, client)| {
            let mut value = json!(client.state());
            value["bridge"] = json!(bridge);
            value["messages"] = json!(client.messages());
            value
        });
        let strangers = self.server.iter().map(|server| json!({"messages": server.strangers()}));
        heard.chain(told).chain(strangers).collect()
    }
}

/// One for all bridges whose endpoints are heard of; none where there are none.
fn server(wanted: &[plan::Updates], known: &Endpoints) -> Result<Option<Server>, Complaint> {
    let (mut addresses, mut expected) = (Vec::new(), Vec::new());
    for update in wanted.iter().filter(|update| update.tells.is_none()) {
        let address = update.server;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        expected.push(Expected {
            bridge: update.bridge.clone(),
            key: read_key(Path::new(&update.key_file)).map_err(not_told)?,
            version: if update.over_v4() { Version::V4 } else { Version::V6 },
            endpoint: known.get(&update.bridge).copied(),
        });
    }
    if expected.is_empty() {
        return Ok(None);
    }
    Server::begin(&addresses, expected).map(Some).map_err(not_told)
}

fn listen(news: &OwnedFd, fd: BorrowedFd<'_>) -> Result<(), Complaint> {
    epoll::add(news, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN).map_err(not_told)
}

fn not_told(why: impl ToString) -> Complaint {
    Complaint::Other {
        message: format!("endpoints can't be told or heard: {}", why.to_string()),
        help: "mend that, then `straddle run`; `straddle key FILE` makes a key for both hosts".into(),
    }
}
