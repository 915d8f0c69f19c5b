//! The relays of a plan, served by loops of their own: a change of other bridges does not touch them, and a
//! change of a relay leaves what is open alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use serde_json::{Value, json};
use straddle_intent::model::{self, Family, Place};
use straddle_intent::plan::{Bridge, Via};
use straddle_serve::relay::{Alert, Listen, NotListening, Protocol, Relay, Rules, Serving, Target};

use crate::complaint::Complaint;

use super::files;

/// Running relays; what is open ends when this is dropped.
pub(super) struct Relaying {
    serving: Serving,
    relays: Vec<Relay>,
    /// What was told last of what is not listened at.
    told: Vec<NotListening>,
}

impl Relaying {
    /// Serves nothing yet, and has no loops as long as that is so.
    pub(super) fn begin() -> Result<Relaying, Complaint> {
        let serving = Serving::begin(0, files::for_relays()).map_err(not_served)?;
        Ok(Relaying { serving, relays: Vec::new(), told: Vec::new() })
    }

    /// Serves the relays among these bridges from here on, and no others. What is in the way is tried again each time,
    /// and told when it is something else.
    pub(super) fn change<'a>(&mut self, bridges: impl Iterator<Item = &'a Bridge>) -> Result<(), Complaint> {
        let relays: Vec<Relay> = bridges.flat_map(relays).collect();
        if relays == self.relays && !self.serving.is_troubled() {
            return Ok(());
        }
        if self.relays.is_empty() && self.serving.open() == 0 {
            files::allow_many();
            let loops = if relays.is_empty() { 0 } else { processors() };
            self.serving = Serving::begin(loops, files::for_relays()).map_err(not_served)?;
        }
        self.relays.clone_from(&relays);
        let troubles = self.serving.change(relays).err().unwrap_or_default();
        if troubles == self.told {
            return Ok(());
        }
        self.told = troubles.to_vec();
        if troubles.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = troubles.iter().map(ToString::to_string).collect();
        let lacks_files = troubles.iter().all(NotListening::lacks_files);
        Err(Complaint::NotListening { lines: lines.join("\n"), lacks_files })
    }

    /// Listens nowhere any more, and waits for nothing: see [`Relaying::open`].
    pub(super) fn drain(&mut self) {
        self.serving.drain();
    }

    /// How many TCP connections are open.
    pub(super) fn open(&self) -> usize {
        self.serving.open()
    }

    /// The longest time that a connection has left once this drains; none where there is nothing to wait for.
    pub(super) fn drain_time(&self) -> Duration {
        let times = self.relays.iter().map(|relay| relay.rules.drain_time);
        times.max().filter(|_| self.open() > 0).unwrap_or_default()
    }

    /// The counters of every relay.
    pub(super) fn report(&self) -> impl Iterator<Item = Value> {
        self.serving.report().into_iter().map(|report| json!(report))
    }

    /// Can be read from when there is something to tell, or when nothing is open any more.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.serving.bell()
    }

    /// What should be told to a person, once.
    pub(super) fn alerts(&self) -> Vec<Alert> {
        self.serving.alerts()
    }

    /// Can be read from once a loop has ended by itself.
    pub(super) fn ended(&self) -> BorrowedFd<'_> {
        self.serving.ended()
    }
}

fn relays(bridge: &Bridge) -> Option<Relay> {
    match &bridge.via {
        Via::Relay(relay) => Some(told(&bridge.name, relay)),
        Via::Carrier(_) | Via::Translator(_) | Via::Awaited(_) | Via::Routes(_) => None,
    }
}

fn told(bridge: &str, relay: &model::Relay) -> Relay {
    let target = match &relay.to.place {
        Place::Address(ip) => Target::Address(SocketAddr::new(*ip, relay.to.port)),
        Place::Name(name) => Target::Name(name.clone(), relay.to.port),
    };
    let listens: Vec<Listen> = relay.listen.iter().flat_map(listens).collect();
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Relay {
        bridge: bridge.into(),
        listens,
        target,
        rules: Rules {
            proxy_out: relay.proxy_out,
            accept_proxy: relay.accept_proxy.clone(),
            allow: relay.allow.clone(),
            allow_private: relay.allow_private.clone(),
            embed: relay.embed,
            max_connections: relay.max_connections,
            max_per_source: relay.max_per_source,
            connect_timeout: seconds(relay.connect_timeout),
            idle_timeout: relay.idle_timeout.map(seconds),
            half_close_timeout: seconds(relay.half_close_timeout),
            drain_time: seconds(relay.drain_time),
        },
    }
}

/// One for each family.
fn listens(listen: &model::Listen) -> Vec<Listen> {
    let protocol = match listen.protocol {
        model::Protocol::Tcp => Protocol::Tcp,
        model::Protocol::Udp => Protocol::Udp,
    };
    let (four, six): (IpAddr, IpAddr) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
    let addresses = match (listen.address, listen.family) {
        (Some(address), _) => vec![address],
        (None, Family::V4) => vec![four],
        (None, Family::V6) => vec![six],
        (None, Family::Both) => vec![four, six],
    };
    let one = |address| Listen {
        word: listen.word.clone(),
        protocol,
        address,
        first: listen.first,
        last: listen.last,
    };
    addresses.into_iter().map(one).collect()
}

/// A loop for each.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn not_served(why: impl ToString) -> Complaint {
    Complaint::NotServed(why.to_string())
}
