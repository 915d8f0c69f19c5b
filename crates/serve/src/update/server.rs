//! The end that learns endpoints: one thread for all bridges.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use straddle_announce::{self as announce, BridgeId, Key, LENGTH, Outcome, Reason, Unverified};
use straddle_wire::ip::Version;

use super::socket::listening;
use super::tally::{Counts, Report, Tally};
use crate::Error;
use crate::bucket::Bucket;
use crate::limit::{Limit, network};
use crate::loops::Loops;
use crate::random::random;
use crate::stop::Stop;
use crate::told::Endpoints;
use crate::wait::wait;

/// Messages of one socket that are taken before the others, and the end, are looked at again.
const BATCH: usize = 64;

/// Messages in a second, from one network and in all. A verification takes about a microsecond, so that even all of
/// them are a hundredth of a processor; a flood of a thousand in a second that bears an honest client's address
/// leaves room for the client.
const NETWORK: f64 = 2000.0;
const ALL: f64 = 10_000.0;

/// A bridge whose other end may tell another endpoint.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its name, which is the same at the other end.
    pub bridge: String,
    /// What both ends share.
    pub key: Key,
    /// IP version of the carrier's outer packets, and so of every endpoint.
    pub version: Version,
}

/// Listens for updates; ends when it is dropped. What is known already does not matter for what is accepted.
pub struct Server {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    loops: Loops,
}

/// What the thread tells.
struct Shared {
    endpoints: Arc<Endpoints>,
    bridges: Vec<Told>,
    /// Messages for no bridge of ours, and what are none.
    strangers: Tally,
}

struct Told {
    bridge: String,
    tally: Tally,
}

impl Server {
    /// Listens at these addresses, and puts what it hears into `endpoints`. Answers come from the address that was asked only where it is not the
    /// unspecified one. Of two bridges with one name the last counts.
    ///
    /// # Errors
    /// An address can't be listened at, or the kernel refuses threads, descriptors or random bytes.
    pub fn begin(
        listen: &[SocketAddr],
        expected: Vec<Expected>,
        endpoints: Arc<Endpoints>,
    ) -> Result<Server, Error> {
        let sockets = listen.iter().map(|address| listening(*address)).collect::<Result<Vec<_>, Error>>()?;
        let addresses = sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>();
        let addresses = addresses.map_err(Error::call("socket's address"))?;
        let (mut bridges, mut ledgers) = (Vec::new(), BTreeMap::new());
        for Expected { bridge, key, version } in expected {
            let id = BridgeId::of(&bridge);
            let endpoint = endpoints.of(&bridge).map(|known| known.endpoint);
            let ledger = announce::Server::new(id, key, version, random()?, endpoint);
            ledgers.insert(id, (bridges.len(), ledger));
            bridges.push(Told { bridge, tally: Tally::new() });
        }
        let shared = Arc::new(Shared { endpoints, bridges, strangers: Tally::new() });
        let mut loops = Loops::new("endpoints")?;
        let mut listener = Listener { shared: shared.clone(), ledgers, limit: limit() };
        loops.begin(move |stop| listener.run(stop, &sockets))?;
        Ok(Server { addresses, shared, loops })
    }

    /// Where it listens, with the ports that the kernel chose where none was given.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Can be read from once it has ended by itself.
    #[must_use]
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.loops.ended()
    }

    /// What is known of each bridge.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.shared.bridges.iter().map(Told::report).collect()
    }

    /// Messages for no bridge that is served here, and what were none.
    #[must_use]
    pub fn strangers(&self) -> Counts {
        self.shared.strangers.counts()
    }
}

impl Told {
    fn report(&self) -> Report {
        let (messages, unanswered) = (self.tally.counts(), self.tally.unanswered());
        Report { bridge: self.bridge.clone(), messages, unanswered }
    }
}

/// How many messages are verified: what is beyond costs no HMAC.
fn limit() -> Limit {
    Limit::new(Bucket::new(NETWORK, NETWORK), Bucket::new(ALL, ALL))
}

/// What the thread has.
struct Listener {
    shared: Arc<Shared>,
    /// Each with its place in [`Shared::bridges`].
    ledgers: BTreeMap<BridgeId, (usize, announce::Server)>,
    limit: Limit,
}

impl Listener {
    fn run(&mut self, stop: &Stop, sockets: &[UdpSocket]) -> Result<(), Error> {
        let fds = sockets.iter().map(UdpSocket::as_fd).chain([stop.fd()]);
        let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        loop {
            wait(&mut fds, None)?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready.last() == Some(&true) {
                return Ok(());
            }
            for (socket, _) in sockets.iter().zip(&ready).filter(|(_, ready)| **ready) {
                self.take(socket)?;
            }
        }
    }

    /// Takes what has arrived, a batch at most.
    fn take(&mut self, socket: &UdpSocket) -> Result<(), Error> {
        // One byte more than a message: what is longer is seen to be.
        let mut room = [0; LENGTH + 1];
        let now = Instant::now();
        for _ in 0..BATCH {
            match socket.recv_from(&mut room) {
                Ok((length, from)) => self.hear(socket, room.get(..length).unwrap_or_default(), from, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::call("receiving updates of endpoints")(error)),
            }
        }
        Ok(())
    }

    /// The cheap questions first: of what is not of the right length, version and bridge, nothing is computed.
    fn hear(&mut self, socket: &UdpSocket, bytes: &[u8], from: SocketAddr, now: Instant) {
        let Listener { shared, ledgers, limit } = self;
        let datagram = match Unverified::parse(bytes) {
            Ok(datagram) => datagram,
            Err(reason) => return shared.strangers.ended(reason),
        };
        let Some((place, ledger)) = ledgers.get_mut(&datagram.bridge()) else {
            return shared.strangers.ended(Reason::UnknownBridge);
        };
        let Some(told) = shared.bridges.get(*place) else { return };
        if !limit.allows(network(from.ip()), now) {
            return told.tally.ended(Reason::RateLimited);
        }
        let takes = |endpoint| shared.endpoints.learn(&told.bridge, endpoint, from.ip()).is_some();
        let Outcome { reason, answer } = ledger.receive(&datagram, takes);
        told.tally.ended(reason);
        if answer.is_some_and(|answer| socket.send_to(&answer, from).is_err()) {
            told.tally.not_answered();
        }
    }
}
