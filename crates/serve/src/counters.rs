//! What became of packets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;
use straddle_encap::Reason;

/// Counters of one carrier.
#[derive(Debug)]
pub(crate) struct Counters {
    out: Traffic,
    r#in: Traffic,
    drops: [AtomicU64; Reason::COUNT],
    /// Unix time in seconds of the peer's latest answer that it has no tunnel; 0 for never.
    no_tunnel: AtomicU64,
}

#[derive(Debug, Default)]
struct Traffic {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// The counters of one carrier at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The bridge it belongs to.
    pub bridge: String,
    /// Packets sent to the peer.
    pub packets_out: u64,
    /// Their inner bytes.
    pub bytes_out: u64,
    /// Packets from the peer.
    pub packets_in: u64,
    /// Their inner bytes.
    pub bytes_in: u64,
    /// The largest inner packet in bytes that the path is known to take.
    pub path_mtu: u16,
    /// Unix time in seconds of the peer's latest answer that it has no tunnel.
    pub no_tunnel_at: Option<u64>,
    /// How many packets ended otherwise, by reason; those that never happened are left out.
    pub drops: Vec<(&'static str, u64)>,
}

impl Counters {
    pub(crate) fn new() -> Counters {
        Counters {
            out: Traffic::default(),
            r#in: Traffic::default(),
            drops: std::array::from_fn(|_| AtomicU64::new(0)),
            no_tunnel: AtomicU64::new(0),
        }
    }

    pub(crate) fn sent(&self, packets: u64, bytes: u64) {
        self.out.add(packets, bytes);
    }

    /// What was counted as sent was refused.
    pub(crate) fn not_sent(&self, bytes: u64) {
        self.out.packets.fetch_sub(1, Relaxed);
        self.out.bytes.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn received(&self, packets: u64, bytes: u64) {
        self.r#in.add(packets, bytes);
    }

    pub(crate) fn dropped(&self, reason: Reason) {
        if let Some(counter) = self.drops.get(reason.index()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn no_tunnel(&self, now: u64) {
        self.no_tunnel.store(now, Relaxed);
    }

    pub(crate) fn report(&self, bridge: &str, path_mtu: u16) -> Report {
        let no_tunnel = self.no_tunnel.load(Relaxed);
        let counted =
            Reason::ALL.iter().zip(&self.drops).map(|(reason, count)| (reason.name(), count.load(Relaxed)));
        Report {
            bridge: bridge.into(),
            packets_out: self.out.packets.load(Relaxed),
            bytes_out: self.out.bytes.load(Relaxed),
            packets_in: self.r#in.packets.load(Relaxed),
            bytes_in: self.r#in.bytes.load(Relaxed),
            path_mtu,
            no_tunnel_at: (no_tunnel > 0).then_some(no_tunnel),
            drops: counted.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

impl Traffic {
    fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }
}
