//! Endpoints that change: this host's are told, those of others are heard, signed or by HTTP.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::epoll;
use serde_json::{Value, json};
use straddle_intent::plan::{self, HttpUpdates, Plan};
use straddle_serve::http::{self, Tls, Transport};
use straddle_serve::told::Endpoints;
use straddle_serve::update::{Client, Expected, Key, Server, Timing, read_key, read_secret};
use straddle_wire::ip::Version;

use crate::complaint::Complaint;

/// Whether every key and certificate can be read: asked before the host is touched.
pub(super) fn readable(plan: &Plan) -> Result<(), Complaint> {
    plan.updates.iter().try_for_each(|update| key(update).map(drop))?;
    plan.http.iter().try_for_each(|wanted| secrets(wanted).and(transport(wanted).map(drop)))
}

/// Running loops; they end when this is dropped.
pub(super) struct Updates {
    endpoints: Arc<Endpoints>,
    signed: Option<Signed>,
    http: Option<Http>,
    /// Readable when one of them has news, or has ended.
    news: OwnedFd,
}

/// Messages of our own, signed.
struct Signed {
    wanted: Vec<plan::Updates>,
    server: Option<Server>,
    clients: Vec<(String, Client)>,
    /// What each bridge's key is told apart by.
    prints: BTreeMap<String, String>,
    /// What was said to be in the way, by bridge.
    said: BTreeMap<String, String>,
}

/// As to the well-known broker.
struct Http {
    wanted: HttpUpdates,
    server: http::Server,
}

impl Updates {
    /// Neither tells nor hears yet.
    pub(super) fn new(known: &plan::Endpoints) -> Result<Updates, Complaint> {
        let endpoints = Arc::new(Endpoints::new(known.clone()).map_err(not_told)?);
        let news = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(not_told)?;
        listen(&news, endpoints.fd())?;
        Ok(Updates { endpoints, signed: None, http: None, news })
    }

    /// Tells and hears for this plan from here on. What goes on as it was is left alone, unless keys may be others.
    /// What can't begin is told, and tried again with the next change.
    pub(super) fn change(&mut self, plan: &Plan, anew: bool) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        let goes_on = |signed: &Signed| !anew && signed.suits(&plan.updates) && !signed.has_ended();
        // The port is free once whoever listens there has ended.
        self.signed = self.signed.take().filter(goes_on);
        match &mut self.signed {
            Some(signed) => signed.follow(&plan.updates),
            None if plan.updates.is_empty() => {}
            None => match Signed::begin(&plan.updates, &self.endpoints, &self.news) {
                Ok(begun) => self.signed = Some(begun),
                Err(complaint) => complaints.push(complaint),
            },
        }
        complaints.extend(self.change_http(plan.http.as_ref(), anew).err());
        complaints
    }

    /// What listens goes on as it is where the files of what is to listen can't be read.
    fn change_http(&mut self, wanted: Option<&HttpUpdates>, anew: bool) -> Result<(), Complaint> {
        let goes_on = |http: &Http| !anew && Some(&http.wanted) == wanted && !http.has_ended();
        if self.http.as_ref().is_some_and(goes_on) {
            return Ok(());
        }
        let Some(wanted) = wanted else {
            self.http = None;
            return Ok(());
        };
        let files = (wanted, secrets(wanted)?, transport(wanted)?);
        // The port is free once whoever listens there has ended.
        self.http = None;
        self.http = Some(Http::begin(files, &self.endpoints, &self.news)?);
        Ok(())
    }

    /// Can be read from when something was told or heard, or a loop has ended.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    /// Whether a loop has ended by itself.
    pub(super) fn ended(&self) -> bool {
        self.signed.as_ref().is_some_and(Signed::has_ended) || self.http.as_ref().is_some_and(Http::has_ended)
    }

    /// What is known of others, and no more news.
    pub(super) fn heard(&self) -> plan::Endpoints {
        self.clients().for_each(|(_, client)| drop(client.state()));
        self.endpoints.all()
    }

    /// For each bridge of which it has changed: what keeps this host's endpoint from being acknowledged; nothing once
    /// it is.
    pub(super) fn troubles(&mut self) -> Vec<(String, Option<String>)> {
        let mut changed = Vec::new();
        let Some(Signed { clients, said, .. }) = &mut self.signed else { return changed };
        for (bridge, client) in clients {
            let trouble = client.state().trouble;
            if said.get(bridge) == trouble.as_ref() {
                continue;
            }
            match &trouble {
                Some(trouble) => drop(said.insert(bridge.clone(), trouble.clone())),
                None => drop(said.remove(bridge)),
            }
            changed.push((bridge.clone(), trouble));
        }
        changed
    }

    /// How things are, for each bridge; what was for none of them is last, with nothing where nobody listens.
    pub(super) fn report(&self) -> Vec<Value> {
        let mut all: BTreeMap<String, Value> = self.told().collect();
        let hearing = self.signed.as_ref().and_then(|signed| signed.server.as_ref());
        for report in hearing.into_iter().flat_map(Server::reports) {
            let value = all.entry(report.bridge).or_insert_with_key(|bridge| self.known(bridge));
            (value["messages"], value["unanswered"]) = (json!(report.messages), json!(report.unanswered));
        }
        for report in self.http.iter().flat_map(|http| http.server.reports()) {
            let value = all.entry(report.bridge).or_insert_with_key(|bridge| self.known(bridge));
            value["requests"] = json!(report.requests);
        }
        let strangers = json!({
            "messages": hearing.map(Server::strangers),
            "requests": self.http.as_ref().map(|http| http.server.strangers()),
        });
        all.into_values().chain([strangers]).collect()
    }

    fn clients(&self) -> impl Iterator<Item = &(String, Client)> {
        self.signed.iter().flat_map(|signed| &signed.clients)
    }

    /// How it stands with what is told of this host.
    fn told(&self) -> impl Iterator<Item = (String, Value)> {
        self.clients().map(|(bridge, client)| {
            let mut value = json!(client.state());
            value["bridge"] = json!(bridge);
            value["messages"] = json!(client.messages());
            value["key_print"] = json!(self.print(bridge));
            (bridge.clone(), value)
        })
    }

    /// What others have told of a bridge.
    fn known(&self, bridge: &str) -> Value {
        let known = self.endpoints.of(bridge);
        json!({
            "bridge": bridge,
            "endpoint": known.map(|known| known.endpoint),
            "told_at": known.and_then(|known| known.told_at),
            "key_print": self.print(bridge),
        })
    }

    fn print(&self, bridge: &str) -> Option<&str> {
        self.signed.as_ref()?.prints.get(bridge).map(String::as_str)
    }
}

impl Signed {
    /// Reads the keys and begins to tell and to hear.
    fn begin(
        wanted: &[plan::Updates],
        endpoints: &Arc<Endpoints>,
        news: &OwnedFd,
    ) -> Result<Signed, Complaint> {
        let server = server(wanted, endpoints)?;
        if let Some(server) = &server {
            listen(news, server.ended())?;
        }
        let (mut clients, mut prints) = (Vec::new(), BTreeMap::new());
        for update in wanted {
            let key = key(update)?;
            let print = key.print().iter().map(|byte| format!("{byte:02x}")).collect();
            prints.insert(update.bridge.clone(), print);
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
        let mut signed = Signed { wanted: Vec::new(), server, clients, prints, said };
        signed.follow(wanted);
        Ok(signed)
    }

    /// Whether it tells and hears for exactly these, whatever the endpoints are.
    fn suits(&self, wanted: &[plan::Updates]) -> bool {
        let alike = |one: &plan::Updates, other: &plan::Updates| {
            let bare = |update: &plan::Updates| plan::Updates { tells: None, ..update.clone() };
            bare(one) == bare(other) && one.tells.is_some() == other.tells.is_some()
        };
        self.wanted.len() == wanted.len() && self.wanted.iter().zip(wanted).all(|(a, b)| alike(a, b))
    }

    /// Tells what this host's endpoints are by now.
    fn follow(&mut self, wanted: &[plan::Updates]) {
        for (bridge, client) in &self.clients {
            let update = wanted.iter().find(|update| update.bridge == *bridge);
            let endpoint = update.and_then(|update| update.tells);
            client.tell(endpoint.map(Into::into));
        }
        self.wanted = wanted.to_vec();
    }

    fn has_ended(&self) -> bool {
        let server = self.server.iter().map(Server::ended);
        server.chain(self.clients.iter().map(|(_, client)| client.ended())).any(super::is_readable)
    }
}

impl Http {
    fn begin(
        (wanted, expected, transport): (&HttpUpdates, Vec<http::Expected>, Transport),
        endpoints: &Arc<Endpoints>,
        news: &OwnedFd,
    ) -> Result<Http, Complaint> {
        let server = http::Server::begin(&wanted.listen, transport, expected, endpoints.clone());
        let server = server.map_err(|why| not_told(format!("{}: {why}", wanted.url)))?;
        listen(news, server.ended())?;
        Ok(Http { wanted: wanted.clone(), server })
    }

    fn has_ended(&self) -> bool {
        super::is_readable(self.server.ended())
    }
}

/// One for all bridges whose endpoints are heard of; none where there are none.
fn server(wanted: &[plan::Updates], endpoints: &Arc<Endpoints>) -> Result<Option<Server>, Complaint> {
    let (mut addresses, mut expected) = (Vec::new(), Vec::new());
    for update in wanted.iter().filter(|update| update.tells.is_none()) {
        let address = update.server;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        let version = if update.over_v4() { Version::V4 } else { Version::V6 };
        expected.push(Expected { bridge: update.bridge.clone(), key: key(update)?, version });
    }
    if expected.is_empty() {
        return Ok(None);
    }
    Server::begin(&addresses, expected, endpoints.clone()).map(Some).map_err(not_told)
}

fn key(update: &plan::Updates) -> Result<Key, Complaint> {
    read_key(Path::new(&update.key_file)).map_err(not_told)
}

/// Tunnels over IPv4 are the only bridges that HTTP tells of.
fn secrets(wanted: &HttpUpdates) -> Result<Vec<http::Expected>, Complaint> {
    let one = |client: &plan::HttpClient| {
        Ok(http::Expected {
            bridge: client.bridge.clone(),
            hostname: client.hostname.clone(),
            user: client.user.clone(),
            key: read_secret(Path::new(&client.key_file)).map_err(not_told)?,
            version: Version::V4,
        })
    };
    wanted.clients.iter().map(one).collect()
}

fn transport(wanted: &HttpUpdates) -> Result<Transport, Complaint> {
    let Some((certificate, key)) = &wanted.certificate else { return Ok(Transport::Plain) };
    let read = Tls::read(Path::new(certificate), Path::new(key));
    read.map(Transport::Tls).map_err(|why| Complaint::Other {
        message: format!("endpoints can't be heard by https: {why}"),
        help:
            "write the files of a certificate, with those that signed it, and of its key: `certificate` and \
               `certificate-key`"
                .into(),
    })
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
