//! Endpoints that were told, in whatever way: one room for all who hear of them. The latest word on a bridge counts,
//! since each says where the client is at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::bell::Bell;

/// What is known of each bridge's other end.
///
/// What is to be kept over a restart are the endpoints, so that carriers work before they are told again.
#[derive(Debug)]
pub struct Endpoints {
    bell: Bell,
    known: Mutex<BTreeMap<String, Known>>,
}

/// What is known of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Known {
    /// Where it is.
    pub endpoint: IpAddr,
    /// Unix time in seconds when that was last told, in this process.
    pub told_at: Option<u64>,
}

impl Endpoints {
    /// Begins with those that are known from before.
    ///
    /// # Errors
    /// The kernel refuses a descriptor.
    pub fn new(known: impl IntoIterator<Item = (String, IpAddr)>) -> Result<Endpoints, Error> {
        let known = known.into_iter().map(|(bridge, endpoint)| (bridge, Known { endpoint, told_at: None }));
        Ok(Endpoints { bell: Bell::new()?, known: Mutex::new(known.collect()) })
    }

    /// Can be read from when an endpoint has changed since all were last asked for.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.bell.fd()
    }

    /// The endpoint of each bridge that has one: told last, or known from before.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, IpAddr> {
        self.bell.hush();
        self.lock().iter().map(|(bridge, known)| (bridge.clone(), known.endpoint)).collect()
    }

    /// Nobody will tell of any other bridge any more: what is known of others takes no place from these.
    pub fn forget_others(&self, heard_of: &BTreeSet<&str>) {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|bridge, _| heard_of.contains(bridge.as_str()));
        if all.len() != before {
            self.bell.ring();
        }
    }

    /// What is known of one bridge.
    #[must_use]
    pub fn of(&self, bridge: &str) -> Option<Known> {
        self.lock().get(bridge).copied()
    }

    /// It was told by somebody with a key, from this address; whether it is another one than before. Nothing is learnt
    /// where another bridge ends there already, unless whoever tells it is there: then the other one has gone.
    pub(crate) fn learn(&self, bridge: &str, endpoint: IpAddr, from: IpAddr) -> Option<bool> {
        let told_at = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
        let mut all = self.lock();
        let is_others = |(name, known): (&String, &Known)| name != bridge && known.endpoint == endpoint;
        if from.to_canonical() != endpoint && all.iter().any(is_others) {
            return None;
        }
        all.retain(|name, known| !is_others((name, known)));
        let before = all.insert(bridge.into(), Known { endpoint, told_at });
        let changed = before.map(|known| known.endpoint) != Some(endpoint);
        if changed {
            self.bell.ring();
        }
        Some(changed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    #[test]
    fn nobody_takes_the_place_of_another_from_afar() {
        let [here, there]: [IpAddr; 2] = ["203.0.113.9", "198.51.100.7"].map(|text| text.parse().unwrap());
        let known = Endpoints::new([("shed".to_string(), here)]).unwrap();
        assert_eq!(known.learn("box", there, there), Some(true));
        assert_eq!(known.learn("box", here, there), None);
        assert_eq!(known.all(), BTreeMap::from([("box".into(), there), ("shed".into(), here)]));
        assert_eq!(known.learn("shed", here, there), Some(false), "it may say so of itself from anywhere");
        // The shed's provider has given its address to the box.
        assert_eq!(known.learn("box", here, here), Some(true));
        assert_eq!(known.all(), BTreeMap::from([("box".into(), here)]));
    }

    #[test]
    fn a_bridge_that_is_gone_takes_no_place() {
        let [here, there]: [IpAddr; 2] = ["203.0.113.9", "198.51.100.7"].map(|text| text.parse().unwrap());
        let known = Endpoints::new([("box".to_string(), there), ("shed".to_string(), here)]).unwrap();
        let rung = || {
            let mut fds = [PollFd::from_borrowed_fd(known.fd(), PollFlags::IN)];
            poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
        };
        known.forget_others(&BTreeSet::from(["box", "garden", "shed"]));
        assert!(!rung());
        assert_eq!(known.learn("garden", here, there), None);
        known.forget_others(&BTreeSet::from(["box", "garden"]));
        assert!(rung());
        assert_eq!(known.all(), BTreeMap::from([("box".into(), there)]));
        assert_eq!(known.learn("garden", here, there), Some(true));
    }
}
