//! Which prefix is used, out of all that were told, and when to ask again. It is told the time.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use straddle_xlat::rfc6052::Prefix;

use super::dns64::{Answer, Failure};
use super::pref64::Pref64;
use super::{Discovered, Source};

/// How long a router is waited for before a DNS64 is asked: more than the half second after which it answers
/// a solicitation at the latest (RFC 4861 §6.2.6).
const HEAD_START: Duration = Duration::from_secs(1);
/// How long before a prefix ends it is asked for again (RFC 7050 §3).
const EARLY: Duration = Duration::from_secs(10);
/// The least time between two questions after one that told a prefix.
const PAUSE: Duration = Duration::from_secs(20);
/// A DNS64 is asked this often, however long its answer may be kept: a prefix that changes before is seen.
const OFTEN: Duration = Duration::from_secs(3600);
/// The least and the most time that an answer is kept.
const KEPT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(86_400));
/// The pauses after questions that told nothing: they double from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// How long it counts how fast a connection opens through a prefix.
const MEASURED: Duration = Duration::from_secs(600);
/// The prefixes kept from routers, and from resolvers: more than any network has.
const MOST: usize = 16;

/// All that was told, and what follows from it.
#[derive(Debug)]
pub struct Choice {
    offers: Vec<Offer>,
    chosen: Option<Prefix>,
    /// Whether it was chosen before it was measured, and others could have been.
    provisional: bool,
    times: Vec<(Prefix, Option<Duration>)>,
    measured: Option<Instant>,
    measures: bool,
    ask: Instant,
    asked: Option<Instant>,
    failed: u32,
    failures: Vec<(SocketAddr, Failure)>,
}

/// A prefix and who told it.
#[derive(Clone, Copy, Debug)]
struct Offer {
    by: Teller,
    prefix: Prefix,
    until: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Teller {
    Router(Ipv6Addr),
    Resolver(SocketAddr),
}

impl Teller {
    fn source(self) -> Source {
        match self {
            Teller::Router(_) => Source::Advertisement,
            Teller::Resolver(_) => Source::Dns64,
        }
    }
}

impl Choice {
    /// Nothing was told. `measures`: of several prefixes, it shall be measured which is the nearest.
    #[must_use]
    pub fn new(now: Instant, measures: bool) -> Choice {
        Choice {
            offers: Vec::new(),
            chosen: None,
            provisional: false,
            times: Vec::new(),
            measured: None,
            measures,
            ask: now + HEAD_START,
            asked: None,
            failed: 0,
            failures: Vec::new(),
        }
    }

    /// A router has advertised. A prefix with a lifetime of zero is no more offered by that router; one that is
    /// not mentioned still is, since options may be spread over advertisements (RFC 4861 §6.2.3).
    pub fn advertised(&mut self, now: Instant, router: Ipv6Addr, offers: &[Pref64]) {
        let by = Teller::Router(router);
        for offer in offers {
            self.offer(Offer { by, prefix: offer.prefix, until: now + offer.lifetime });
        }
        self.settle(now);
        if self.best() == Some(Source::Advertisement) {
            self.failed = 0;
            self.failures.clear();
        }
        // A network whose router has answered without a prefix may have a DNS64.
        let waits = self.asked.is_none() && self.best().is_none();
        self.ask = if waits { now } else { self.next_question(now) };
    }

    /// The resolvers were asked. What one told before is forgotten if it answers with prefixes; else it is kept for
    /// as long as it was to be.
    pub fn answered(&mut self, now: Instant, answers: Vec<Answer>) {
        self.asked = Some(now);
        self.failures.clear();
        let mut told = false;
        for answer in answers {
            let by = Teller::Resolver(answer.resolver);
            match answer.outcome {
                Ok(prefixes) => {
                    told = true;
                    self.offers.retain(|offer| offer.by != by);
                    for (prefix, ttl) in prefixes {
                        self.offer(Offer { by, prefix, until: now + ttl.clamp(KEPT.0, KEPT.1) });
                    }
                }
                Err(failure) => self.failures.push((answer.resolver, failure)),
            }
        }
        self.failed = if told { 0 } else { self.failed.saturating_add(1) };
        self.settle(now);
        self.ask = self.next_question(now);
    }

    /// The network has changed, as when a device came up: what was told is asked for anew.
    pub fn moved(&mut self, now: Instant) {
        self.failed = 0;
        self.ask = self.asked.map_or(now, |asked| now.max(asked + RETRY.0));
        self.measured = None;
    }

    /// How fast a connection opens through each of [`Choice::to_measure`].
    pub fn measured(&mut self, now: Instant, times: Vec<(Prefix, Option<Duration>)>) {
        self.times = times;
        self.measured = Some(now);
        if self.provisional {
            self.chosen = None;
        }
        self.settle(now);
    }

    /// The prefixes that are to be measured at present; none where there is nothing to choose from.
    #[must_use]
    pub fn to_measure(&self, now: Instant) -> Vec<Prefix> {
        let offered = self.offered(now);
        if self.measures && offered.len() > 1 && self.measures_at(&offered).is_none_or(|at| at <= now) {
            offered
        } else {
            Vec::new()
        }
    }

    /// What the network offers.
    #[must_use]
    pub fn present(&mut self, now: Instant) -> Option<Discovered> {
        self.settle(now);
        let (source, first) = (self.best()?, self.chosen?);
        let mut prefixes = vec![first];
        let mut others = self.offered(now);
        others.sort_by_key(|prefix| self.rank(*prefix));
        others.extend(self.offers.iter().map(|offer| offer.prefix));
        for prefix in others {
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
        Some(Discovered { prefixes, source, expires: self.expires(first, source)?, kept: self.failed > 0 })
    }

    /// Whether routers and resolvers are to be asked.
    #[must_use]
    pub fn is_to_ask(&self, now: Instant) -> bool {
        self.ask <= now
    }

    /// When there is something to do at the latest: to ask, to measure, or since a prefix has ended.
    #[must_use]
    pub fn next(&self, now: Instant) -> Instant {
        let offered = self.offered(now);
        let measure = (self.measures && offered.len() > 1).then(|| self.measures_at(&offered).unwrap_or(now));
        self.ends().into_iter().chain(measure).fold(self.ask, Instant::min)
    }

    /// When the first of the prefixes that were told ends.
    #[must_use]
    pub fn ends(&self) -> Option<Instant> {
        self.offers.iter().map(|offer| offer.until).min()
    }

    /// Why each of the resolvers that were asked last told nothing.
    #[must_use]
    pub fn failures(&self) -> &[(SocketAddr, Failure)] {
        &self.failures
    }

    /// Takes an offer in, in the place of the same teller's former one.
    fn offer(&mut self, offer: Offer) {
        let same = self.offers.iter().filter(|other| other.by.source() == offer.by.source());
        let room = same.count() < MOST;
        match self.offers.iter_mut().find(|known| known.by == offer.by && known.prefix == offer.prefix) {
            Some(known) => known.until = offer.until,
            None if room => self.offers.push(offer),
            None => {}
        }
    }

    /// Lets go what has ended and chooses: what was chosen stays as long as it is offered, unless no connection
    /// opens through it while one does through another.
    fn settle(&mut self, now: Instant) {
        self.offers.retain(|offer| offer.until > now);
        let offered = self.offered(now);
        let least = offered.iter().map(|prefix| self.grade(*prefix)).min();
        let stays = |prefix: &Prefix| offered.contains(prefix) && Some(self.grade(*prefix)) == least;
        if !self.chosen.as_ref().is_some_and(stays) {
            self.chosen = offered.iter().min_by_key(|prefix| self.rank(**prefix)).copied();
            self.provisional = self.measures && offered.len() > 1 && least == Some(Grade::Unknown);
        }
    }

    /// The prefixes of the best source, each once, in the order in which they were told.
    fn offered(&self, now: Instant) -> Vec<Prefix> {
        let live = self.offers.iter().filter(|offer| offer.until > now);
        let best = live.clone().map(|offer| offer.by.source()).min();
        let mut offered = Vec::new();
        for offer in live.filter(|offer| Some(offer.by.source()) == best) {
            if !offered.contains(&offer.prefix) {
                offered.push(offer.prefix);
            }
        }
        offered
    }

    /// The best source that offers anything.
    fn best(&self) -> Option<Source> {
        self.offers.iter().map(|offer| offer.by.source()).min()
    }

    /// When a prefix ends.
    fn expires(&self, prefix: Prefix, source: Source) -> Option<Instant> {
        let same = self.offers.iter().filter(|offer| offer.prefix == prefix && offer.by.source() == source);
        same.map(|offer| offer.until).max()
    }

    /// When the time has come to measure these; none if one of them never was.
    fn measures_at(&self, offered: &[Prefix]) -> Option<Instant> {
        let known = |prefix: &Prefix| self.times.iter().any(|(measured, _)| measured == prefix);
        self.measured.filter(|_| offered.iter().all(known)).map(|measured| measured + MEASURED)
    }

    fn grade(&self, prefix: Prefix) -> Grade {
        self.rank(prefix).0
    }

    fn rank(&self, prefix: Prefix) -> (Grade, Duration) {
        match self.times.iter().find(|(measured, _)| *measured == prefix) {
            Some((_, Some(took))) => (Grade::Opens, *took),
            Some((_, None)) => (Grade::Fails, Duration::ZERO),
            None => (Grade::Unknown, Duration::ZERO),
        }
    }

    /// When to ask next, as things are.
    fn next_question(&self, now: Instant) -> Instant {
        let renewal =
            self.best().zip(self.chosen).filter(|_| self.failed == 0).and_then(|(source, chosen)| {
                let before = self.expires(chosen, source)?.checked_sub(EARLY)?;
                let often = self.asked.filter(|_| source == Source::Dns64).map(|asked| asked + OFTEN);
                Some(often.map_or(before, |often| often.min(before)))
            });
        let pause = match self.failed {
            0 => PAUSE,
            failed => RETRY.0.saturating_mul(1 << (failed - 1).min(16)).min(RETRY.1),
        };
        let soonest = self.asked.map(|asked| asked + pause);
        renewal.unwrap_or(now).max(soonest.unwrap_or(now))
    }
}

/// What is known of a prefix by measurement; the least is the best.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Grade {
    /// A connection opens.
    Opens,
    /// It was not measured.
    Unknown,
    /// None opens.
    Fails,
}

#[cfg(test)]
mod tests;
