//! Whatever an adversary does who sees and delivers every message, but has no key: the endpoint only ever becomes
//! one that the client sent later than the present one; and once honest messages get through, the latest one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use straddle_announce::{
    BridgeId, Client, Datagram, Key, LENGTH, Now, Reason, Run, Server, Timing, Unverified,
};
use straddle_wire::ip::Version;

const NAME: &str = "home";

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    /// The client's prefix changes.
    Announce(u8),
    /// Time passes; the client sends what is due.
    Pass(u16),
    /// The client's clock is set.
    SetClock(u32),
    /// A message that was ever sent to the server arrives, or arrives again.
    Deliver(prop::sample::Index),
    /// The same with the server's messages to the client.
    DeliverBack(prop::sample::Index),
    /// The latest message arrives, each way: what a network mostly does.
    Exchange,
    /// A message with a bit turned.
    Forge(prop::sample::Index, prop::sample::Index, u8),
    /// A message of either end's own, back to it.
    Reflect(prop::sample::Index),
    /// The client begins anew, with its clock wherever it stands.
    Reinstall(u32),
    /// The server begins anew, with the endpoint it had or without.
    Restart(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0..4_u8).prop_map(Event::Announce),
        4 => any::<u16>().prop_map(Event::Pass),
        1 => any::<u32>().prop_map(Event::SetClock),
        6 => index().prop_map(Event::Deliver),
        6 => index().prop_map(Event::DeliverBack),
        8 => Just(Event::Exchange),
        2 => (index(), index(), 0..8_u8).prop_map(|(message, byte, bit)| Event::Forge(message, byte, bit)),
        1 => index().prop_map(Event::Reflect),
        1 => any::<u32>().prop_map(Event::Reinstall),
        1 => any::<bool>().prop_map(Event::Restart),
    ]
}

struct World {
    now: Now,
    client: Client,
    server: Server,
    /// How often either began, so that no two beginnings have the same random bytes.
    beginnings: u8,
    to_server: Vec<Datagram>,
    to_client: Vec<Datagram>,
    /// Which of `to_server` the endpoint is from.
    held: Option<usize>,
}

impl World {
    fn new() -> World {
        World {
            now: Now::default(),
            client: client(0),
            server: server(0, None),
            beginnings: 0,
            to_server: Vec::new(),
            to_client: Vec::new(),
            held: None,
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Announce(choice) => self.client.announce(Some(address(*choice)), self.now),
            Event::Pass(milliseconds) => self.pass(Duration::from_millis((*milliseconds).into())),
            Event::SetClock(seconds) => self.now.unix = Duration::from_secs((*seconds).into()),
            Event::Deliver(index) => {
                if !self.to_server.is_empty() {
                    self.deliver(index.index(self.to_server.len()));
                }
            }
            Event::DeliverBack(index) => {
                if !self.to_client.is_empty() {
                    self.deliver_back(index.index(self.to_client.len()));
                }
            }
            Event::Exchange => self.exchange(),
            Event::Forge(index, byte, bit) => self.forge(index, byte.index(LENGTH), *bit),
            Event::Reflect(index) => self.reflect(index),
            Event::Reinstall(seconds) => {
                let endpoint = self.client.endpoint();
                self.beginnings += 1;
                self.client = client(self.beginnings);
                self.now.unix = Duration::from_secs((*seconds).into());
                self.client.announce(endpoint, self.now);
            }
            Event::Restart(remembers) => {
                self.beginnings += 1;
                self.server = server(self.beginnings, self.server.endpoint().filter(|_| *remembers));
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.elapsed += time;
        self.now.unix += time;
        while let Some(datagram) = self.client.send(self.now) {
            // The same update once more is no later one.
            if !self.to_server.contains(&datagram) {
                self.to_server.push(datagram);
            }
        }
    }

    fn deliver(&mut self, index: usize) -> Reason {
        let before = self.server.endpoint();
        let outcome = self.server.receive(&Unverified::parse(&self.to_server[index]).unwrap(), |_| true);
        if matches!(outcome.reason, Reason::Accepted | Reason::Refreshed) {
            assert!(self.held < Some(index), "{:?} after {:?}", Some(index), self.held);
            self.held = Some(index);
        } else {
            assert_eq!(self.server.endpoint(), before);
        }
        self.to_client.extend(outcome.answer);
        outcome.reason
    }

    fn deliver_back(&mut self, index: usize) -> Reason {
        let reason = self.client.receive(&self.to_client[index], self.now);
        self.pass(Duration::ZERO);
        reason
    }

    fn exchange(&mut self) {
        self.pass(Duration::ZERO);
        if let Some(last) = self.to_server.len().checked_sub(1) {
            self.deliver(last);
            self.deliver_back(self.to_client.len() - 1);
        }
    }

    fn forge(&mut self, index: &prop::sample::Index, byte: usize, bit: u8) {
        let (server, client) = (self.server.endpoint(), self.client.acknowledged());
        let sent: Vec<&Datagram> = self.to_server.iter().chain(&self.to_client).collect();
        if sent.is_empty() {
            return;
        }
        let mut forged = *sent[index.index(sent.len())];
        forged[byte] ^= 1 << bit;
        if let Ok(datagram) = Unverified::parse(&forged) {
            let outcome = self.server.receive(&datagram, |_| true);
            let refused = [Reason::Forged, Reason::UnknownBridge, Reason::Direction];
            assert!(refused.contains(&outcome.reason), "{:?}", outcome.reason);
            assert_eq!(outcome.answer, None, "nobody without the key is answered");
        }
        let reason = self.client.receive(&forged, self.now);
        assert!(!matches!(reason, Reason::Acknowledged | Reason::Challenged | Reason::Stale), "{reason:?}");
        assert_eq!((self.server.endpoint(), self.client.acknowledged()), (server, client));
    }

    fn reflect(&mut self, index: &prop::sample::Index) {
        if !self.to_client.is_empty() {
            let own = &self.to_client[index.index(self.to_client.len())];
            let outcome = self.server.receive(&Unverified::parse(own).unwrap(), |_| true);
            assert_eq!((outcome.reason, outcome.answer), (Reason::Direction, None));
        }
        if !self.to_server.is_empty() {
            let own = &self.to_server[index.index(self.to_server.len())];
            assert_eq!(self.client.receive(own, self.now), Reason::Direction);
        }
    }

    /// From here on the network only delivers.
    fn calm(&mut self) {
        let Some(due) = self.client.due() else { return };
        let wait = due.saturating_sub(self.now.elapsed);
        self.pass(wait);
        // One round trip, or two where a challenge is needed.
        for _ in 0..2 {
            self.exchange();
        }
        assert_eq!(self.server.endpoint(), self.client.endpoint());
        assert_eq!(self.client.acknowledged(), Some(self.now.elapsed));
    }
}

fn key() -> Key {
    Key::new(&[7; 32]).unwrap()
}

fn client(random: u8) -> Client {
    Client::new(BridgeId::of(NAME), key(), Run([random; 16]), Timing::default())
}

fn server(random: u8, endpoint: Option<IpAddr>) -> Server {
    Server::new(BridgeId::of(NAME), key(), Version::V6, [random; 32], endpoint)
}

fn address(choice: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, choice.into(), 0x231, 0x201, 0x224, 0x144).into()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn the_endpoint_never_goes_back(events in vec(event(), 0..80)) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        world.calm();
    }
}
