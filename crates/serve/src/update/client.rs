//! The end that tells its endpoint: one thread for one bridge.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags};
use serde::Serialize;
use straddle_announce::{
    self as announce, BridgeId, Key, LENGTH, Now, Print, Reason, Run, Timing, is_suitable,
};

use super::socket::connected;
use super::tally::{Counts, Tally};
use crate::Error;
use crate::bell::Bell;
use crate::loops::Loops;
use crate::random::random;
use crate::stop::Stop;
use crate::wait::wait;

/// Messages that are taken before anything else is looked at again.
const BATCH: usize = 64;
/// As many sent without an answer are one lost no more.
const SILENCE: u32 = 3;

/// What the server is to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Told {
    /// The carrier's address at this end.
    pub endpoint: IpAddr,
    /// The host's address that updates are sent from: the same one, except behind a NAT.
    pub source: IpAddr,
}

impl From<IpAddr> for Told {
    fn from(endpoint: IpAddr) -> Told {
        Told { endpoint, source: endpoint }
    }
}

/// How things are at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct State {
    /// What the server is told.
    pub endpoint: Option<IpAddr>,
    /// Unix time in seconds when it last acknowledged that.
    pub acknowledged_at: Option<u64>,
    /// What is in the way, in words; none once the server acknowledges.
    pub trouble: Option<String>,
}

/// Tells a server where this end of a bridge is; ends when it is dropped.
pub struct Client {
    shared: Arc<Shared>,
    loops: Loops,
}

struct Shared {
    /// What is wished for; the thread is woken by `order`.
    wish: Mutex<Option<Told>>,
    order: Bell,
    /// What the thread tells; its owner is woken by `news`.
    state: Mutex<State>,
    news: Bell,
    tally: Tally,
}

impl Client {
    /// Begins with nothing to tell. `bridge` is the name that the server knows the bridge by too.
    ///
    /// # Errors
    /// The kernel refuses threads, descriptors or random bytes.
    pub fn begin(bridge: &str, key: Key, server: SocketAddr, timing: Timing) -> Result<Client, Error> {
        let shared = Arc::new(Shared {
            wish: Mutex::new(None),
            order: Bell::new()?,
            state: Mutex::new(State::default()),
            news: Bell::new()?,
            tally: Tally::new(),
        });
        let mut teller = Teller {
            shared: shared.clone(),
            print: key.print(),
            client: announce::Client::new(BridgeId::of(bridge), key, Run(random()?), timing),
            server,
            began: Instant::now(),
            told: None,
            socket: None,
            unanswered: 0,
            state: State::default(),
        };
        let mut loops = Loops::new("endpoint")?;
        loops.begin(move |stop| teller.run(stop))?;
        Ok(Client { shared, loops })
    }

    /// From now on this is told, or nothing. The same as before changes nothing.
    pub fn tell(&self, told: Option<Told>) {
        *self.shared.wish.lock().unwrap_or_else(PoisonError::into_inner) = told;
        self.shared.order.ring();
    }

    /// Can be read from when the state has changed since it was last asked for, other than in time.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.shared.news.fd()
    }

    /// How things are.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.news.hush();
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Can be read from once it has ended by itself.
    #[must_use]
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.loops.ended()
    }

    /// What became of the server's messages.
    #[must_use]
    pub fn messages(&self) -> Counts {
        self.shared.tally.counts()
    }
}

/// What the thread has.
struct Teller {
    shared: Arc<Shared>,
    /// What the key is told apart by.
    print: Print,
    client: announce::Client,
    server: SocketAddr,
    began: Instant,
    told: Option<Told>,
    /// From `told`'s source; opened when there is something to send, closed on any error.
    socket: Option<UdpSocket>,
    /// Messages sent since the server's last answer.
    unanswered: u32,
    state: State,
}

impl Teller {
    fn run(&mut self, stop: &Stop) -> Result<(), Error> {
        loop {
            self.take_wish();
            self.send();
            self.publish();
            let until = self.client.due().and_then(|due| self.began.checked_add(due));
            let fds =
                [Some(stop.fd()), Some(self.shared.order.fd()), self.socket.as_ref().map(|it| it.as_fd())];
            let fds = fds.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            let mut fds: Vec<_> = fds.collect();
            wait(&mut fds, until)?;
            if fds.first().is_some_and(|stop| !stop.revents().is_empty()) {
                return Ok(());
            }
            self.receive();
        }
    }

    fn take_wish(&mut self) {
        self.shared.order.hush();
        let wish = *self.shared.wish.lock().unwrap_or_else(PoisonError::into_inner);
        if wish == self.told {
            return;
        }
        let source = |told: Option<Told>| told.map(|told| told.source);
        if source(wish) != source(self.told) {
            self.socket = None;
        }
        self.told = wish;
        let endpoint = wish.map(|told| told.endpoint);
        let suitable = endpoint.filter(|endpoint| is_suitable(*endpoint));
        let trouble = endpoint.filter(|_| suitable.is_none());
        let trouble = trouble.map(|endpoint| format!("{endpoint} can't be the endpoint of a carrier"));
        self.state = State { endpoint, acknowledged_at: None, trouble };
        self.client.announce(suitable, self.now());
    }

    /// Sends what is due. What fails is due again later, as what is lost on the way is.
    fn send(&mut self) {
        let Some(datagram) = self.client.send(self.now()) else { return };
        let Some(told) = self.told else { return };
        let socket = match self.socket.take().map_or_else(|| connected(told.source, self.server), Ok) {
            Ok(socket) => socket,
            Err(error) => {
                return self.fails(&format!("no updates can be sent from {}: {error}", told.source));
            }
        };
        if self.unanswered >= SILENCE {
            self.fails(&silent(self.server, self.print));
        }
        match socket.send(&datagram) {
            Ok(_) => {
                self.socket = Some(socket);
                self.unanswered = self.unanswered.saturating_add(1);
            }
            Err(error) => self.fails(&format!("no update reaches {}: {error}", self.server)),
        }
    }

    /// Takes what has arrived, a batch at most.
    fn receive(&mut self) {
        let mut room = [0; LENGTH + 1];
        for _ in 0..BATCH {
            let Some(socket) = &self.socket else { return };
            match socket.recv(&mut room) {
                Ok(length) => {
                    let reason = self.client.receive(room.get(..length).unwrap_or_default(), self.now());
                    self.shared.tally.ended(reason);
                    if matches!(reason, Reason::Acknowledged | Reason::Refused | Reason::Challenged) {
                        self.unanswered = 0;
                    }
                    if reason == Reason::Refused {
                        self.state.acknowledged_at = None;
                        self.fails(&taken(self.server, self.state.endpoint));
                    }
                    if reason == Reason::Acknowledged {
                        self.state.acknowledged_at = Some(self.now().unix.as_secs());
                        self.state.trouble = None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // An ICMP error, for one: nobody listens there.
                Err(error) => {
                    self.socket = None;
                    self.unanswered = 0;
                    self.fails(&format!("no update reaches {}: {error}", self.server));
                }
            }
        }
    }

    fn fails(&mut self, trouble: &str) {
        self.state.trouble = Some(trouble.into());
    }

    /// Tells the owner; wakes it unless only the time of the acknowledgement is another.
    fn publish(&self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let timeless =
            |state: &State| (state.endpoint, state.acknowledged_at.is_some(), state.trouble.clone());
        let news = timeless(&state) != timeless(&self.state);
        state.clone_from(&self.state);
        drop(state);
        if news {
            self.shared.news.ring();
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { elapsed: self.began.elapsed(), unix }
    }
}

/// What a refusal means.
fn taken(server: SocketAddr, endpoint: Option<IpAddr>) -> String {
    let endpoint = endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default();
    format!(
        "{server} does not take {endpoint} for this bridge: another one ends there. Two clients behind one public address \
         are one to the server; if this host has the address alone, and the updates leave from it, the other gives way"
    )
}

/// Whoever has the wrong key gets no answer, so that nobody learns which bridges there are: both look alike from here.
fn silent(server: SocketAddr, print: Print) -> String {
    format!(
        "{server} does not answer. Either it is not reached: is `straddle run` up there, and UDP port {} let in? Or it \
         does not know this end: `straddle status` there counts it as `forged` where the key is another, and as \
         `unknown-bridge` where the bridge has another name. This end's key shows as {print}, and so must the other's",
        server.port()
    )
}
