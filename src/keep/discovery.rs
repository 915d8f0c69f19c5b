//! The prefixes of NAT64s that the file leaves to be discovered, each searched for on a thread of its own.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use straddle_intent::plan::{Bridge, Discovers, Via};
use straddle_serve::discover::{Search, State};

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
            let body = move || {
                let tell = |state: &State| {
                    let mut all = found.lock().unwrap_or_else(PoisonError::into_inner);
                    all.insert(name.clone(), state.clone());
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
        Via::Carrier(_) | Via::Awaited(_) => None,
    })
}

fn search(discovers: &Discovers) -> Search {
    Search {
        uplink: discovers.uplink.clone(),
        resolvers: discovers.dns64.iter().map(|address| SocketAddr::from((*address, DNS))).collect(),
        target: discovers.probe4,
    }
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
