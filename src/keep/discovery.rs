//! The prefixes of NAT64s that the file leaves to be discovered, each searched for on a thread of its own.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use straddle_intent::plan::{Bridge, Discovers, Via};
use straddle_serve::discover::{Search, State};
use straddle_xlat::rfc6052::Prefix;

use crate::complaint::Complaint;

/// The port of DNS.
const DNS: u16 = 53;

/// What is known of each bridge's prefix.
pub(super) type Found = BTreeMap<String, State>;

/// Running searches. They end once this is dropped.
pub(super) struct Discovery {
    bridges: Vec<(String, Discovers)>,
    found: Arc<Mutex<Found>>,
    woken: UnixStream,
    /// Held so that `woken` has another end, whether there is a search or not.
    _wake: UnixStream,
    _stop: UnixStream,
}

impl Discovery {
    /// Begins to search for every bridge that needs it.
    pub(super) fn begin(served: &[&Bridge]) -> Result<Discovery, Complaint> {
        let bridges: Vec<(String, Discovers)> = searched(served).collect();
        let found = Arc::new(Mutex::new(Found::new()));
        let (woken, wake) = pair()?;
        let (stop, stopped) = pair()?;
        for (name, discovers) in &bridges {
            let (stopped, wake) = (cloned(&stopped)?, cloned(&wake)?);
            let (name, found, search) = (name.clone(), found.clone(), search(discovers));
            let taken = discovers.taken.clone();
            let body = move || {
                let tell = |state: &State| {
                    let state = apart(state, &taken);
                    let mut all = found.lock().unwrap_or_else(PoisonError::into_inner);
                    all.insert(name.clone(), state);
                    // A full pipe has woken already.
                    let _ = (&wake).write(&[1]);
                };
                // Where waiting fails, nothing is found any more; what was stays.
                let _ = search.run(stopped.as_fd(), tell);
            };
            std::thread::Builder::new().name("discovery".into()).spawn(body).map_err(trouble)?;
        }
        Ok(Discovery { bridges, found, woken, _wake: wake, _stop: stop })
    }

    /// Whether it searches for exactly what these need.
    pub(super) fn suits(&self, served: &[&Bridge]) -> bool {
        searched(served).eq(self.bridges.iter().cloned())
    }

    /// Can be read from when something was found, or lost.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// What is known by now.
    pub(super) fn found(&self) -> Found {
        let mut room = [0; 64];
        while matches!((&self.woken).read(&mut room), Ok(1..)) {}
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn searched(served: &[&Bridge]) -> impl Iterator<Item = (String, Discovers)> {
    served.iter().filter_map(|bridge| match &bridge.via {
        Via::Translator(translator) => Some((bridge.name.clone(), translator.discovers.clone()?)),
        Via::Carrier(_) | Via::Relay(_) | Via::Awaited(_) | Via::Routes(_) => None,
    })
}

fn search(discovers: &Discovers) -> Search {
    Search {
        uplink: discovers.uplink.clone(),
        resolvers: discovers.dns64.iter().map(|address| SocketAddr::from((*address, DNS))).collect(),
        target: discovers.probe4,
    }
}

/// Without the prefixes that lead into translators of this host's own: they are no way to the network's NAT64.
fn apart(state: &State, taken: &[Prefix]) -> State {
    let mut state = state.clone();
    let overlaps = |prefix: &Prefix| {
        let (net, mut others) = (prefix.net(), taken.iter().map(|other| other.net()));
        others.any(|other| other.contains(&net) || net.contains(&other))
    };
    let Some(found) = &mut state.found else { return state };
    let of_ours = found.prefixes.iter().filter(|prefix| overlaps(prefix));
    let troubles: Vec<String> = of_ours
        .map(|prefix| format!("the network offers {prefix}, which a [[siit]] of this host translates itself"))
        .collect();
    found.prefixes.retain(|prefix| !overlaps(prefix));
    if found.prefixes.is_empty() {
        state.found = None;
    }
    state.troubles.extend(troubles);
    state
}

fn pair() -> Result<(UnixStream, UnixStream), Complaint> {
    let (one, other) = UnixStream::pair().map_err(trouble)?;
    one.set_nonblocking(true).map_err(trouble)?;
    other.set_nonblocking(true).map_err(trouble)?;
    Ok((one, other))
}

fn cloned(stream: &UnixStream) -> Result<UnixStream, Complaint> {
    stream.try_clone().map_err(trouble)
}

fn trouble(error: std::io::Error) -> Complaint {
    Complaint::NotServed(format!("the NAT64's prefix can't be searched for: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use straddle_serve::discover::{Discovered, Source};

    use super::*;

    fn check(offered: &[&str], taken: &[&str], left: Option<&[&str]>, troubles: usize) {
        let prefixes = |words: &[&str]| -> Vec<Prefix> {
            words.iter().map(|word| Prefix::new(word.parse().unwrap()).unwrap()).collect()
        };
        let found = Discovered {
            prefixes: prefixes(offered),
            source: Source::Dns64,
            expires: Instant::now(),
            kept: false,
        };
        let state = apart(&State { found: Some(found), troubles: Vec::new() }, &prefixes(taken));
        assert_eq!(state.found.map(|found| found.prefixes), left.map(prefixes), "{offered:?} {taken:?}");
        assert_eq!(state.troubles.len(), troubles, "{:?}", state.troubles);
    }

    #[test]
    fn what_a_siit_has_is_no_way_out() {
        let (well_known, other) = ("64:ff9b::/96", "2001:db8:64::/96");
        check(&[well_known, other], &[], Some(&[well_known, other]), 0);
        check(&[well_known, other], &[well_known], Some(&[other]), 1);
        check(&[well_known], &[well_known], None, 1);
        check(&[other], &["2001:db8::/32"], None, 1);
    }
}
