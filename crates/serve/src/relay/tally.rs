//! What has gone through a listener.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::Reason;

/// Counters of one `listen` of a relay; all loops write them, once for each event.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) accepted: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) to_target: Way,
    pub(super) to_client: Way,
    ends: [AtomicU64; Reason::COUNT],
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Way {
    bytes: AtomicU64,
    datagrams: AtomicU64,
    lost: AtomicU64,
}

/// The counters of one relay at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The bridge it belongs to.
    pub bridge: String,
    /// Each `listen` of it, in the order of the file.
    pub listeners: Vec<Counted>,
}

/// The counters of one `listen`.
#[derive(Clone, Debug, Serialize)]
pub struct Counted {
    /// The word of the file.
    pub listen: String,
    /// Why it is not listening, where it is not.
    pub trouble: Option<String>,
    /// The limit that it is at, where it is at one.
    pub at_limit: Option<Limit>,
    /// Connections and sessions that clients began, refused ones included.
    pub accepted: u64,
    /// Those that are open.
    pub open: u64,
    /// From clients to the target.
    pub to_target: Traffic,
    /// From the target to clients.
    pub to_client: Traffic,
    /// How the others ended; what never happened is left out.
    pub ends: Vec<(&'static str, u64)>,
}

/// What keeps a listener from taking more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// There are `max-connections` of its relay.
    MaxConnections,
    /// Relays have all the files open that they may.
    OpenFiles,
}

/// What went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Bytes of payload.
    pub bytes: u64,
    /// UDP datagrams.
    pub datagrams: u64,
    /// UDP datagrams that the kernel did not take, or that waited for a target too long.
    pub lost: u64,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            to_target: Way::default(),
            to_client: Way::default(),
            ends: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Something that was accepted has ended.
    pub(super) fn ended(&self, reason: Reason) {
        if let Some(counter) = self.ends.get(reason.index()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn counted(&self, listen: &str, trouble: Option<String>, at_limit: Option<Limit>) -> Counted {
        let ends = Reason::ALL.iter().zip(&self.ends);
        let ends = ends.map(|(reason, counter)| (reason.name(), counter.load(Relaxed)));
        Counted {
            listen: listen.into(),
            trouble,
            at_limit,
            accepted: self.accepted.load(Relaxed),
            open: self.open.load(Relaxed),
            to_target: self.to_target.traffic(),
            to_client: self.to_client.traffic(),
            ends: ends.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

impl Way {
    pub(super) fn moved(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn sent(&self, datagrams: usize, bytes: usize) {
        self.datagrams.fetch_add(datagrams as u64, Relaxed);
        self.moved(bytes);
    }

    pub(super) fn lost(&self, datagrams: usize) {
        self.lost.fetch_add(datagrams as u64, Relaxed);
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            bytes: self.bytes.load(Relaxed),
            datagrams: self.datagrams.load(Relaxed),
            lost: self.lost.load(Relaxed),
        }
    }
}
