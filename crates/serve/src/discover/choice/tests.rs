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
            let told =
                |told: &Told<'_>| told.iter().map(|(letter, ttl)| (prefix(*letter), seconds(*ttl))).collect();
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
    let both = [(0, Router(1, &[('a', 900)])), (0, Router(2, &[('a', 1800)])), (5, Router(2, &[('a', 0)]))];
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
