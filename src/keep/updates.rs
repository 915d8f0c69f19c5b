//! Endpoints that change: this host's are told, those of others are heard, signed or by HTTP.

mod http;
mod signed;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll;
use serde_json::{Value, json};
use straddle_intent::plan::{self, HttpUpdates, Plan};
use straddle_serve::told::Endpoints;
use straddle_serve::update::{Client, Server};

use crate::complaint::Complaint;
use crate::say;

use http::Http;
use signed::Signed;
use trouble::{Trouble, not_told};

/// Running loops; they end when this is dropped.
pub(super) struct Updates {
    endpoints: Arc<Endpoints>,
    signed: Option<Signed>,
    http: Option<Http>,
    /// Whether keys and certificates may be others than those that were read.
    anew: bool,
    /// What was said of what is in the way.
    said: Vec<Trouble>,
    /// Readable when one of them has news, or has ended.
    news: OwnedFd,
}

impl Updates {
    /// Neither tells nor hears yet.
    pub(super) fn new(known: &plan::Endpoints) -> Result<Updates, Complaint> {
        let endpoints = Arc::new(Endpoints::new(known.clone()).map_err(not_told)?);
        let news = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(not_told)?;
        listen(&news, endpoints.fd())?;
        Ok(Updates { endpoints, signed: None, http: None, anew: false, said: Vec::new(), news })
    }

    /// With the next change, keys and certificates are read anew.
    pub(super) fn read_anew(&mut self) {
        self.anew = true;
    }

    /// Tells and hears for this plan from here on. What goes on as it was is left alone, unless keys may be others.
    /// A bridge whose key can't be read is left out. What is in the way is said once, and tried again with the next change.
    pub(super) fn change(&mut self, plan: &Plan) {
        let anew = std::mem::take(&mut self.anew);
        self.endpoints.forget_others(&heard_of(plan));
        let mut troubles = self.change_signed(&plan.updates, anew);
        troubles.extend(self.change_http(plan.http.as_ref(), anew));
        // Whoever has the file read anew wants to know what is still in the way.
        let said = std::mem::replace(&mut self.said, troubles);
        let said = if anew { Vec::new() } else { said };
        for trouble in self.said.iter().filter(|trouble| !said.contains(trouble)) {
            say::aside(&trouble.words());
        }
        let is_over = |trouble: &&Trouble| !self.said.iter().any(|now| now.is_of(trouble));
        for line in said.iter().filter(is_over).filter_map(Trouble::over) {
            say::line(&line);
        }
    }

    fn change_signed(&mut self, wanted: &[plan::Updates], anew: bool) -> Vec<Trouble> {
        let goes_on = |signed: &Signed| !anew && signed.suits(wanted) && !signed.has_ended();
        // The port is free once whoever listens there has ended.
        self.signed = self.signed.take().filter(goes_on);
        match &mut self.signed {
            Some(signed) => signed.follow(wanted),
            None if wanted.is_empty() => {}
            None => match Signed::begin(wanted, &self.endpoints, &self.news) {
                Ok(begun) => self.signed = Some(begun),
                Err(complaint) => return vec![Trouble::of_all(&complaint)],
            },
        }
        self.signed.iter().flat_map(|signed| signed.lacking.iter().cloned()).collect()
    }

    /// What listens goes on as it is where the certificate of what is to listen can't be read.
    fn change_http(&mut self, wanted: Option<&HttpUpdates>, anew: bool) -> Vec<Trouble> {
        let Some(wanted) = wanted else {
            self.http = None;
            return Vec::new();
        };
        let goes_on = |http: &Http| !anew && http.suits(wanted) && !http.has_ended();
        if !self.http.as_ref().is_some_and(goes_on) {
            let files = match http::read(wanted) {
                Ok(files) => files,
                Err(complaint) => return vec![Trouble::of_all(&complaint)],
            };
            // The port is free once whoever listens there has ended.
            self.http = None;
            match Http::begin(wanted, files, &self.endpoints, &self.news) {
                Ok(begun) => self.http = Some(begun),
                Err(complaint) => return vec![Trouble::of_all(&complaint)],
            }
        }
        self.http.iter().flat_map(Http::troubles).collect()
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
        for (bridge, trouble) in self.said.iter().filter_map(|trouble| Some((trouble.bridge()?, trouble))) {
            let value = all.entry(bridge.into()).or_insert_with_key(|bridge| self.known(bridge));
            value["trouble"] = json!(trouble.message());
            if trouble.tells() {
                value["acknowledged_at"] = Value::Null;
            }
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

/// The bridges whose other ends tell this host where they are.
fn heard_of(plan: &Plan) -> BTreeSet<&str> {
    let signed = plan.updates.iter().filter(|update| update.tells.is_none());
    let by_http = plan.http.iter().flat_map(|http| &http.clients);
    let signed = signed.map(|update| update.bridge.as_str());
    signed.chain(by_http.map(|client| client.bridge.as_str())).collect()
}

/// Wakes whoever waits for news.
fn listen(news: &OwnedFd, fd: BorrowedFd<'_>) -> Result<(), Complaint> {
    epoll::add(news, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN).map_err(not_told)
}
