//! The end that must know the endpoint: one [`Server`] for each bridge.

use core::fmt;
use core::net::IpAddr;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use straddle_wire::ip::Version;

use crate::key::{Toward, keyed};
use crate::message::{Kind, Message, Session};
use crate::{BridgeId, Datagram, Key, Reason, Run, Unverified, is_suitable};

/// What sessions are made of begins with this.
const LABEL: &[u8] = b"straddle endpoint session 1";

/// What a server knows of one bridge.
pub struct Server {
    bridge: BridgeId,
    key: Key,
    version: Version,
    /// HMAC with the process's secret: what sessions are made by.
    sessions: Hmac<Sha256>,
    /// How many sessions began.
    begun: u64,
    present: Option<Present>,
    endpoint: Option<IpAddr>,
}

/// The session that goes on.
#[derive(Clone, Copy, Debug)]
struct Present {
    session: Session,
    run: Run,
    /// That of the last update accepted.
    counter: u64,
}

/// What became of a message, and the answer to be sent to where it came from.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub reason: Reason,
    /// A challenge, an acknowledgement or a refusal, as long as the message; none for who has no key.
    pub answer: Option<Datagram>,
}

impl Server {
    /// Begins with no session.
    ///
    /// `version` is that of the carrier's outer packets, and so of every endpoint. `secret` are random bytes that no
    /// server before had: neither another bridge's, nor the same bridge's before a restart. `endpoint` is the
    /// one from before a restart, if it is known; it says which update tells something new, and takes no part
    /// in what is accepted.
    #[must_use]
    pub fn new(
        bridge: BridgeId,
        key: Key,
        version: Version,
        secret: [u8; 32],
        endpoint: Option<IpAddr>,
    ) -> Self {
        let sessions = keyed(&secret).chain_update(LABEL).chain_update(bridge.0);
        Self { bridge, key, version, sessions, begun: 0, present: None, endpoint }
    }

    /// Which bridge it is for.
    #[must_use]
    pub const fn bridge(&self) -> BridgeId {
        self.bridge
    }

    /// The endpoint that counts: the one accepted last, or from before a restart.
    #[must_use]
    pub const fn endpoint(&self) -> Option<IpAddr> {
        self.endpoint
    }

    /// Takes a message. `takes` is asked, at most once, whether an endpoint can be the bridge's: of an update that is
    /// accepted but for that.
    pub fn receive(&mut self, datagram: &Unverified<'_>, takes: impl FnOnce(IpAddr) -> bool) -> Outcome {
        match self.update(datagram) {
            Ok(update) => self.decide(&update, takes),
            Err(reason) => Outcome { reason, answer: None },
        }
    }

    fn update(&self, datagram: &Unverified<'_>) -> Result<Message, Reason> {
        if datagram.bridge() != self.bridge {
            return Err(Reason::UnknownBridge);
        }
        let update = datagram.verify(&self.key, Toward::Server)?;
        let version = match update.endpoint {
            IpAddr::V4(_) => Version::V4,
            IpAddr::V6(_) => Version::V6,
        };
        if version != self.version || !is_suitable(update.endpoint) {
            return Err(Reason::UnsuitableEndpoint);
        }
        Ok(update)
    }

    /// The rules of the crate's documentation.
    fn decide(&mut self, update: &Message, takes: impl FnOnce(IpAddr) -> bool) -> Outcome {
        let offered = self.offer(update.run);
        let present = self.present.filter(|it| (it.session, it.run) == (update.session, update.run));
        let (kind, reason) = match present {
            _ if update.session == offered => {
                self.begun += 1;
                self.accept(update, takes)
            }
            Some(last) if update.counter > last.counter => self.accept(update, takes),
            Some(last) if update.counter == last.counter && self.endpoint == Some(update.endpoint) => {
                (Kind::Ack, Reason::Repeated)
            }
            Some(_) => (Kind::Challenge, Reason::Behind),
            None => (Kind::Challenge, Reason::Unproven),
        };
        let session = if kind == Kind::Challenge { offered } else { update.session };
        let answer = Message { kind, session, ..*update };
        Outcome { reason, answer: Some(answer.sign(&self.key)) }
    }

    /// The session goes on by what is refused too: it is no replay.
    fn accept(&mut self, update: &Message, takes: impl FnOnce(IpAddr) -> bool) -> (Kind, Reason) {
        let Message { session, run, counter, endpoint, .. } = *update;
        self.present = Some(Present { session, run, counter });
        if !takes(endpoint) {
            return (Kind::Refusal, Reason::Taken);
        }
        let known = self.endpoint.replace(endpoint) == Some(endpoint);
        (Kind::Ack, if known { Reason::Refreshed } else { Reason::Accepted })
    }

    /// The session that is offered to a run until the next one begins. Nothing is kept for it, so replays of updates
    /// can neither fill a memory nor make an offer void.
    fn offer(&self, run: Run) -> Session {
        let mac = self.sessions.clone().chain_update(self.begun.to_be_bytes()).chain_update(run.0);
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        Session(bytes.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bridge, version, begun, present, endpoint, .. } = self;
        f.debug_struct("Server")
            .field("bridge", bridge)
            .field("version", version)
            .field("begun", begun)
            .field("present", present)
            .field("endpoint", endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "2001:db8:a::1";
    const B: &str = "2001:db8:b::1";

    fn key() -> Key {
        Key::new(&[7; 32]).unwrap()
    }

    fn server(secret: u8, endpoint: Option<&str>) -> Server {
        let endpoint = endpoint.map(|text| text.parse().unwrap());
        Server::new(BridgeId::of("home"), key(), Version::V6, [secret; 32], endpoint)
    }

    fn update(endpoint: &str, counter: u64, run: u8, session: Session) -> Message {
        let (bridge, endpoint) = (BridgeId::of("home"), endpoint.parse().unwrap());
        Message { kind: Kind::Update, bridge, endpoint, counter, run: Run([run; 16]), session }
    }

    fn receive(server: &mut Server, message: &Message) -> Outcome {
        server.receive(&Unverified::parse(&message.sign(&key())).unwrap(), |_| true)
    }

    /// The session that a challenge of this message offers.
    fn challenged(server: &mut Server, message: &Message) -> Session {
        let answer = receive(server, message).answer.unwrap();
        let challenge = Unverified::parse(&answer).unwrap().verify(&key(), Toward::Client).unwrap();
        let expected = Message { kind: Kind::Challenge, session: challenge.session, ..*message };
        assert_eq!(challenge, expected, "a challenge repeats the update");
        assert_ne!(challenge.session, message.session);
        challenge.session
    }

    /// A server in a session of run 1 whose last update was `A` with counter 100, and this session.
    fn begun() -> (Server, Session) {
        let mut server = server(1, None);
        let session = challenged(&mut server, &update(A, 99, 1, Session::NONE));
        assert_eq!(receive(&mut server, &update(A, 100, 1, session)).reason, Reason::Accepted);
        (server, session)
    }

    #[test]
    fn rules() {
        let check = |endpoint: &str, counter: u64, run: u8, in_session: bool, reason: Reason, then: &str| {
            let (mut server, session) = begun();
            let session = if in_session { session } else { Session([5; 16]) };
            let message = update(endpoint, counter, run, session);
            let outcome = receive(&mut server, &message);
            assert_eq!(outcome.reason, reason, "{message:?}");
            assert_eq!(server.endpoint(), Some(then.parse().unwrap()), "{message:?}");
            let answer = outcome
                .answer
                .map(|bytes| Unverified::parse(&bytes).unwrap().verify(&key(), Toward::Client).unwrap());
            let acknowledged = matches!(reason, Reason::Accepted | Reason::Refreshed | Reason::Repeated);
            if acknowledged {
                assert_eq!(answer, Some(Message { kind: Kind::Ack, ..message }));
            } else {
                assert_eq!(answer.map(|answer| answer.kind), answer.map(|_| Kind::Challenge));
            }
        };
        check(B, 101, 1, true, Reason::Accepted, B);
        check(A, 101, 1, true, Reason::Refreshed, A);
        check(A, 100, 1, true, Reason::Repeated, A);
        check(B, u64::MAX, 1, true, Reason::Accepted, B);
        // The same counter for another endpoint comes from no client of ours.
        check(B, 100, 1, true, Reason::Behind, A);
        check(B, 99, 1, true, Reason::Behind, A);
        check(B, 0, 1, true, Reason::Behind, A);
        // Far ahead, but of no session: the counter alone proves nothing.
        check(B, u64::MAX, 1, false, Reason::Unproven, A);
        check(A, 101, 1, false, Reason::Unproven, A);
        // A session is one run's.
        check(B, 101, 2, true, Reason::Unproven, A);
    }

    #[test]
    fn refused_without_an_answer() {
        let check = |change: fn(&mut Message), key: &Key, expected: Reason| {
            let (mut server, session) = begun();
            let mut message = update(B, 101, 1, session);
            change(&mut message);
            let outcome = server.receive(&Unverified::parse(&message.sign(key)).unwrap(), |_| true);
            assert_eq!((outcome.reason, outcome.answer), (expected, None));
            assert_eq!(server.endpoint(), Some(A.parse().unwrap()));
        };
        check(|_| {}, &Key::new(&[8; 32]).unwrap(), Reason::Forged);
        check(|message| message.bridge = BridgeId::of("other"), &key(), Reason::UnknownBridge);
        check(|message| message.kind = Kind::Ack, &key(), Reason::Direction);
        check(|message| message.kind = Kind::Challenge, &key(), Reason::Direction);
        check(|message| message.endpoint = "ff02::1".parse().unwrap(), &key(), Reason::UnsuitableEndpoint);
        check(|message| message.endpoint = "::1".parse().unwrap(), &key(), Reason::UnsuitableEndpoint);
        check(|message| message.endpoint = "fe80::1".parse().unwrap(), &key(), Reason::UnsuitableEndpoint);
        check(|message| message.endpoint = "192.0.2.1".parse().unwrap(), &key(), Reason::UnsuitableEndpoint);
    }

    /// Whoever has the key is told that the endpoint is another bridge's; a replay of that still tells nothing.
    #[test]
    fn an_endpoint_that_is_taken() {
        let (mut server, session) = begun();
        let ask = |server: &mut Server, message: &Message, takes: bool| {
            let outcome = server.receive(&Unverified::parse(&message.sign(&key())).unwrap(), |_| takes);
            let answer = outcome.answer.unwrap();
            (outcome.reason, Unverified::parse(&answer).unwrap().verify(&key(), Toward::Client).unwrap().kind)
        };
        let refused = update(B, 101, 1, session);
        assert_eq!(ask(&mut server, &refused, false), (Reason::Taken, Kind::Refusal));
        assert_eq!(server.endpoint(), Some(A.parse().unwrap()));
        assert_eq!(ask(&mut server, &refused, true), (Reason::Behind, Kind::Challenge));
        assert_eq!(ask(&mut server, &update(B, 102, 1, session), true), (Reason::Accepted, Kind::Ack));
        assert_eq!(server.endpoint(), Some(B.parse().unwrap()));
    }

    #[test]
    fn an_ipv4_carrier_has_ipv4_endpoints() {
        let mut server = Server::new(BridgeId::of("home"), key(), Version::V4, [1; 32], None);
        assert_eq!(receive(&mut server, &update(A, 1, 1, Session::NONE)).reason, Reason::UnsuitableEndpoint);
        let session = challenged(&mut server, &update("192.0.2.1", 1, 1, Session::NONE));
        assert_eq!(receive(&mut server, &update("192.0.2.1", 2, 1, session)).reason, Reason::Accepted);
        assert_eq!(server.endpoint(), Some("192.0.2.1".parse().unwrap()));
    }

    /// The home side is installed anew, its clock is years behind: it gets through, and what it sent
    /// before with greater counters does not.
    #[test]
    fn a_clock_that_runs_behind() {
        let (mut server, old) = begun();
        let session = challenged(&mut server, &update(B, 3, 2, Session::NONE));
        assert_eq!(receive(&mut server, &update(B, 4, 2, session)).reason, Reason::Accepted);
        assert_eq!(receive(&mut server, &update(A, 100, 1, old)).reason, Reason::Unproven);
        assert_eq!(receive(&mut server, &update(A, 101, 1, old)).reason, Reason::Unproven);
        assert_eq!(receive(&mut server, &update(A, 5, 2, session)).reason, Reason::Accepted);
    }

    /// A clock that was ages ahead locks nobody out.
    #[test]
    fn a_clock_that_ran_ahead() {
        let (mut server, session) = begun();
        assert_eq!(receive(&mut server, &update(B, u64::MAX, 1, session)).reason, Reason::Accepted);
        let session = challenged(&mut server, &update(A, 200, 1, session));
        assert_eq!(receive(&mut server, &update(A, 201, 1, session)).reason, Reason::Accepted);
        assert_eq!(receive(&mut server, &update(B, 202, 1, session)).reason, Reason::Accepted);
    }

    /// An answer that is withheld until another run is in session.
    #[test]
    fn an_offer_ends_with_the_next_session() {
        let (mut server, _) = begun();
        let withheld = challenged(&mut server, &update(A, 900, 2, Session::NONE));
        let session = challenged(&mut server, &update(B, 5, 3, Session::NONE));
        assert_ne!(withheld, session);
        assert_eq!(receive(&mut server, &update(B, 6, 3, session)).reason, Reason::Accepted);
        assert_eq!(receive(&mut server, &update(A, 901, 2, withheld)).reason, Reason::Unproven);
        assert_eq!(server.endpoint(), Some(B.parse().unwrap()));
    }

    /// However many replays are challenged, the honest challenge stays good.
    #[test]
    fn replays_void_no_offer() {
        let (mut server, old) = begun();
        let session = challenged(&mut server, &update(B, 5, 2, Session::NONE));
        for run in 1..=50 {
            challenged(&mut server, &update(A, 50, run, Session::NONE));
            challenged(&mut server, &update(A, 99, run, old));
        }
        assert_eq!(receive(&mut server, &update(B, 6, 2, session)).reason, Reason::Accepted);
    }

    /// With or without what it knew: after a restart no recorded message is accepted, the next honest one is.
    #[test]
    fn a_server_begins_anew() {
        let check = |endpoint: Option<&str>, reason: Reason| {
            let (_, session) = begun();
            let mut server = server(2, endpoint);
            for counter in [100, 101, u64::MAX] {
                let outcome = receive(&mut server, &update(A, counter, 1, session));
                assert_eq!(outcome.reason, Reason::Unproven);
            }
            assert_eq!(server.endpoint(), endpoint.map(|text| text.parse().unwrap()));
            let session = challenged(&mut server, &update(B, 102, 1, session));
            assert_eq!(receive(&mut server, &update(B, 103, 1, session)).reason, reason);
        };
        check(None, Reason::Accepted);
        check(Some(A), Reason::Accepted);
        check(Some(B), Reason::Refreshed);
    }
}
