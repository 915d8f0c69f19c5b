//! The end whose endpoint changes.

use core::net::IpAddr;
use core::time::Duration;

use crate::key::Toward;
use crate::message::{Kind, Message, Session};
use crate::{BridgeId, Datagram, Key, Reason, Run, Unverified};

/// Nothing is sent again before this time, whatever is asked for.
const LEAST: Duration = Duration::from_millis(10);

/// A moment by two clocks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Now {
    /// Since any fixed point; never goes back.
    pub elapsed: Duration,
    /// Since 1970, as far as the host knows; it may jump.
    pub unix: Duration,
}

/// How often a client sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    /// How long the first answer is waited for. Each further wait is twice as long.
    pub first: Duration,
    /// The longest wait for an answer.
    pub longest: Duration,
    /// How long after an acknowledgement the endpoint is told again: a server that has forgotten it learns
    /// it so, and a firewall on the way stays open.
    pub refresh: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            refresh: Duration::from_secs(60),
        }
    }
}

/// What a client knows.
#[derive(Debug)]
pub struct Client {
    bridge: BridgeId,
    key: Key,
    run: Run,
    timing: Timing,
    session: Session,
    /// The greatest that was used.
    counter: u64,
    latest: Option<Latest>,
}

/// The latest update.
#[derive(Clone, Copy, Debug)]
struct Latest {
    update: Message,
    /// Whether this very update was acknowledged.
    settled: bool,
    /// When its endpoint was last acknowledged.
    acknowledged: Option<Duration>,
    /// When it is sent, or, once it is settled, the next one.
    due: Duration,
    /// The wait after that.
    wait: Duration,
}

impl Client {
    /// Begins with nothing to tell. `run` are random bytes that no client before had.
    #[must_use]
    pub const fn new(bridge: BridgeId, key: Key, run: Run, timing: Timing) -> Self {
        Self { bridge, key, run, timing, session: Session::NONE, counter: 0, latest: None }
    }

    /// From now on the endpoint is this, or there is none and nothing is sent. The same as before changes
    /// nothing.
    pub fn announce(&mut self, endpoint: Option<IpAddr>, now: Now) {
        if endpoint != self.endpoint() {
            self.latest = endpoint.map(|endpoint| self.say(endpoint, None, now));
        }
    }

    /// The endpoint that it tells.
    #[must_use]
    pub fn endpoint(&self) -> Option<IpAddr> {
        self.latest.map(|latest| latest.update.endpoint)
    }

    /// When the server last acknowledged this endpoint, by [`Now::elapsed`].
    #[must_use]
    pub fn acknowledged(&self) -> Option<Duration> {
        self.latest.and_then(|latest| latest.acknowledged)
    }

    /// When [`Client::send`] has something to send, by [`Now::elapsed`]; never while nothing is announced.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.latest.map(|latest| latest.due)
    }

    /// What is to be sent now. What could not be sent is lost as a datagram may be: it is due again later.
    pub fn send(&mut self, now: Now) -> Option<Datagram> {
        let mut latest = self.latest.filter(|latest| latest.due <= now.elapsed)?;
        if latest.settled {
            latest = self.say(latest.update.endpoint, latest.acknowledged, now);
        }
        latest.due = now.elapsed.saturating_add(latest.wait);
        latest.wait = latest.wait.saturating_mul(2).min(self.timing.longest).max(LEAST);
        self.latest = Some(latest);
        Some(latest.update.sign(&self.key))
    }

    /// Takes what came from the server: [`Reason::Acknowledged`], [`Reason::Refused`] (it is tried again as an
    /// acknowledged one is told again), [`Reason::Challenged`] (the answer to it is due at once), or why nothing came
    /// of it.
    pub fn receive(&mut self, bytes: &[u8], now: Now) -> Reason {
        match self.answer(bytes) {
            Ok((answer, latest)) => self.take(&answer, latest, now),
            Err(reason) => reason,
        }
    }

    /// An answer of the server's to the latest update: it repeats all fields, but for a session that it offers.
    fn answer(&self, bytes: &[u8]) -> Result<(Message, Latest), Reason> {
        let datagram = Unverified::parse(bytes)?;
        if datagram.bridge() != self.bridge {
            return Err(Reason::UnknownBridge);
        }
        let answer = datagram.verify(&self.key, Toward::Client)?;
        let latest = self.latest.ok_or(Reason::Stale)?;
        let session = match answer.kind {
            Kind::Challenge => latest.update.session,
            Kind::Ack | Kind::Refusal | Kind::Update => answer.session,
        };
        let repeated = Message { kind: Kind::Update, session, ..answer };
        if repeated == latest.update { Ok((answer, latest)) } else { Err(Reason::Stale) }
    }

    fn take(&mut self, answer: &Message, latest: Latest, now: Now) -> Reason {
        if answer.kind == Kind::Challenge {
            self.session = answer.session;
            self.latest = Some(self.say(latest.update.endpoint, latest.acknowledged, now));
            return Reason::Challenged;
        }
        let refused = answer.kind == Kind::Refusal;
        let acknowledged = (!refused).then_some(now.elapsed);
        let due = now.elapsed.saturating_add(self.timing.refresh.max(LEAST));
        self.latest = Some(Latest { settled: true, acknowledged, due, ..latest });
        if refused { Reason::Refused } else { Reason::Acknowledged }
    }

    /// An update that is due at once.
    fn say(&mut self, endpoint: IpAddr, acknowledged: Option<Duration>, now: Now) -> Latest {
        let clock = u64::try_from(now.unix.as_micros()).unwrap_or(u64::MAX);
        self.counter = clock.max(self.counter.saturating_add(1));
        let Self { bridge, counter, run, session, .. } = *self;
        let update = Message { kind: Kind::Update, bridge, endpoint, counter, run, session };
        let wait = self.timing.first.max(LEAST);
        Latest { update, settled: false, acknowledged, due: now.elapsed, wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn key() -> Key {
        Key::new(&[7; 32]).unwrap()
    }

    fn client() -> Client {
        Client::new(BridgeId::of("home"), key(), Run([1; 16]), Timing::default())
    }

    fn at(milliseconds: u64) -> Now {
        let elapsed = Duration::from_millis(milliseconds);
        Now { elapsed, unix: Duration::from_secs(1_700_000_000) + elapsed }
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn read(bytes: &Datagram) -> Message {
        Unverified::parse(bytes).unwrap().verify(&key(), Toward::Server).unwrap()
    }

    fn answer(kind: Kind, to: &Datagram) -> Message {
        Message { kind, ..read(to) }
    }

    #[test]
    fn waits_are_longer_and_longer_until_it_is_acknowledged() {
        let mut client = client();
        client.announce(address("2001:db8::1"), at(0));
        let mut sent = Vec::new();
        let mut times = Vec::new();
        while times.len() < 9 {
            let due = client.due().unwrap();
            assert_eq!(
                client.send(Now { elapsed: due.saturating_sub(LEAST), ..at(0) }).is_some(),
                due.is_zero()
            );
            sent.extend(client.send(Now { elapsed: due, ..at(0) }));
            times.push(due.as_millis());
        }
        assert_eq!(times, [0, 500, 1500, 3500, 7500, 15_500, 31_500, 61_500, 91_500]);
        assert!(sent.iter().all(|datagram| *datagram == sent[0]), "the same update is sent again");

        let ack = answer(Kind::Ack, &sent[0]).sign(&key());
        assert_eq!(client.receive(&ack, at(92_000)), Reason::Acknowledged);
        assert_eq!(client.acknowledged(), Some(Duration::from_secs(92)));
        assert_eq!(client.due(), Some(Duration::from_secs(152)));
        assert_eq!(client.send(at(151_999)), None);
        let refresh = read(&client.send(at(152_000)).unwrap());
        assert!(refresh.counter > read(&sent[0]).counter);
        assert_eq!(client.due(), Some(Duration::from_millis(152_500)));
    }

    #[test]
    fn what_is_refused_is_told_again_later() {
        let mut client = client();
        client.announce(address("192.0.2.1"), at(0));
        let first = client.send(at(0)).unwrap();
        assert_eq!(client.receive(&answer(Kind::Ack, &first).sign(&key()), at(0)), Reason::Acknowledged);
        let second = client.send(at(60_000)).unwrap();
        let refusal = answer(Kind::Refusal, &second).sign(&key());
        assert_eq!(client.receive(&refusal, at(60_000)), Reason::Refused);
        assert_eq!(client.acknowledged(), None, "what was acknowledged is so no more");
        assert_eq!(client.due(), Some(Duration::from_secs(120)));
        let third = client.send(at(120_000)).unwrap();
        assert_eq!(read(&third).endpoint, read(&first).endpoint);
        assert_eq!(
            client.receive(&answer(Kind::Ack, &third).sign(&key()), at(120_000)),
            Reason::Acknowledged
        );
    }

    #[test]
    fn a_counter_grows_whatever_the_clock_does() {
        let mut client = client();
        let mut last = 0;
        let mut check = |endpoint: &str, unix: Duration, expected: u64| {
            let now = Now { elapsed: Duration::ZERO, unix };
            client.announce(address(endpoint), now);
            let update = read(&client.send(now).unwrap());
            assert_eq!((update.counter, Some(update.endpoint)), (expected, address(endpoint)));
            assert!(update.counter > last);
            last = update.counter;
        };
        check("2001:db8::1", Duration::from_secs(100), 100_000_000);
        check("2001:db8::2", Duration::from_secs(200), 200_000_000);
        check("2001:db8::1", Duration::from_secs(50), 200_000_001);
        check("2001:db8::2", Duration::MAX, u64::MAX);
    }

    #[test]
    fn what_is_not_announced_is_not_sent() {
        let mut client = client();
        assert_eq!((client.due(), client.send(at(0))), (None, None));
        client.announce(address("2001:db8::1"), at(0));
        let first = client.send(at(0)).unwrap();
        client.announce(address("2001:db8::1"), at(100));
        assert_eq!(client.due(), Some(Duration::from_millis(500)), "the same changes nothing");
        client.announce(None, at(200));
        assert_eq!((client.due(), client.endpoint(), client.send(at(9999))), (None, None, None));
        assert_eq!(client.receive(&answer(Kind::Ack, &first).sign(&key()), at(300)), Reason::Stale);
    }

    #[test]
    fn a_challenge_is_answered_at_once_and_once() {
        let mut client = client();
        client.announce(address("192.0.2.1"), at(0));
        let first = client.send(at(0)).unwrap();
        assert_eq!(read(&first).session, Session::NONE);
        let challenge = Message { session: Session([9; 16]), ..answer(Kind::Challenge, &first) }.sign(&key());
        assert_eq!(client.receive(&challenge, at(20)), Reason::Challenged);
        let second = client.send(at(20)).unwrap();
        let expected =
            Message { session: Session([9; 16]), counter: read(&first).counter + 20_000, ..read(&first) };
        assert_eq!(read(&second), expected);
        assert_eq!(client.receive(&challenge, at(30)), Reason::Stale);
        assert_eq!(client.send(at(30)), None);
    }

    #[test]
    fn what_is_no_answer_to_the_latest_update() {
        let check = |change: fn(&mut Message), expected: Reason| {
            let mut client = client();
            client.announce(address("2001:db8::1"), at(0));
            let mut message = answer(Kind::Ack, &client.send(at(0)).unwrap());
            change(&mut message);
            assert_eq!(client.receive(&message.sign(&key()), at(1)), expected);
            assert_eq!(client.acknowledged().is_some(), expected == Reason::Acknowledged);
        };
        check(|_| {}, Reason::Acknowledged);
        check(|message| message.counter -= 1, Reason::Stale);
        check(|message| message.endpoint = "2001:db8::2".parse().unwrap(), Reason::Stale);
        check(|message| message.run = Run([2; 16]), Reason::Stale);
        check(|message| message.session = Session([2; 16]), Reason::Stale);
        check(|message| message.bridge = BridgeId::of("other"), Reason::UnknownBridge);
        check(|message| message.kind = Kind::Update, Reason::Direction);
        check(|message| (message.kind, message.counter) = (Kind::Challenge, 7), Reason::Stale);
        check(|message| message.kind = Kind::Challenge, Reason::Challenged);
        check(|message| message.kind = Kind::Refusal, Reason::Refused);
        let mut client = client();
        let forged = answer(Kind::Ack, &read_from_another().sign(&key())).sign(&Key::new(&[8; 32]).unwrap());
        assert_eq!(client.receive(&forged, at(0)), Reason::Forged);
        assert_eq!(client.receive(&forged[1..], at(0)), Reason::Length);
    }

    fn read_from_another() -> Message {
        let mut client = client();
        client.announce(address("2001:db8::1"), at(0));
        read(&client.send(at(0)).unwrap())
    }
}
