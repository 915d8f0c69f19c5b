//! Names, asked for with getaddrinfo(3) on threads of their own, since it blocks.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use super::letters::{Letter, LetterBox};
use super::slab::Id;

/// Names that are asked for at once; a resolver that is down holds each for some seconds.
const THREADS: usize = 8;

/// Who wants to know.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) letters: Arc<LetterBox>,
    pub(super) id: Id,
    /// A session of UDP, not a connection.
    pub(super) session: bool,
}

/// Asks for names. Whoever asks for one that is being asked for gets the same answer; nothing is remembered
/// after it was given. The threads end once this is dropped, each after the question that it is asking.
#[derive(Debug)]
pub(super) struct Resolver(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    waiting: VecDeque<(String, u16)>,
    askers: HashMap<(String, u16), Vec<Asker>>,
    threads: usize,
    idle: usize,
    ended: bool,
}

impl Resolver {
    pub(super) fn new() -> Resolver {
        Resolver(Arc::default())
    }

    /// The answer comes as a letter.
    pub(super) fn ask(&self, name: &str, port: u16, asker: Asker) {
        let question = (name.to_string(), port);
        let mut work = self.0.lock();
        let askers = work.askers.entry(question.clone()).or_default();
        askers.push(asker);
        if askers.len() > 1 {
            return;
        }
        work.waiting.push_back(question);
        if work.idle == 0 && work.threads < THREADS {
            let shared = self.0.clone();
            if Builder::new().name("names".into()).spawn(move || shared.serve()).is_ok() {
                work.threads += 1;
            }
        }
        if work.threads == 0 {
            // Nobody can ask: better no address than no answer.
            work.waiting.clear();
            for asker in work.askers.drain().flat_map(|(_, askers)| askers) {
                asker.letters.post(Letter::Found(asker.id, asker.session, Vec::new()));
            }
        }
        self.0.changed.notify_one();
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        while let Some(question) = self.next() {
            let found: Vec<SocketAddr> = (question.0.as_str(), question.1)
                .to_socket_addrs()
                .map(Iterator::collect)
                .unwrap_or_default();
            let askers = self.lock().askers.remove(&question).unwrap_or_default();
            for asker in askers {
                asker.letters.post(Letter::Found(asker.id, asker.session, found.clone()));
            }
        }
    }

    fn next(&self) -> Option<(String, u16)> {
        let mut work = self.lock();
        loop {
            if work.ended {
                return None;
            }
            if let Some(question) = work.waiting.pop_front() {
                return Some(question);
            }
            work.idle += 1;
            work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
            work.idle -= 1;
        }
    }
}
