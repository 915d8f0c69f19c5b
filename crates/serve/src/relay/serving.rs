//! The relays of a host as one thing that changes while it runs.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::Error;
use crate::loops::Loops;

use super::admission::Admission;
use super::budget::Budget;
use super::here::Here;
use super::letters::{Letter, LetterBox, hush};
use super::listener::{Key, Listener, Purpose};
use super::poller::Poller;
use super::resolver::Resolver;
use super::settings::{Listen, Protocol, Relay};
use super::tally::{Limit, Report, Tally};
use super::worker::{self, Shared};

/// Something a person should know, told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// This process may not open more files; nothing is accepted until some are closed.
    NoDescriptors,
}

/// A listen, or some of its ports, that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotListening {
    /// The bridge.
    pub bridge: String,
    /// The word of the file.
    pub listen: String,
    /// How many ports that is, of every address together.
    pub ports: usize,
    /// The first of them.
    pub first: SocketAddr,
    /// Why not.
    pub errno: Errno,
}

impl NotListening {
    /// Whether this process may not open as many files.
    #[must_use]
    pub fn lacks_files(&self) -> bool {
        matches!(self.errno, Errno::MFILE | Errno::NFILE)
    }
}

impl fmt::Display for NotListening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotListening { listen, ports, first, errno, .. } = self;
        let why = std::io::Error::from(*errno);
        match ports {
            1 => write!(f, "can't listen at {first} ({listen}): {why}"),
            ports => write!(f, "can't listen at {ports} ports of {listen}, the first {first}: {why}"),
        }
    }
}

/// Running relays; what is open ends when this is dropped.
pub struct Serving {
    shared: Arc<Shared>,
    relays: Vec<Served>,
    listeners: HashMap<Key, Arc<Listener>>,
    /// The words of the listens that are not listened at, or not at all of their ports, and why.
    troubles: Vec<NotListening>,
    loops: Loops,
}

/// A place to listen at.
struct Wanted {
    key: Key,
    bridge: String,
    listen: String,
    purpose: Arc<Purpose>,
}

/// A relay with its counters.
struct Served {
    relay: Relay,
    admission: Arc<Admission>,
    tallies: Vec<(String, Arc<Tally>)>,
}

impl Serving {
    /// Starts so many loops, which serve nothing yet. They open no file whose number is `files` or more: what lies
    /// beyond is the rest of this process's.
    ///
    /// # Errors
    /// When a thread or a descriptor can't be had.
    pub fn begin(loops: usize, files: u64) -> Result<Serving, Error> {
        let boxes = (0..loops).map(|_| LetterBox::new().map(Arc::new));
        let shared = Arc::new(Shared {
            boxes: boxes.collect::<Result<_, _>>().map_err(Error::call("eventfd"))?,
            loads: (0..loops).map(|_| AtomicUsize::new(0)).collect(),
            resolver: Resolver::new(),
            here: Here::default(),
            budget: Budget::new(files),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map_err(Error::call("eventfd"))?,
            alerts: Mutex::default(),
            lacking: AtomicBool::new(false),
            pausing: AtomicUsize::new(0),
        });
        let mut running = Loops::new("relay")?;
        for number in 0..loops {
            let epoll = Poller::descriptor().map_err(Error::call("epoll"))?;
            let shared = shared.clone();
            running.begin(move |stop| worker::run(number, epoll, shared, stop))?;
        }
        Ok(Serving {
            shared,
            relays: Vec::new(),
            listeners: HashMap::new(),
            troubles: Vec::new(),
            loops: running,
        })
    }

    /// Serves exactly these from here on. Listeners that stay are kept, and so is every connection, with the
    /// rules that it began with. What can't be listened at is tried again with the next call.
    ///
    /// # Errors
    /// What could not be had; all else listens.
    pub fn change(&mut self, relays: Vec<Relay>) -> Result<(), &[NotListening]> {
        let mut former = std::mem::take(&mut self.relays);
        self.relays = relays.into_iter().map(|relay| Served::after(relay, &mut former)).collect();
        let wanted: Vec<Wanted> = self.relays.iter().flat_map(Served::listeners).collect();
        let keys: HashSet<Key> = wanted.iter().map(|wanted| wanted.key).collect();
        self.leave(|key| !keys.contains(key));
        self.shared.here.is(keys);
        self.troubles.clear();
        for wanted in wanted {
            if let Some(listener) = self.listeners.get(&wanted.key) {
                listener.serve(wanted.purpose);
                continue;
            }
            match Listener::open(wanted.key, wanted.purpose, self.shared.budget) {
                Ok(listener) => self.listen(wanted.key, &Arc::new(listener)),
                Err(errno) => self.trouble(wanted.bridge, wanted.listen, wanted.key, errno),
            }
        }
        if self.troubles.is_empty() { Ok(()) } else { Err(&self.troubles) }
    }

    /// Whether something could not be listened at.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// The counters of each relay.
    #[must_use]
    pub fn report(&self) -> Vec<Report> {
        let lacking = self.shared.pausing.load(Relaxed) > 0;
        self.relays.iter().map(|served| served.report(&self.troubles, lacking)).collect()
    }

    /// Listens nowhere from here on; TCP connections may go on for their relay's `drain_time`. A session of UDP has no
    /// end to wait for, and ends at once.
    pub fn drain(&mut self) {
        self.listeners.clear();
        for letters in &self.shared.boxes {
            letters.post(Letter::Drain);
        }
    }

    /// TCP connections that are open, those of relays that are gone included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.loads.iter().map(|load| load.load(Relaxed)).sum()
    }

    /// Can be read from when there are alerts, and, after [`Serving::drain`], when a loop has nothing left.
    #[must_use]
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }

    /// What should be told, once.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        hush(&self.shared.bell);
        std::mem::take(&mut *self.shared.alerts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Can be read from once a loop has ended by itself.
    #[must_use]
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.loops.ended()
    }

    /// One for each listen and error: a range has thousands of ports.
    fn trouble(&mut self, bridge: String, listen: String, (_, first): Key, errno: Errno) {
        let known = self
            .troubles
            .iter_mut()
            .find(|known| known.bridge == bridge && known.listen == listen && known.errno == errno);
        match known {
            Some(known) => known.ports += 1,
            None => self.troubles.push(NotListening { bridge, listen, ports: 1, first, errno }),
        }
    }

    fn listen(&mut self, key: Key, listener: &Arc<Listener>) {
        for letters in self.loops_of(key) {
            letters.post(Letter::Listen(listener.clone()));
        }
        self.listeners.insert(key, listener.clone());
    }

    /// Closes listeners, and waits until that is so: their ports are free then.
    fn leave(&mut self, gone: impl Fn(&Key) -> bool) {
        let (told, done) = channel();
        for (key, listener) in self.listeners.extract_if(|key, _| gone(key)).collect::<Vec<_>>() {
            for letters in self.loops_of(key) {
                letters.post(Letter::Leave(listener.clone(), told.clone()));
            }
        }
        drop(told);
        // Nothing is ever sent: it returns when every loop has dropped its end.
        let _ = done.recv();
    }

    /// Who serves a listener: all loops, or, of UDP, always the same one.
    fn loops_of(&self, key: Key) -> &[Arc<LetterBox>] {
        let boxes = self.shared.boxes.as_slice();
        match key.0 {
            Protocol::Tcp => boxes,
            Protocol::Udp => {
                let number = usize::from(key.1.port()) % boxes.len().max(1);
                boxes.get(number..=number).unwrap_or_default()
            }
        }
    }
}

impl Served {
    /// A relay, with the counters of its former self.
    fn after(relay: Relay, former: &mut Vec<Served>) -> Served {
        let known = former.iter().position(|served| served.relay.bridge == relay.bridge);
        let known = known.map(|index| former.swap_remove(index));
        let mut tallies: Vec<(String, Arc<Tally>)> = Vec::new();
        for listen in &relay.listens {
            if tallies.iter().any(|(word, _)| *word == listen.word) {
                continue;
            }
            let tally = known.as_ref().and_then(|known| known.tally(&listen.word)).cloned();
            tallies.push((listen.word.clone(), tally.unwrap_or_else(|| Arc::new(Tally::new()))));
        }
        Served { relay, admission: known.map(|known| known.admission).unwrap_or_default(), tallies }
    }

    fn tally(&self, word: &str) -> Option<&Arc<Tally>> {
        self.tallies.iter().find(|(known, _)| known == word).map(|(_, tally)| tally)
    }

    fn listeners(&self) -> Vec<Wanted> {
        let mut found = Vec::new();
        for listen in &self.relay.listens {
            let Some(tally) = self.tally(&listen.word) else { continue };
            for (offset, port) in (listen.first..=listen.last).enumerate() {
                let purpose = Purpose {
                    rules: self.relay.rules.clone(),
                    target: self.relay.target.shifted(u16::try_from(offset).unwrap_or(u16::MAX)),
                    tally: tally.clone(),
                    admission: self.admission.clone(),
                };
                found.push(Wanted {
                    key: key(listen, port),
                    bridge: self.relay.bridge.clone(),
                    listen: listen.word.clone(),
                    purpose: Arc::new(purpose),
                });
            }
        }
        found
    }

    fn report(&self, troubles: &[NotListening], lacking: bool) -> Report {
        let at_limit = match (lacking, self.admission.is_full(&self.relay.rules)) {
            (true, _) => Some(Limit::OpenFiles),
            (false, true) => Some(Limit::MaxConnections),
            (false, false) => None,
        };
        let listeners = self.tallies.iter().map(|(word, tally)| {
            let own = |known: &&NotListening| known.bridge == self.relay.bridge && known.listen == *word;
            tally.counted(word, troubles.iter().find(own).map(ToString::to_string), at_limit)
        });
        Report { bridge: self.relay.bridge.clone(), listeners: listeners.collect() }
    }
}

fn key(listen: &Listen, port: u16) -> Key {
    (listen.protocol, SocketAddr::new(listen.address, port))
}
