//! The relays of a host as one thing that changes while it runs.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::Error;
use crate::loops::Loops;

use super::admission::Admission;
use super::letters::{Letter, LetterBox, hush};
use super::listener::{Key, Listener, Purpose};
use super::resolver::Resolver;
use super::settings::{Listen, Protocol, Relay};
use super::tally::{Report, Tally};
use super::worker::{self, Shared};

/// Something a person should know, told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// This process may not open more files; nothing is accepted until some are closed.
    NoDescriptors,
}

/// Running relays; what is open ends when this is dropped.
pub struct Serving {
    shared: Arc<Shared>,
    relays: Vec<Served>,
    listeners: HashMap<Key, Arc<Listener>>,
    /// Why these could not be listened at.
    troubles: HashMap<Key, String>,
    loops: Loops,
}

/// A relay with its counters.
struct Served {
    relay: Relay,
    admission: Arc<Admission>,
    tallies: Vec<(String, Arc<Tally>)>,
}

impl Serving {
    /// Starts so many loops, which serve nothing yet.
    ///
    /// # Errors
    /// When a thread or a descriptor can't be had.
    pub fn begin(loops: usize) -> Result<Serving, Error> {
        let boxes = (0..loops).map(|_| LetterBox::new().map(Arc::new));
        let shared = Arc::new(Shared {
            boxes: boxes.collect::<Result<_, _>>().map_err(Error::call("eventfd"))?,
            loads: (0..loops).map(|_| AtomicUsize::new(0)).collect(),
            resolver: Resolver::new(),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map_err(Error::call("eventfd"))?,
            alerts: Mutex::default(),
            lacking: AtomicBool::new(false),
        });
        let mut running = Loops::new("relay")?;
        for number in 0..loops {
            let shared = shared.clone();
            running.begin(move |stop| worker::run(number, shared, stop))?;
        }
        Ok(Serving {
            shared,
            relays: Vec::new(),
            listeners: HashMap::new(),
            troubles: HashMap::new(),
            loops: running,
        })
    }

    /// Serves exactly these from here on. Listeners that stay are kept, and so is every connection, with the
    /// rules that it began with. What can't be listened at is tried again with the next call.
    ///
    /// # Errors
    /// A line for each listener that could not be had; the others listen.
    pub fn change(&mut self, relays: Vec<Relay>) -> Result<(), Vec<String>> {
        let mut former = std::mem::take(&mut self.relays);
        self.relays = relays.into_iter().map(|relay| Served::after(relay, &mut former)).collect();
        let wanted: Vec<(Key, Arc<Purpose>)> = self.relays.iter().flat_map(Served::listeners).collect();
        let keys: HashSet<Key> = wanted.iter().map(|(key, _)| *key).collect();
        self.leave(|key| !keys.contains(key));
        self.troubles.clear();
        let mut troubles = Vec::new();
        for (key, purpose) in wanted {
            if let Some(listener) = self.listeners.get(&key) {
                listener.serve(purpose);
                continue;
            }
            match Listener::open(key, purpose) {
                Ok(listener) => self.listen(key, &Arc::new(listener)),
                Err(errno) => {
                    let line = format!("can't listen at {}: {}", words(key), std::io::Error::from(errno));
                    self.troubles.insert(key, line.clone());
                    troubles.push(line);
                }
            }
        }
        if troubles.is_empty() { Ok(()) } else { Err(troubles) }
    }

    /// Whether something could not be listened at.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// The counters of each relay.
    #[must_use]
    pub fn report(&self) -> Vec<Report> {
        self.relays.iter().map(|served| served.report(&self.troubles)).collect()
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

    fn listeners(&self) -> Vec<(Key, Arc<Purpose>)> {
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
                found.push((key(listen, port), Arc::new(purpose)));
            }
        }
        found
    }

    fn report(&self, troubles: &HashMap<Key, String>) -> Report {
        let listeners = self.tallies.iter().map(|(word, tally)| {
            let own = self.relay.listens.iter().filter(|listen| listen.word == *word);
            let mut keys = own.flat_map(|listen| (listen.first..=listen.last).map(|port| key(listen, port)));
            tally.counted(word, keys.find_map(|key| troubles.get(&key).cloned()))
        });
        Report { bridge: self.relay.bridge.clone(), listeners: listeners.collect() }
    }
}

fn key(listen: &Listen, port: u16) -> Key {
    (listen.protocol, SocketAddr::new(listen.address, port))
}

fn words((protocol, address): Key) -> String {
    let protocol = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{protocol} {address}")
}
