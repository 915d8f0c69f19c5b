//! The whole search, on a thread of its own.

use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use straddle_xlat::rfc6052::Prefix;

use super::dns64::Answer;
use super::errand::Errand;
use super::{Choice, Discovered, Listener, Source, dns64, fastest, resolv};
use crate::Error;

/// How long resolvers are waited for, and connections.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long until a device that there was not is looked for again.
const LATER: Duration = Duration::from_secs(5);
/// How often it is looked whether the device is still the same one: its end ends no socket.
const LOOK: Duration = Duration::from_secs(30);

/// What is looked for, and where.
#[derive(Clone, Debug)]
pub struct Search {
    /// The uplink: its link's routers are heard, and connections are tried through it.
    pub uplink: String,
    /// The resolvers to be asked; where there are none, those of the host, read anew for each question.
    pub resolvers: Vec<SocketAddr>,
    /// The service that is tried through each of several prefixes; where there is none, the first stays.
    pub target: Option<SocketAddrV4>,
}

/// How things are: what is told to the outside whenever it changes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct State {
    /// What the network offers.
    pub found: Option<Discovered>,
    /// Why nothing new was found out when last asked, a sentence for each that was asked.
    pub troubles: Vec<String>,
}

impl Search {
    /// Searches until `stop` can be read. `tell` hears every change; a prefix that is only told again for longer is
    /// one too. Routers are heard while resolvers are asked and connections tried.
    ///
    /// # Errors
    /// Waiting fails.
    pub fn run(&self, stop: BorrowedFd<'_>, mut tell: impl FnMut(&State)) -> Result<(), Error> {
        let mut choice = Choice::new(Instant::now(), self.target.is_some());
        let mut ear = Ear { listener: None, trouble: None, next: Instant::now() };
        let mut errand = None;
        let mut told = State::default();
        loop {
            ear.listen(&self.uplink, &mut choice);
            errand = self.find_out(errand, &mut ear, &mut choice);
            let state = self.state(&ear, &mut choice);
            if state != told {
                tell(&state);
                told = state;
            }
            let now = Instant::now();
            let due = if errand.is_some() { choice.ends() } else { Some(choice.next(now)) };
            let until = ear.next().into_iter().chain(due).fold(now + LOOK, Instant::min);
            let errand = errand.as_ref().map(|(_, errand)| errand.fd());
            let fds = ear.listener.as_ref().map(Listener::fd).into_iter().chain(errand);
            if wait(fds, stop, until)? {
                return Ok(());
            }
        }
    }

    /// Asks and measures, where it is time to, one after the other; takes in what was brought.
    fn find_out(&self, under_way: Option<Sent>, ear: &mut Ear, choice: &mut Choice) -> Option<Sent> {
        let now = Instant::now();
        if let Some((what, errand)) = under_way {
            match errand.brought(|| what.nothing()) {
                Some(brought) => brought.told(choice, now),
                // What a router told meanwhile need not be asked for any more.
                None if what == What::Ask && !choice.is_to_ask(now) => {}
                None => return Some((what, errand)),
            }
        }
        let what = self.due(now, choice)?;
        if what == What::Ask {
            ask_routers(now, ear, choice);
        }
        let (search, errand) = (self.clone(), what.clone());
        match Errand::begin(move || search.bring(&errand)) {
            Ok(errand) => Some((what, errand)),
            Err(_) => {
                // Without room for a thread, it is as if nobody had answered.
                what.nothing().told(choice, now);
                None
            }
        }
    }

    /// What it is time to find out.
    fn due(&self, now: Instant, choice: &Choice) -> Option<What> {
        if choice.is_to_ask(now) {
            return Some(What::Ask);
        }
        let several = choice.to_measure(now);
        self.target.filter(|_| !several.is_empty()).map(|target| What::Measure(several, target))
    }

    /// Takes seconds.
    fn bring(&self, what: &What) -> Brought {
        match what {
            What::Ask if self.resolvers.is_empty() => {
                Brought::Answers(dns64::ask(&resolv::of_this_host(), PATIENCE))
            }
            What::Ask => Brought::Answers(dns64::ask(&self.resolvers, PATIENCE)),
            What::Measure(several, target) => {
                Brought::Times(fastest(several, *target, Some(&self.uplink), PATIENCE))
            }
        }
    }

    fn state(&self, ear: &Ear, choice: &mut Choice) -> State {
        let found = choice.present(Instant::now());
        let resolvers =
            choice.failures().iter().map(|(resolver, why)| format!("the resolver {} {why}", resolver.ip()));
        let ears = ear.trouble.iter().map(|why| format!("routers on {}: {why}", self.uplink));
        State { found, troubles: ears.chain(resolvers).collect() }
    }
}

/// What is being found out.
type Sent = (What, Errand<Brought>);

#[derive(Clone, PartialEq, Eq)]
enum What {
    Ask,
    /// How fast a connection opens through each of these.
    Measure(Vec<Prefix>, SocketAddrV4),
}

impl What {
    /// What it comes to where nobody answers.
    fn nothing(&self) -> Brought {
        match self {
            What::Ask => Brought::Answers(Vec::new()),
            What::Measure(several, _) => {
                Brought::Times(several.iter().map(|prefix| (*prefix, None)).collect())
            }
        }
    }
}

enum Brought {
    Answers(Vec<Answer>),
    Times(Vec<(Prefix, Option<Duration>)>),
}

impl Brought {
    fn told(self, choice: &mut Choice, now: Instant) {
        match self {
            Brought::Answers(answers) => choice.answered(now, answers),
            Brought::Times(times) => choice.measured(now, times),
        }
    }
}

/// Where routers told nothing, they are asked at the pace of RFC 7559 anyway.
fn ask_routers(now: Instant, ear: &mut Ear, choice: &mut Choice) {
    let from_router = |found: Discovered| found.source == Source::Advertisement;
    if let Some(listener) = &mut ear.listener
        && choice.present(now).is_some_and(from_router)
    {
        listener.again(now);
        listener.solicit(now);
    }
}

/// What hears the routers, if the device is there.
struct Ear {
    listener: Option<Listener>,
    trouble: Option<String>,
    next: Instant,
}

impl Ear {
    /// Hands on what was heard and asks when it is time. A device that has come is a change of the network.
    fn listen(&mut self, uplink: &str, choice: &mut Choice) {
        let now = Instant::now();
        self.listener.take_if(|listener| !listener.is_on(uplink));
        if self.listener.is_none() && self.next <= now {
            match Listener::open(uplink, now) {
                Ok(listener) => {
                    if self.trouble.take().is_some() {
                        choice.moved(now);
                    }
                    self.listener = Some(listener);
                }
                Err(error) => self.give_up(now, &error),
            }
        }
        let Some(listener) = &mut self.listener else { return };
        listener.solicit(now);
        match listener.read() {
            Ok(heard) => {
                heard.iter().for_each(|heard| choice.advertised(now, heard.router, &heard.offers));
            }
            Err(error) => self.give_up(now, &error),
        }
    }

    fn give_up(&mut self, now: Instant, error: &Error) {
        self.listener = None;
        self.trouble = Some(error.to_string());
        self.next = now + LATER;
    }

    fn next(&self) -> Option<Instant> {
        self.listener.as_ref().map_or(Some(self.next), Listener::due)
    }
}

/// Waits for one of these or a time; true when the search shall end.
fn wait<'a>(
    heard: impl Iterator<Item = BorrowedFd<'a>>,
    stop: BorrowedFd<'a>,
    until: Instant,
) -> Result<bool, Error> {
    let fds = [stop].into_iter().chain(heard);
    let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(fds.first().is_some_and(|stop| !stop.revents().is_empty())),
        Err(errno) => Err(Error::call("poll")(errno)),
    }
}
