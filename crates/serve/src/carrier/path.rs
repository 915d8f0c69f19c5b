//! What is known of the path to a peer.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::raw;

/// The largest outer packet, as routers have told.
pub(crate) struct Path {
    remote: IpAddr,
    mtu: AtomicU16,
    learnt: Mutex<Option<Instant>>,
}

/// How long a router's word is taken (RFC 8201 §4: at least five minutes, ten recommended).
const LASTS: Duration = Duration::from_secs(600);

impl Path {
    /// With what the kernel knows: nobody told us what it has learnt before, and what is too large would be lost.
    pub(crate) fn new(remote: IpAddr) -> Path {
        let known = known(remote);
        let learnt = known.map(|_| Instant::now());
        Path { remote, mtu: AtomicU16::new(known.unwrap_or(u16::MAX)), learnt: Mutex::new(learnt) }
    }

    /// The largest outer packet in bytes; the largest number where nothing is known.
    pub(crate) fn mtu(&self) -> u16 {
        self.mtu.load(Relaxed)
    }

    /// Somebody on the path says that `mtu` is all it takes. IPv6 has no smaller ones than 1280, and
    /// nobody's word makes a path larger.
    pub(crate) fn narrowed(&self, mtu: u32, now: Instant) {
        let floor = if self.remote.is_ipv6() { 1280 } else { 576 };
        let mtu = u16::try_from(mtu.max(floor)).unwrap_or(u16::MAX);
        self.mtu.fetch_min(mtu, Relaxed);
        *self.lock() = Some(now);
    }

    /// Forgets what is old: asks the kernel what it still knows.
    pub(crate) fn refresh(&self, now: Instant) {
        let mut learnt = self.lock();
        if learnt.is_some_and(|then| now.duration_since(then) >= LASTS) {
            self.mtu.store(known(self.remote).unwrap_or(u16::MAX), Relaxed);
            *learnt = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.learnt.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The largest packet that the kernel sends there, in bytes.
fn known(remote: IpAddr) -> Option<u16> {
    raw::path_mtu(remote).and_then(|mtu| u16::try_from(mtu).ok())
}
