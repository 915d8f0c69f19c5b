//! A loop: one thread that waits for its listeners and connections, and serves whoever is ready.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::Error;
use crate::stop::Stop;

use super::Reason;
use super::budget::Budget;
use super::connection::Connection;
use super::datagrams::Desk;
use super::flow::Means;
use super::here::Here;
use super::letters::{Letter, LetterBox, ring};
use super::listener::Listener;
use super::poller::{Interest, Poller, Ready, Token};
use super::resolver::Resolver;
use super::serving::Alert;
use super::session::{Peer, Session};
use super::settings::Protocol;
use super::slab::{Due, Id, Slab};

/// How long nothing is accepted once descriptors have run out, in milliseconds.
const PAUSE: Due = 100;
/// How long datagrams gather under load. The kernel makes some 50 µs more of it (`PR_SET_TIMERSLACK`).
const MOMENT: Duration = Duration::from_micros(100);

/// What all loops share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) boxes: Vec<Arc<LetterBox>>,
    /// Connections of each loop.
    pub(super) loads: Vec<AtomicUsize>,
    pub(super) resolver: Resolver,
    pub(super) here: Here,
    /// Rings when there is an alert, or when a loop that drains has become empty.
    pub(super) bell: OwnedFd,
    pub(super) alerts: Mutex<Vec<Alert>>,
    pub(super) budget: Budget,
    /// Whether the lack of descriptors was told.
    pub(super) lacking: AtomicBool,
    /// Loops that accept nothing for lack of descriptors.
    pub(super) pausing: AtomicUsize,
}

/// The state of one loop.
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) poller: Poller,
    pub(super) listeners: Slab<Arc<Listener>>,
    pub(super) connections: Slab<Connection>,
    pub(super) sessions: Slab<Session>,
    pub(super) peers: HashMap<Peer, Id>,
    pub(super) means: Means,
    pub(super) desk: Desk,
    /// Connections that could have moved more, had it not been the others' turn.
    pub(super) again: Vec<Id>,
    pub(super) now: Due,
    /// Many datagrams have come at once: more are on their way.
    pub(super) busy: bool,
    began: Instant,
    /// Until when nothing is accepted.
    paused: Option<Due>,
    pub(super) draining: bool,
}

/// Runs a loop until it is stopped. The descriptor that it must have it is given: it starts a while later, and they may
/// have run out by then.
pub(super) fn run(number: usize, epoll: OwnedFd, shared: Arc<Shared>, stop: &Stop) -> Result<(), Error> {
    let mut worker = Worker::new(number, epoll, shared, stop).map_err(Error::call("epoll"))?;
    let mut events = Vec::new();
    loop {
        worker.gather();
        let wait = worker.patience();
        worker.poller.wait(wait, &mut events).map_err(Error::call("epoll_wait"))?;
        worker.now = worker.clock();
        for (token, ready) in events.drain(..) {
            if token == Token::Stop {
                worker.cut();
                return Ok(());
            }
            worker.serve(token, ready);
        }
        worker.late();
    }
}

impl Worker {
    fn new(number: usize, epoll: OwnedFd, shared: Arc<Shared>, stop: &Stop) -> Result<Worker, Errno> {
        let poller = Poller::new(epoll);
        poller.add(stop.fd(), Token::Stop, Interest::Readable)?;
        if let Some(letters) = shared.boxes.get(number) {
            poller.add(letters.fd(), Token::Letters, Interest::Readable)?;
        }
        Ok(Worker {
            means: Means::new(shared.budget),
            number,
            shared,
            poller,
            listeners: Slab::new(),
            connections: Slab::new(),
            sessions: Slab::new(),
            peers: HashMap::new(),
            desk: Desk::new(),
            again: Vec::new(),
            now: 0,
            busy: false,
            began: Instant::now(),
            paused: None,
            draining: false,
        })
    }

    fn clock(&self) -> Due {
        Due::try_from(self.began.elapsed().as_millis()).unwrap_or(Due::MAX / 2)
    }

    /// Under a load of datagrams, lets them gather for a moment. A thread that slept on its clock costs less than one
    /// that each datagram wakes, above all where a processor that sleeps is woken by another one; and batches are larger.
    fn gather(&mut self) {
        if std::mem::take(&mut self.busy) && self.again.is_empty() {
            std::thread::sleep(MOMENT);
        }
    }

    /// How long there is nothing to do unless something happens.
    fn patience(&self) -> Option<Due> {
        if !self.again.is_empty() {
            return Some(0);
        }
        let next = self.connections.next().min(self.sessions.next()).min(self.paused.unwrap_or(Due::MAX));
        (next < Due::MAX).then(|| next.saturating_sub(self.clock()))
    }

    fn serve(&mut self, token: Token, ready: Ready) {
        match token {
            Token::Stop => {}
            Token::Letters => self.read_letters(),
            Token::Listener(id) => {
                let Some(listener) = self.listeners.get_mut(id).cloned() else { return };
                match listener.key.0 {
                    // Who has not been accepted yet is told of again.
                    Protocol::Tcp => drop(self.accept(&listener)),
                    Protocol::Udp => self.receive(id, &listener),
                }
            }
            Token::Client(id) => self.client_ready(id, ready),
            Token::Target(id, attempt) => self.target_ready(id, attempt, ready),
            Token::Session(id) => self.session_ready(id),
        }
    }

    /// What is to be done by the clock, and for those whose turn was over.
    fn late(&mut self) {
        for id in std::mem::take(&mut self.again) {
            self.pump(id);
        }
        for id in self.connections.over(self.now) {
            self.overdue(id);
        }
        for id in self.sessions.over(self.now) {
            self.session_overdue(id);
        }
        if self.paused.is_some_and(|until| until <= self.now) {
            self.resume();
        }
        if self.draining && self.connections.len() == 0 {
            ring(&self.shared.bell);
        }
    }

    fn read_letters(&mut self) {
        let letters = self.shared.boxes.get(self.number).map(|letters| letters.take());
        for letter in letters.unwrap_or_default() {
            match letter {
                Letter::Listen(listener) => {
                    let id = self.listeners.insert(Due::MAX, |_| listener);
                    self.watch_listener(id);
                }
                Letter::Leave(listener, told) => {
                    self.leave(&listener);
                    drop(listener);
                    // From here on the socket is closed, as far as this loop is concerned.
                    drop(told);
                }
                Letter::Connection(purpose, client, from, admitted) => {
                    self.begin(purpose, client, from, admitted);
                }
                Letter::Found(id, false, addresses) => self.found(id, &addresses),
                Letter::Found(id, true, addresses) => self.session_found(id, &addresses),
                Letter::Drain => self.drain(),
            }
        }
    }

    fn watch_listener(&mut self, id: Id) {
        let Some(listener) = self.listeners.get_mut(id) else { return };
        let interest = match listener.key.0 {
            Protocol::Tcp if self.paused.is_some() => return,
            Protocol::Tcp => Interest::Shared,
            Protocol::Udp => Interest::Readable,
        };
        // One that is watched already stays so.
        let _ = self.poller.add(&listener.socket, Token::Listener(id), interest);
    }

    /// Listens there no more. Who has come before is served.
    fn leave(&mut self, listener: &Arc<Listener>) {
        let same = |worker: &mut Worker, id: &Id| {
            worker.listeners.get_mut(*id).is_some_and(|known| Arc::ptr_eq(known, listener))
        };
        let Some(id) = self.listeners.ids().into_iter().find(|id| same(self, id)) else { return };
        match listener.key.0 {
            Protocol::Tcp => while self.accept(listener) {},
            Protocol::Udp => {
                self.receive(id, listener);
                self.end_sessions_of(id);
            }
        }
        self.poller.remove(&listener.socket);
        self.listeners.remove(id);
    }

    /// Ends what is open, so that nobody takes it for a good end.
    fn cut(&mut self) {
        for id in self.connections.ids() {
            self.end(id, Reason::Drained);
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        for id in self.listeners.ids() {
            if let Some(listener) = self.listeners.get_mut(id).cloned() {
                self.leave(&listener);
            }
        }
        self.limit_connections();
    }

    /// Accepts nothing for a moment; whoever connects waits in the kernel's queue.
    pub(super) fn pause(&mut self) {
        self.tell_lack();
        if self.paused.replace(self.now + PAUSE).is_some() {
            return;
        }
        self.shared.pausing.fetch_add(1, Relaxed);
        for id in self.listeners.ids() {
            if let Some(listener) = self.listeners.get_mut(id)
                && listener.key.0 == Protocol::Tcp
            {
                self.poller.remove(&listener.socket);
            }
        }
    }

    fn resume(&mut self) {
        if self.shared.budget.is_spent(&self.shared.bell) {
            self.paused = Some(self.now + PAUSE);
            return;
        }
        self.paused = None;
        self.shared.pausing.fetch_sub(1, Relaxed);
        for id in self.listeners.ids() {
            self.watch_listener(id);
        }
    }

    /// Tells a person once that descriptors have run out.
    pub(super) fn tell_lack(&self) {
        if !self.shared.lacking.swap(true, Relaxed) {
            let mut alerts = self.shared.alerts.lock().unwrap_or_else(PoisonError::into_inner);
            alerts.push(Alert::NoDescriptors);
            drop(alerts);
            ring(&self.shared.bell);
        }
    }

    /// The loop that has clearly fewer connections than this one, where there is one.
    pub(super) fn freer(&self) -> Option<usize> {
        let loads = self.shared.loads.iter().map(|load| load.load(Relaxed));
        let (other, least) = loads.enumerate().min_by_key(|(_, load)| *load)?;
        let own = self.connections.len();
        (other != self.number && own > least + own / 8).then_some(other)
    }
}
