//! One thread for all tunnels and all connections.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::{set_ip_freebind, set_ipv6_freebind, set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use straddle_wire::ip::Version;

use super::Reason;
use super::book::{Book, Outcome};
use super::connection::Connection;
use super::credentials::{Secret, Tagger};
use super::request::Request;
use super::tally::{Counts, Report, Tally};
use super::tls::Transport;
use crate::Error;
use crate::bucket::Bucket;
use crate::limit::{Limit, network};
use crate::loops::Loops;
use crate::stop::Stop;
use crate::told::Endpoints;
use crate::wait::wait;

/// Connections at a time, in all and from one network.
const MOST: usize = 256;
const MOST_OF_ONE: usize = 16;
/// Connections at once and in a second that are heard, from one network and in all: a handshake of TLS takes about
/// a millisecond, so that all of them are a tenth of a processor. Those beyond are closed unheard.
const ONE: (f64, f64) = (100.0, 10.0);
const ALL: (f64, f64) = (500.0, 100.0);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// Connections that are accepted before the others are looked at again.
const BATCH: usize = 64;

/// A tunnel whose client may tell where it is.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The bridge's name.
    pub bridge: String,
    /// What clients call it, whether in capital letters or small ones.
    pub hostname: String,
    /// The user that its client names.
    pub user: String,
    /// The key that goes with it.
    pub key: Secret,
    /// IP version of the carrier's outer packets, and so of every endpoint.
    pub version: Version,
}

/// Listens for updates by HTTP; ends when it is dropped.
pub struct Server {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    loops: Loops,
}

/// What the thread tells.
struct Shared {
    tunnels: Vec<Told>,
    /// Requests for no tunnel of ours, and connections that brought none.
    strangers: Tally,
}

struct Told {
    bridge: String,
    tally: Tally,
}

impl Server {
    /// Listens at these addresses, and puts what it hears into `endpoints`. Of two tunnels with one hostname the last counts.
    ///
    /// # Errors
    /// An address can't be listened at, or the kernel refuses threads, descriptors or random bytes.
    pub fn begin(
        listen: &[SocketAddr],
        transport: Transport,
        expected: Vec<Expected>,
        endpoints: Arc<Endpoints>,
    ) -> Result<Server, Error> {
        let listeners =
            listen.iter().map(|address| listening(*address)).collect::<Result<Vec<_>, Error>>()?;
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>();
        let addresses = addresses.map_err(Error::call("socket's address"))?;
        let book = Book::new(Tagger::new()?, &expected, endpoints);
        let tunnels =
            expected.into_iter().map(|Expected { bridge, .. }| Told { bridge, tally: Tally::new() });
        let shared = Arc::new(Shared { tunnels: tunnels.collect(), strangers: Tally::new() });
        let limit = Limit::new(Bucket::new(ONE.0, ONE.1), Bucket::new(ALL.0, ALL.1));
        let connections = Vec::new();
        let mut listener =
            Listener { shared: shared.clone(), book, transport, limit, listeners, connections };
        let mut loops = Loops::new("http")?;
        loops.begin(move |stop| listener.run(stop))?;
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

    /// What is known of each tunnel.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.shared.tunnels.iter().map(Told::report).collect()
    }

    /// Requests for no tunnel of ours, and connections that brought none.
    #[must_use]
    pub fn strangers(&self) -> Counts {
        self.shared.strangers.counts()
    }
}

impl Told {
    fn report(&self) -> Report {
        Report { bridge: self.bridge.clone(), requests: self.tally.counts() }
    }
}

/// What the thread has.
struct Listener {
    shared: Arc<Shared>,
    book: Book,
    transport: Transport,
    limit: Limit,
    listeners: Vec<TcpListener>,
    connections: Vec<Connection>,
}

impl Listener {
    fn run(&mut self, stop: &Stop) -> Result<(), Error> {
        loop {
            let Some(ready) = self.wait(stop)? else { return Ok(()) };
            let now = Instant::now();
            let (listeners, connections) = ready.split_at(self.listeners.len());
            self.go_on(connections, now);
            for place in listeners.iter().enumerate().filter_map(|(place, ready)| ready.then_some(place)) {
                self.accept(place, now)?;
            }
        }
    }

    /// Which listeners and connections have something to do; none at the end.
    fn wait(&self, stop: &Stop) -> Result<Option<Vec<bool>>, Error> {
        let listeners = self.listeners.iter().map(|listener| (listener.as_fd(), PollFlags::IN));
        let connections = self.connections.iter().map(|connection| (connection.fd(), connection.wants()));
        let all = [(stop.fd(), PollFlags::IN)].into_iter().chain(listeners).chain(connections);
        let mut fds: Vec<_> = all.map(|(fd, wants)| PollFd::from_borrowed_fd(fd, wants)).collect();
        wait(&mut fds, self.connections.iter().map(Connection::until).min())?;
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(if ready.next() == Some(true) { None } else { Some(ready.collect()) })
    }

    fn go_on(&mut self, ready: &[bool], now: Instant) {
        let Listener { shared, book, connections, .. } = self;
        let mut ready = ready.iter().copied();
        connections.retain_mut(|connection| {
            let peer = connection.peer();
            let hear = |came: Result<Request, Reason>| shared.heard(book, came, peer, now);
            let ended = match ready.next() {
                Some(true) => connection.go_on(now, hear).err(),
                Some(false) | None => None,
            };
            let ended = ended.or_else(|| (connection.until() <= now).then(|| connection.expired()));
            if let Some(Some(reason)) = ended {
                shared.strangers.ended(reason);
            }
            ended.is_none()
        });
    }

    fn accept(&mut self, place: usize, now: Instant) -> Result<(), Error> {
        for _ in 0..BATCH {
            let Some(listener) = self.listeners.get(place) else { return Ok(()) };
            let (stream, peer) = match listener.accept() {
                Ok((stream, peer)) => (stream, peer.ip()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => return Err(Error::call("accepting a connection")(error)),
            };
            let alike = |connection: &&Connection| network(connection.peer()) == network(peer);
            let room = self.connections.iter().filter(alike).count() < MOST_OF_ONE;
            if !room || !self.limit.allows(network(peer), now) {
                self.shared.strangers.ended(Reason::ConnectionLimited);
                continue;
            }
            self.make_room();
            let tls = match &self.transport {
                Transport::Plain => Ok(None),
                Transport::Tls(tls) => tls.connection().map(Some),
            };
            match (stream.set_nonblocking(true), tls) {
                (Ok(()), Ok(tls)) => self.connections.push(Connection::new(stream, tls, peer, now)),
                (Err(_), _) | (_, Err(_)) => self.shared.strangers.ended(Reason::Handshake),
            }
        }
        Ok(())
    }

    /// Where all places are taken, the oldest connection of the network that has most goes: a request takes
    /// milliseconds, so that it only holds its place.
    fn make_room(&mut self) {
        if self.connections.len() < MOST {
            return;
        }
        let mut counts: HashMap<u64, usize> = HashMap::new();
        for connection in &self.connections {
            *counts.entry(network(connection.peer())).or_default() += 1;
        }
        let most = counts.values().copied().max();
        let has_most = |connection: &Connection| counts.get(&network(connection.peer())).copied() == most;
        if let Some(oldest) = self.connections.iter().position(has_most) {
            self.connections.remove(oldest);
            self.shared.strangers.ended(Reason::ConnectionLimited);
        }
    }
}

impl Shared {
    /// What is answered to what came; all that follows from it is done.
    fn heard(&self, book: &mut Book, came: Result<Request, Reason>, peer: IpAddr, now: Instant) -> String {
        let Outcome { named, others, response } = book.hear(came, peer, now);
        for reason in others {
            self.strangers.ended(reason);
        }
        for (place, reason) in named {
            if let Some(told) = self.tunnels.get(place) {
                told.tally.ended(reason);
            }
        }
        response
    }
}

/// Errors of a connection that was gone before it was accepted (`accept(2)`); the others are the listener's.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionReset
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::TimedOut
    )
}

/// What clients connect to. The address need not be there yet, or all the time.
fn listening(address: SocketAddr) -> Result<TcpListener, Error> {
    let (family, v6) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, false),
        SocketAddr::V6(_) => (AddressFamily::INET6, true),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(Error::call("socket"))?;
    let bound = if v6 {
        set_ipv6_v6only(&socket, true).and_then(|()| set_ipv6_freebind(&socket, true))
    } else {
        set_ip_freebind(&socket, true)
    };
    // Connections of the server before this one may still linger.
    bound.and_then(|()| set_socket_reuseaddr(&socket, true)).map_err(Error::call("socket option"))?;
    let listens = rustix::net::bind(&socket, &address).and_then(|()| rustix::net::listen(&socket, BACKLOG));
    listens.map_err(Error::call("listening for updates by HTTP"))?;
    Ok(TcpListener::from(socket))
}
