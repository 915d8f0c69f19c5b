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
mod tests {
    use super::*;

    /// Prefixes, each with how long it may be kept.
    type Told<'a> = &'a [(char, u64)];

    /// What happens, with prefixes and tellers as letters and times in seconds.
    enum Event<'a> {
        /// A router advertises prefixes with lifetimes.
        Router(u16, Told<'a>),
        /// Resolvers answer with prefixes and TTLs, or fail.
        Asked(&'a [(u16, Option<Told<'a>>)]),
        /// Connections open, after milliseconds.
        Measured(&'a [(char, Option<u64>)]),
        Moved,
    }
    use Event::{Asked, Measured, Moved, Router};

    fn prefix(letter: char) -> Prefix {
        let digit = u16::try_from(letter.to_digit(36).unwrap()).unwrap();
        let address = Ipv6Addr::new(0x2001, 0xdb8, digit, 0, 0, 0, 0, 0);
        Prefix::around(address, 96).unwrap()
    }

    fn letter(prefix: Prefix) -> char {
        char::from_digit(prefix.net().addr().segments()[2].into(), 36).unwrap()
    }

    fn happen(choice: &mut Choice, now: Instant, event: &Event<'_>) {
        let seconds = Duration::from_secs;
        match event {
            Router(number, offers) => {
                let offer = |(letter, lifetime): &(char, u64)| Pref64 {
                    prefix: prefix(*letter),
                    lifetime: seconds(*lifetime),
                };
                let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, *number);
                choice.advertised(now, router, &offers.iter().map(offer).collect::<Vec<_>>());
            }
            Asked(answers) => {
                let told = |told: &Told<'_>| {
                    told.iter().map(|(letter, ttl)| (prefix(*letter), seconds(*ttl))).collect()
                };
                let answer = |(port, told_by): &(u16, Option<Told<'_>>)| Answer {
                    resolver: (Ipv6Addr::LOCALHOST, *port).into(),
                    outcome: told_by.as_ref().map(told).ok_or(Failure::Timeout),
                };
                choice.answered(now, answers.iter().map(answer).collect());
            }
            Measured(times) => {
                let time =
                    |(letter, took): &(char, Option<u64>)| (prefix(*letter), took.map(Duration::from_millis));
                choice.measured(now, times.iter().map(time).collect());
            }
            Moved => choice.moved(now),
        }
    }

    /// `PREFIXES SOURCE until SECONDS[, kept]; ask SECONDS[; measure PREFIXES]`, or `nothing` for the first part.
    fn picture(choice: &mut Choice, begin: Instant, now: Instant) -> String {
        let seconds = |at: Instant| (at - begin).as_secs();
        let found = choice.present(now).map_or("nothing".into(), |found| {
            let letters: String = found.prefixes.into_iter().map(letter).collect();
            let source = match found.source {
                Source::Advertisement => "RA",
                Source::Dns64 => "DNS",
            };
            let kept = if found.kept { ", kept" } else { "" };
            format!("{letters} {source} until {}{kept}", seconds(found.expires))
        });
        let measure: String = choice.to_measure(now).into_iter().map(letter).collect();
        let measure = if measure.is_empty() { measure } else { format!("; measure {measure}") };
        format!("{found}; ask {}{measure}", seconds(choice.ask))
    }

    /// Lets all happen, each at its second, and looks at the end.
    fn tell(measures: bool, story: &[(u64, Event<'_>)], end: u64) -> (Choice, String) {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut choice = Choice::new(begin, measures);
        for (second, event) in story {
            happen(&mut choice, at(*second), event);
        }
        let picture = picture(&mut choice, begin, at(end));
        (choice, picture)
    }

    fn check(story: &[(u64, Event<'_>)], end: u64, expected: &str) {
        assert_eq!(tell(false, story, end).1, expected);
    }

    #[test]
    fn routers() {
        check(&[], 0, "nothing; ask 1");
        check(&[(0, Router(1, &[('a', 1800)]))], 0, "a RA until 1800; ask 1790");
        check(&[(0, Router(1, &[('a', 1800)]))], 1799, "a RA until 1800; ask 1790");
        check(&[(0, Router(1, &[('a', 1800)]))], 1800, "nothing; ask 1790");
        // A router without a prefix: no need to wait for another.
        check(&[(0, Router(1, &[]))], 0, "nothing; ask 0");
        check(&[(0, Router(1, &[('a', 1800)])), (600, Router(1, &[]))], 600, "a RA until 1800; ask 1790");
        check(
            &[(0, Router(1, &[('a', 1800)])), (600, Router(1, &[('a', 1800)]))],
            600,
            "a RA until 2400; ask 2390",
        );
        // A lifetime may become shorter, and zero takes back at once.
        check(&[(0, Router(1, &[('a', 1800)])), (5, Router(1, &[('a', 80)]))], 5, "a RA until 85; ask 75");
        check(&[(0, Router(1, &[('a', 1800)])), (5, Router(1, &[('a', 0)]))], 5, "nothing; ask 5");
        check(&[(0, Router(1, &[('a', 0)]))], 0, "nothing; ask 0");
        // What one router takes back another may still offer.
        let both =
            [(0, Router(1, &[('a', 900)])), (0, Router(2, &[('a', 1800)])), (5, Router(2, &[('a', 0)]))];
        check(&both, 5, "a RA until 900; ask 890");
        // Several: the first stays while it is offered, the others stand behind it.
        check(&[(0, Router(1, &[('a', 600), ('b', 600)]))], 0, "ab RA until 600; ask 590");
        check(&[(0, Router(1, &[('b', 600)])), (5, Router(2, &[('a', 600)]))], 5, "ba RA until 600; ask 590");
        check(&[(0, Router(1, &[('b', 60)])), (5, Router(2, &[('a', 600)]))], 60, "a RA until 605; ask 50");
        let renumbered = [(0, Router(1, &[('a', 600)])), (5, Router(1, &[('a', 0), ('b', 600)]))];
        check(&renumbered, 5, "b RA until 605; ask 595");
        // A lifetime shorter than what we ask ahead.
        check(&[(100, Router(1, &[('a', 8)]))], 100, "a RA until 108; ask 100");
    }

    #[test]
    fn resolvers() {
        check(&[(1, Asked(&[(1, Some(&[('a', 300)]))]))], 1, "a DNS until 301; ask 291");
        check(&[(1, Asked(&[(1, Some(&[('a', 300)]))]))], 301, "nothing; ask 291");
        // TTLs that are very short or very long.
        check(&[(0, Asked(&[(1, Some(&[('a', 0)]))]))], 0, "a DNS until 30; ask 20");
        check(&[(0, Asked(&[(1, Some(&[('a', 25)]))]))], 0, "a DNS until 30; ask 20");
        check(&[(0, Asked(&[(1, Some(&[('a', 7200)]))]))], 0, "a DNS until 7200; ask 3600");
        check(&[(0, Asked(&[(1, Some(&[('a', 2_147_483_647)]))]))], 0, "a DNS until 86400; ask 3600");
        // Answers of several resolvers.
        let two: &[_] = &[(1, Some(&[('a', 300)][..])), (2, Some(&[('b', 600)]))];
        check(&[(0, Asked(two))], 0, "ab DNS until 300; ask 290");
        check(&[(0, Asked(two))], 300, "b DNS until 600; ask 290");
        check(&[(0, Asked(&[(1, None), (2, Some(&[('b', 600)]))]))], 0, "b DNS until 600; ask 590");
        // A new answer takes the place of the same resolver's former one.
        let told = (0, Asked(&[(1, Some(&[('a', 900), ('b', 900)]))]));
        check(&[told, (5, Asked(&[(1, Some(&[('b', 900)]))]))], 5, "b DNS until 905; ask 895");
        let told = (0, Asked(&[(1, Some(&[('a', 900)]))]));
        check(&[told, (5, Asked(&[(1, Some(&[('b', 900), ('a', 900)]))]))], 5, "ab DNS until 905; ask 895");
    }

    #[test]
    fn failures() {
        let failed: &[_] = &[(1, None), (2, None)];
        let told = || (0, Asked(&[(1, Some(&[('a', 300)]))]));
        check(&[(1, Asked(failed))], 1, "nothing; ask 3");
        check(&[(1, Asked(&[]))], 1, "nothing; ask 3");
        check(&[(1, Asked(failed)), (3, Asked(failed))], 3, "nothing; ask 7");
        check(&[(1, Asked(failed)), (3, Asked(failed)), (7, Asked(failed))], 7, "nothing; ask 15");
        let many: Vec<_> = (0..40).map(|time| (time, Asked(failed))).collect();
        check(&many, 39, "nothing; ask 339");
        // What was known is kept until its end, and no longer.
        check(&[told(), (290, Asked(failed))], 290, "a DNS until 300, kept; ask 292");
        check(&[told(), (290, Asked(failed)), (292, Asked(failed))], 299, "a DNS until 300, kept; ask 296");
        check(&[told(), (290, Asked(failed)), (292, Asked(failed))], 300, "nothing; ask 296");
        // It is told again.
        let again = [told(), (290, Asked(failed)), (292, Asked(&[(1, Some(&[('a', 300)]))]))];
        check(&again, 292, "a DNS until 592; ask 582");
        // Another resolver answers: what the one that fails had told goes on to its end.
        let other = [told(), (290, Asked(&[(1, None), (2, Some(&[('b', 300)]))]))];
        check(&other, 290, "ab DNS until 300; ask 310");
        check(&other, 300, "b DNS until 590; ask 310");
        let (choice, _) = tell(false, &other, 290);
        assert!(matches!(choice.failures(), [(resolver, Failure::Timeout)] if resolver.port() == 1));
        let (choice, _) = tell(false, &again, 292);
        assert!(choice.failures().is_empty());
    }

    #[test]
    fn routers_before_resolvers() {
        let told = || (0, Asked(&[(1, Some(&[('a', 900)]))]));
        check(&[told(), (5, Router(1, &[('b', 600)]))], 5, "ba RA until 605; ask 595");
        check(&[told(), (5, Router(1, &[('b', 600)]))], 605, "a DNS until 900; ask 595");
        // The same prefix from both goes on in use; the router's time counts.
        check(&[told(), (5, Router(1, &[('a', 600)]))], 5, "a RA until 605; ask 595");
        check(&[told(), (5, Router(1, &[('b', 600), ('a', 600)]))], 5, "ab RA until 605; ask 595");
        check(&[told(), (5, Router(1, &[('a', 600)]))], 605, "a DNS until 900; ask 595");
        check(&[told(), (5, Router(1, &[]))], 5, "a DNS until 900; ask 890");
        // No router has renewed its prefix, and no resolver has one: until it ends. Then one does renew it.
        let late = || [(0, Router(1, &[('a', 600)])), (590, Asked(&[(1, None)]))];
        check(&late(), 590, "a RA until 600, kept; ask 592");
        let [first, second] = late();
        check(&[first, second, (591, Router(1, &[('a', 600)]))], 591, "a RA until 1191; ask 1181");
    }

    #[test]
    fn a_change_of_the_network() {
        let told = || (100, Asked(&[(1, Some(&[('a', 900)]))]));
        check(&[(0, Moved)], 0, "nothing; ask 0");
        check(&[told(), (101, Moved)], 101, "a DNS until 1000; ask 102");
        check(&[told(), (500, Moved)], 500, "a DNS until 1000; ask 500");
        check(&[(1, Asked(&[])), (3, Asked(&[])), (7, Asked(&[])), (8, Moved)], 8, "nothing; ask 9");
    }

    #[test]
    fn measurements() {
        let check = |story: &[(u64, Event<'_>)], end: u64, expected: &str| {
            assert_eq!(tell(true, story, end).1, expected);
        };
        let told = || (0, Asked(&[(1, Some(&[('a', 7200), ('b', 7200), ('c', 7200)]))]));
        check(&[(0, Asked(&[(1, Some(&[('a', 7200)]))]))], 0, "a DNS until 7200; ask 3600");
        check(&[told()], 0, "abc DNS until 7200; ask 3600; measure abc");
        let first = || (1, Measured(&[('b', Some(10)), ('c', Some(20)), ('a', Some(30))]));
        check(&[told(), first()], 1, "bca DNS until 7200; ask 3600");
        check(&[told(), first()], 600, "bca DNS until 7200; ask 3600");
        check(&[told(), first()], 601, "bca DNS until 7200; ask 3600; measure abc");
        // What works stays, though another is faster; what does not work goes.
        let slower = (601, Measured(&[('a', Some(5)), ('b', Some(80)), ('c', None)]));
        check(&[told(), first(), slower], 601, "bac DNS until 7200; ask 3600");
        let gone = (601, Measured(&[('c', Some(15)), ('a', Some(30)), ('b', None)]));
        check(&[told(), first(), gone], 601, "cab DNS until 7200; ask 3600");
        // The service itself is away: that tells nothing of the prefixes.
        let none = || (601, Measured(&[('a', None), ('b', None), ('c', None)]));
        check(&[told(), first(), none()], 601, "bac DNS until 7200; ask 3600");
        check(
            &[told(), (1, Measured(&[('a', None), ('b', None), ('c', None)]))],
            1,
            "abc DNS until 7200; ask 3600",
        );
        // A prefix more is measured with the others; one less is not.
        let more = (5, Asked(&[(1, Some(&[('a', 7200), ('b', 7200), ('c', 7200), ('d', 7200)]))]));
        check(&[told(), first(), more], 5, "bcad DNS until 7205; ask 3605; measure abcd");
        let less = (5, Asked(&[(1, Some(&[('a', 7200), ('b', 7200)]))]));
        check(&[told(), first(), less], 5, "ba DNS until 7205; ask 3605");
        let without = (5, Asked(&[(1, Some(&[('a', 7200), ('c', 7200)]))]));
        check(&[told(), first(), without], 5, "ca DNS until 7205; ask 3605");
        // What was in use before there was anything to choose from stays as well, if it works.
        let alone = || (0, Asked(&[(1, Some(&[('a', 900)]))]));
        let second = || (5, Asked(&[(1, Some(&[('b', 900), ('a', 900)]))]));
        check(&[alone(), second()], 5, "ab DNS until 905; ask 895; measure ba");
        let slow = (6, Measured(&[('b', Some(5)), ('a', Some(500))]));
        check(&[alone(), second(), slow], 6, "ab DNS until 905; ask 895");
        let dead = (6, Measured(&[('b', Some(5)), ('a', None)]));
        check(&[alone(), second(), dead], 6, "ba DNS until 905; ask 895");
        // Only the prefixes of the better source are chosen from.
        check(&[told(), (1, Router(1, &[('d', 7200)]))], 1, "dabc RA until 7201; ask 7191");
        check(&[told(), first(), (5, Moved)], 5, "bca DNS until 7200; ask 5; measure abc");
    }

    #[test]
    fn no_end_of_prefixes() {
        let begin = Instant::now();
        let mut choice = Choice::new(begin, false);
        let flood: Vec<Pref64> = ('a'..='z')
            .map(|letter| Pref64 { prefix: prefix(letter), lifetime: Duration::from_secs(600) })
            .collect();
        let answer = |port, letter| Answer {
            resolver: (Ipv6Addr::LOCALHOST, port).into(),
            outcome: Ok(vec![(prefix(letter), KEPT.1)]),
        };
        choice.advertised(begin, Ipv6Addr::LOCALHOST, &flood);
        choice.answered(begin, ('a'..='z').zip(1..).map(|(letter, port)| answer(port, letter)).collect());
        assert_eq!(choice.offers.len(), 2 * MOST);
        assert_eq!(choice.present(begin).unwrap().prefixes.len(), MOST);
    }

    /// It is always known when to look again, and whoever does so then is not told to look again at once.
    #[test]
    fn when_to_look() {
        let check = |measures: bool, story: &[(u64, Event<'_>)], end: u64, expected: u64| {
            let begin = Instant::now();
            let at = |second| begin + Duration::from_secs(second);
            let mut choice = Choice::new(begin, measures);
            for (second, event) in story {
                happen(&mut choice, at(*second), event);
            }
            let _ = choice.present(at(end));
            assert_eq!((choice.next(at(end)) - begin).as_secs(), expected);
        };
        let told = || (0, Asked(&[(1, Some(&[('a', 900), ('b', 400)]))]));
        check(false, &[], 0, 1);
        check(false, &[told()], 0, 400);
        check(false, &[told()], 400, 890);
        check(true, &[told()], 0, 0);
        check(true, &[told(), (2, Measured(&[('a', None), ('b', None)]))], 2, 400);
        check(true, &[told(), (2, Measured(&[('a', None), ('b', None)]))], 400, 890);
        let long = (0, Asked(&[(1, Some(&[('a', 900), ('b', 900)]))]));
        check(true, &[long, (2, Measured(&[('a', None), ('b', None)]))], 2, 602);
    }
}
