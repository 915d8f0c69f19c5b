//! Second station: the file as values that are legal together. The last that can refuse.

mod apart;
mod borrow;
mod clat;
mod host;
mod names;
mod publish;
mod relay;
mod secret;
mod siit;
mod translation;
mod tunnel6;
mod via6;

pub use borrow::{Borrow, CarrierKind, End};
pub use clat::{Address6, Clat, Prefix64};
pub use host::{BackendChoice, Host, NeighbourSource};
pub use publish::{Endpoint, Forwarding, Publish, Share, Side, Transport, UPDATE_PORT, Update, derived};
pub use relay::{Destination, Family, Listen, Place, Protocol, Relay};
pub use secret::Secret;
pub use siit::Siit;
pub use translation::{FastChoice, Translation};
pub use tunnel6::{End4, Endpoint4, HttpServer, HttpUpdate, Tunnel6};
pub use via6::{NextHop, Router, Via6};

use crate::config::{Config, Diagnostic};

/// All that the file says, legal by type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Every host of the file.
    pub hosts: Vec<Host>,
    /// Every `[[borrow]]`.
    pub borrows: Vec<Borrow>,
    /// Every `[[publish]]`.
    pub publishes: Vec<Publish>,
    /// Every `[[siit]]`.
    pub siits: Vec<Siit>,
    /// Every `[[clat]]`.
    pub clats: Vec<Clat>,
    /// Every `[[relay]]`.
    pub relays: Vec<Relay>,
    /// Every `[[via6]]`.
    pub via6s: Vec<Via6>,
    /// Every `[[tunnel6]]`.
    pub tunnels6: Vec<Tunnel6>,
    /// Every host that hears by HTTP where clients of its tunnels are.
    pub http_servers: Vec<HttpServer>,
}

impl Model {
    /// The names of all bridges.
    pub fn bridges(&self) -> impl Iterator<Item = &str> {
        let borrows = self.borrows.iter().map(|borrow| borrow.name.as_str());
        let siits = self.siits.iter().map(|siit| siit.name.as_str());
        let publishes = self.publishes.iter().map(|publish| publish.name.as_str());
        let relays = self.relays.iter().map(|relay| relay.name.as_str());
        let via6s = self.via6s.iter().map(|via6| via6.name.as_str());
        let clats = self.clats.iter().map(|clat| clat.name.as_str());
        let tunnels6 = self.tunnels6.iter().map(|tunnel| tunnel.name.as_str());
        let others = relays.chain(via6s).chain(tunnels6);
        borrows.chain(publishes).chain(siits).chain(clats).chain(others)
    }
}

/// Reads a file through both stations.
///
/// # Errors
/// Every mistake of the file, in its order.
pub fn read(text: &str) -> Result<Model, Vec<Diagnostic>> {
    let (config, mut found) = crate::config::parse(text);
    let model = build(&config, &mut found);
    if found.is_empty() {
        return Ok(model);
    }
    found.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
    found.dedup();
    Err(found)
}

fn build(config: &Config, found: &mut Vec<Diagnostic>) -> Model {
    host::check(&config.hosts, found);
    names::check(config, found);
    apart::check(config, found);
    Model {
        hosts: config.hosts.iter().filter_map(Host::from_config).collect(),
        borrows: borrow::build(config, found),
        publishes: publish::build(config, found),
        siits: siit::build(config, found),
        clats: clat::build(config, found),
        relays: relay::build(config, found),
        via6s: via6::build(config, found),
        tunnels6: tunnel6::build(config, found),
        http_servers: tunnel6::http_servers(config, found),
    }
}
