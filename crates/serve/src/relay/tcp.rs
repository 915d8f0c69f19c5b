//! What a loop does with TCP connections, in the order of their lives.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, acceptfrom_with, getsockname, recv, send, sockopt};

use straddle_wire::proxy::{self, Header, Read, Transport};

use super::Reason;
use super::admission::Admitted;
use super::candidates::ordered;
use super::connection::{Connection, Pumped, Stage, Watched};
use super::dial::{Dial, Dialled, embedded};
use super::flow::Flow;
use super::letters::Letter;
use super::listener::{Listener, Purpose};
use super::poller::{Interest, Ready, Token};
use super::resolver::Asker;
use super::settings::{Protocol, Target};
use super::slab::{Due, Id, milliseconds};
use super::worker::{Shared, Worker};

/// Connections that are accepted before those that are open have their turn.
const TURN: usize = 64;

impl Worker {
    /// Accepts who has come; true when there may be more.
    pub(super) fn accept(&mut self, listener: &Arc<Listener>) -> bool {
        // Another loop has come to the end of descriptors.
        if self.shared.pausing.load(Relaxed) > 0 && self.shared.budget.is_spent(&listener.socket) {
            self.pause();
            return false;
        }
        for _ in 0..TURN {
            match acceptfrom_with(&listener.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((client, from)) => {
                    let Ok(client) = self.shared.budget.keep(client) else {
                        let purpose = listener.purpose();
                        purpose.tally.accepted.fetch_add(1, Relaxed);
                        purpose.tally.ended(Reason::NoDescriptor);
                        self.pause();
                        return false;
                    };
                    // The kernel tells the address of whoever connects by TCP.
                    let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) else { continue };
                    self.arrived(listener, client, from);
                }
                Err(Errno::AGAIN) => return false,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.pause();
                    return false;
                }
                // A connection that was gone before it was accepted (accept(2)).
                Err(_) => {}
            }
        }
        true
    }

    fn arrived(&mut self, listener: &Arc<Listener>, client: OwnedFd, from: SocketAddr) {
        let purpose = listener.purpose();
        purpose.tally.accepted.fetch_add(1, Relaxed);
        let admitted = match purpose.admission.admit(&purpose.rules, &purpose.tally) {
            Ok(admitted) => admitted,
            Err(reason) => return refuse(&client, &purpose, reason),
        };
        let other = self.freer().and_then(|number| self.shared.boxes.get(number));
        match other {
            Some(other) => other.post(Letter::Connection(purpose, client, from, admitted)),
            None => self.begin(purpose, client, from, admitted),
        }
    }

    pub(super) fn begin(
        &mut self,
        purpose: Arc<Purpose>,
        client: OwnedFd,
        from: SocketAddr,
        mut admitted: Admitted,
    ) {
        let header = purpose.rules.expects_header(from.ip());
        if !header && let Err(reason) = admitted.identify(&purpose.rules, from.ip()) {
            return refuse(&client, &purpose, reason);
        }
        let deadline = self.now + milliseconds(purpose.rules.connect_timeout);
        let left = milliseconds(purpose.rules.drain_time);
        let last = if self.draining { self.now + left } else { Due::MAX };
        let id = self.connections.insert(deadline, |_| Connection {
            client,
            target: None,
            purpose,
            admitted,
            from,
            to: None,
            stage: if header { Stage::Header } else { Stage::Name },
            there: Flow::new(),
            back: Flow::new(),
            deadline,
            last,
            client_watched: Watched::Not,
            target_watched: Watched::Not,
        });
        self.count_load();
        if header {
            self.watch(id);
            self.read_header(id);
        } else {
            self.seek(id);
        }
    }

    /// The header is looked at where it is, and taken when it is whole: what follows it is payload.
    fn read_header(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(room) = self.means.room.get_mut(..proxy::ROOM) else { return };
        let (length, told) = match recv(&connection.client, &mut *room, RecvFlags::PEEK | RecvFlags::DONTWAIT)
        {
            Ok((_, 0)) => return self.end(id, Reason::BadHeader),
            Ok((length, _)) => match proxy::read(room.get(..length).unwrap_or_default()) {
                Read::Incomplete if connection.there.ending => return self.end(id, Reason::BadHeader),
                Read::Incomplete => return,
                Read::Bad => return self.end(id, Reason::BadHeader),
                Read::Header(length, told) => (length, told),
            },
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => return self.end(id, Reason::ClientReset),
        };
        if let Some(room) = self.means.room.get_mut(..length) {
            // It was seen to be there.
            let _ = recv(&connection.client, room, RecvFlags::DONTWAIT);
        }
        if let Some((from, to)) = told {
            (connection.from, connection.to) = (from, Some(to));
        }
        let from = connection.from.ip();
        match connection.admitted.identify(&connection.purpose.rules, from) {
            Ok(()) => self.seek(id),
            Err(reason) => self.end(id, reason),
        }
    }

    /// Finds out where the target is.
    fn seek(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.stage = Stage::Name;
        connection.deadline = self.now + milliseconds(connection.purpose.rules.connect_timeout);
        match &connection.purpose.target {
            Target::Address(address) => {
                let address = *address;
                self.dial(id, vec![address]);
            }
            Target::Name(name, port) => {
                if let Some(letters) = self.shared.boxes.get(self.number).cloned() {
                    self.shared.resolver.ask(name, *port, Asker { letters, id, session: false });
                }
                let due = connection.due(self.now);
                self.connections.set_due(id, due);
            }
        }
    }

    /// The name's addresses have come.
    pub(super) fn found(&mut self, id: Id, addresses: &[SocketAddr]) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        match choose(addresses, &connection.purpose) {
            Ok(addresses) => self.dial(id, addresses),
            Err(reason) => self.end(id, reason),
        }
    }

    fn dial(&mut self, id: Id, mut addresses: Vec<SocketAddr>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Shared { here, budget, .. } = &*self.shared;
        addresses.retain(|address| !here.takes(Protocol::Tcp, *address, *budget));
        if addresses.is_empty() {
            return self.end(id, Reason::Loop);
        }
        let source = match connection.purpose.rules.embed {
            None => None,
            Some(prefix) => match embedded(prefix, connection.from.ip()) {
                None => return self.end(id, Reason::NotEmbeddable),
                source => source,
            },
        };
        let mut dial = Box::new(Dial::new(addresses, source, self.shared.budget));
        let dialled = dial.advance(id, &self.poller, self.now);
        connection.stage = Stage::Dial(dial);
        self.dialled(id, dialled);
    }

    fn dialled(&mut self, id: Id, dialled: Dialled) {
        match dialled {
            Dialled::Failed(reason) => self.end(id, reason),
            Dialled::Waits => {
                let Some(connection) = self.connections.get_mut(id) else { return };
                let due = connection.due(self.now);
                self.connections.set_due(id, due);
            }
            Dialled::Reached(number, target, watched) => self.opened(id, number, target, watched),
        }
    }

    fn opened(&mut self, id: Id, number: u8, target: OwnedFd, watched: bool) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.purpose.rules.proxy_out && !introduce(connection, &target) {
            return self.end(id, Reason::TargetReset);
        }
        connection.target = Some((number, target));
        connection.stage = Stage::Open;
        connection.target_watched = if watched { Watched::Everything } else { Watched::Not };
        // Most clients have spoken by now.
        connection.there.readable = true;
        self.pump(id);
    }

    pub(super) fn client_ready(&mut self, id: Id, ready: Ready) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Connection { there, back, .. } = connection;
        there.readable |= ready.readable;
        there.ending |= ready.ending;
        there.urgent |= ready.urgent;
        back.writable |= ready.writable;
        match connection.stage {
            Stage::Header => self.read_header(id),
            Stage::Name | Stage::Dial(_) => {}
            Stage::Open => self.pump(id),
        }
    }

    pub(super) fn target_ready(&mut self, id: Id, attempt: u8, ready: Ready) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Connection { there, back, .. } = connection;
        back.readable |= ready.readable;
        back.ending |= ready.ending;
        back.urgent |= ready.urgent;
        there.writable |= ready.writable;
        match &mut connection.stage {
            Stage::Header | Stage::Name => {}
            Stage::Dial(dial) => {
                let dialled = dial.told(attempt, id, &self.poller, self.now);
                self.dialled(id, dialled);
            }
            Stage::Open => self.pump(id),
        }
    }

    /// Moves what can be moved, and sees to it that the rest is told of.
    pub(super) fn pump(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        match connection.pump(&mut self.means) {
            Pumped::Over(reason) => return self.end(id, reason),
            Pumped::Again => self.again.push(id),
            Pumped::Waits => {}
        }
        let due = connection.due(self.now);
        self.connections.set_due(id, due);
        self.watch(id);
    }

    /// Tells the poller of what is not told yet: that something can be written is asked only once it could not.
    fn watch(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let client = wish(connection.client_watched, &connection.back);
        let target = wish(connection.target_watched, &connection.there);
        let mut known = Ok(());
        if let Some(wish) = client {
            known = self.tell(id, Token::Client(id), wish);
        }
        if let Some(wish) = target
            && let Some((number, _)) = self.connections.get_mut(id).and_then(|known| known.target.as_ref())
        {
            let token = Token::Target(id, *number);
            known = known.and(self.tell(id, token, wish));
        }
        if known.is_err() {
            self.end(id, Reason::NoDescriptor);
        }
    }

    fn tell(&mut self, id: Id, token: Token, wish: Watched) -> Result<(), Errno> {
        let Some(connection) = self.connections.get_mut(id) else { return Ok(()) };
        let (socket, watched) = match (token, &connection.target) {
            (Token::Target(..), Some((_, target))) => (target.as_fd(), &mut connection.target_watched),
            (_, _) => (connection.client.as_fd(), &mut connection.client_watched),
        };
        let interest = if wish == Watched::Everything { Interest::Everything } else { Interest::Arrivals };
        let known = *watched != Watched::Not;
        *watched = wish;
        if known {
            self.poller.change(socket, token, interest)
        } else {
            self.poller.add(socket, token, interest)
        }
    }

    pub(super) fn overdue(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if let Stage::Dial(dial) = &mut connection.stage
            && self.now < connection.deadline.min(connection.last)
        {
            let dialled = dial.advance(id, &self.poller, self.now);
            return self.dialled(id, dialled);
        }
        let reason = connection.overdue(self.now);
        self.end(id, reason);
    }

    /// From here on, connections have their relay's `drain-time` left.
    pub(super) fn limit_connections(&mut self) {
        for id in self.connections.ids() {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.last = self.now + milliseconds(connection.purpose.rules.drain_time);
            let due = connection.due(self.now);
            self.connections.set_due(id, due);
        }
    }

    /// Ends a connection. What has not come to an end by itself is reset, so that both sides know.
    pub(super) fn end(&mut self, id: Id, reason: Reason) {
        let Some(connection) = self.connections.remove(id) else { return };
        if reason != Reason::Finished {
            reset(&connection.client);
            if let Some((_, target)) = &connection.target {
                reset(target);
            }
        }
        let tally = connection.purpose.tally.clone();
        // Whoever reads of the end may count on the descriptors.
        drop(connection);
        tally.ended(reason);
        self.count_load();
        if reason == Reason::NoDescriptor {
            self.pause();
        }
    }

    fn count_load(&self) {
        if let Some(load) = self.shared.loads.get(self.number) {
            load.store(self.connections.len(), Relaxed);
        }
    }
}

/// What the poller should tell of a socket besides what it tells already.
fn wish(watched: Watched, into: &Flow) -> Option<Watched> {
    match watched {
        Watched::Everything => None,
        Watched::Arrivals if into.is_blocked() => Some(Watched::Everything),
        Watched::Arrivals => None,
        Watched::Not if into.is_blocked() => Some(Watched::Everything),
        Watched::Not => Some(Watched::Arrivals),
    }
}

/// The addresses of a name that are tried.
pub(super) fn choose(addresses: &[SocketAddr], purpose: &Purpose) -> Result<Vec<SocketAddr>, Reason> {
    let mut chosen = ordered(addresses, &purpose.rules.allow_private);
    match (addresses.is_empty(), chosen.is_empty()) {
        (true, _) => return Err(Reason::NameUnknown),
        (_, true) => return Err(Reason::NamePrivate),
        (false, false) => {}
    }
    if purpose.rules.embed.is_some() {
        chosen.retain(SocketAddr::is_ipv6);
    }
    if chosen.is_empty() { Err(Reason::TargetUnreachable) } else { Ok(chosen) }
}

/// Tells the target whose connection it is. A socket that was just connected has room for that.
fn introduce(connection: &Connection, target: &OwnedFd) -> bool {
    let own = || getsockname(&connection.client).ok().and_then(|own| SocketAddr::try_from(own).ok());
    let Some(to) = connection.to.or_else(own) else { return false };
    let header = Header::of(Transport::Stream, connection.from, to);
    let sent = send(target, header.bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    sent == Ok(header.bytes().len())
}

/// A client that is not served is told so at once.
fn refuse(client: &OwnedFd, purpose: &Purpose, reason: Reason) {
    reset(client);
    purpose.tally.ended(reason);
}

/// Has a socket's close(2) reset the connection.
fn reset(socket: &OwnedFd) {
    // Where it fails, the connection is closed without a reset.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}
