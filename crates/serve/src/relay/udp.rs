//! What a loop does with UDP.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;
use rustix::net::{SocketType, connect, getsockname};

use straddle_wire::proxy::{Header, Transport};

use super::Reason;
use super::admission::Admitted;
use super::budget::Budget;
use super::datagrams::{self, Ends, Inbox, Sent, Way};
use super::dial::{come_from, embedded, failure};
use super::listener::{Listener, Purpose, open_for};
use super::poller::{Interest, Token};
use super::resolver::Asker;
use super::session::{Session, Stage, WAITING};
use super::settings::{Protocol, Target};
use super::slab::{Id, milliseconds};
use super::tcp::choose;
use super::worker::{Shared, Worker};

/// Batches that are taken from one socket before it is the others' turn.
const TURN: usize = 4;
/// So many messages at once are a load.
const MANY: usize = 4;

impl Worker {
    /// Takes what clients have sent.
    pub(super) fn receive(&mut self, id: Id, listener: &Arc<Listener>) {
        for _ in 0..TURN {
            // What else there is beside an empty queue was an error about a datagram of ours; it has no meaning here.
            let Ok(count) = self.desk.inbox.receive(&listener.socket) else { return };
            self.busy |= count >= MANY;
            self.sort(id, listener, count);
            if count < Inbox::BATCH {
                return;
            }
        }
    }

    /// Sends each client's datagrams of a batch on together: the order of one client's is kept.
    fn sort(&mut self, id: Id, listener: &Arc<Listener>, count: usize) {
        let mut left: u64 = if count >= 64 { u64::MAX } else { (1 << count) - 1 };
        let ends: [Option<Ends>; Inbox::BATCH] =
            std::array::from_fn(|index| self.desk.inbox.message(index).filter(|_| index < count)?.ends);
        while left != 0 {
            let first = left.trailing_zeros() as usize;
            let client = ends.get(first).copied().flatten();
            let same =
                ends.iter().enumerate().filter(|(index, other)| left >> index & 1 == 1 && **other == client);
            let group = same.fold(0u64, |group, (index, _)| group | 1 << index);
            left &= !(group | 1 << first);
            if let Some(ends) = client
                && let Some(session) = self.session(id, listener, ends)
            {
                self.forward(session, group);
            }
        }
    }

    /// The session of a client; a new one where it has none.
    fn session(&mut self, id: Id, listener: &Arc<Listener>, ends: Ends) -> Option<Id> {
        if let Some(session) = self.peers.get(&(id, ends)) {
            return Some(*session);
        }
        let purpose = listener.purpose();
        purpose.tally.accepted.fetch_add(1, Relaxed);
        let admitted = purpose.admission.admit(&purpose.rules, &purpose.tally).and_then(|mut admitted| {
            admitted.identify(&purpose.rules, ends.client.ip())?;
            Ok(admitted)
        });
        match admitted {
            Ok(admitted) => self.open_session((id, ends), listener, purpose, admitted),
            Err(reason) => {
                purpose.tally.ended(reason);
                None
            }
        }
    }

    fn open_session(
        &mut self,
        peer: (Id, Ends),
        listener: &Arc<Listener>,
        purpose: Arc<Purpose>,
        admitted: Admitted,
    ) -> Option<Id> {
        let client = peer.1.client;
        let header = purpose.rules.proxy_out.then(|| {
            let own = peer.1.own.unwrap_or(listener.key.1.ip());
            Header::of(Transport::Datagram, client, SocketAddr::new(own, listener.key.1.port()))
        });
        let session =
            self.sessions.insert(self.now + milliseconds(purpose.rules.connect_timeout), |_| Session {
                listener: listener.clone(),
                peer,
                purpose: purpose.clone(),
                _admitted: admitted,
                header,
                stage: Stage::Name(Vec::new()),
                together: [true; 2],
            });
        self.peers.insert(peer, session);
        match &purpose.target {
            Target::Address(address) => self.reach(session, &[*address]),
            Target::Name(name, port) => {
                if let Some(letters) = self.shared.boxes.get(self.number).cloned() {
                    self.shared.resolver.ask(name, *port, Asker { letters, id: session, session: true });
                }
            }
        }
        self.sessions.get_mut(session).is_some().then_some(session)
    }

    /// The name's addresses have come.
    pub(super) fn session_found(&mut self, id: Id, addresses: &[SocketAddr]) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        match choose(addresses, &session.purpose) {
            Ok(addresses) => self.reach(id, &addresses),
            Err(reason) => self.end_session(id, reason),
        }
    }

    /// Connects to the first address that there is a way to, and sends what has waited for it.
    fn reach(&mut self, id: Id, addresses: &[SocketAddr]) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let mut why = Reason::Loop;
        let Shared { here, budget, .. } = &*self.shared;
        let mut others = addresses.iter().filter(|address| !here.takes(Protocol::Udp, **address, *budget));
        let open =
            others.find_map(|address| open(*address, session, *budget).map_err(|reason| why = reason).ok());
        let known =
            open.as_ref().map(|socket| self.poller.add(socket, Token::Session(id), Interest::Readable));
        let (Some(socket), Some(Ok(()))) = (open, known) else {
            let reason = if matches!(known, Some(Err(_))) { Reason::NoDescriptor } else { why };
            return self.end_session(id, reason);
        };
        let waited = std::mem::replace(&mut session.stage, Stage::Open(socket));
        if let Stage::Name(waited) = waited {
            self.send_on(id, &waited);
        }
    }

    /// Sends a client's datagrams of the present batch on; a bit of `group` for each message.
    fn forward(&mut self, id: Id, group: u64) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let inbox = &self.desk.inbox;
        let indexes = (0..Inbox::BATCH).filter(|index| group >> index & 1 == 1);
        let all = indexes.filter_map(|index| inbox.message(index)).flat_map(|message| message.datagrams());
        let tally = &session.purpose.tally.to_target;
        let sent = match &mut session.stage {
            Stage::Name(waiting) => {
                for datagram in all {
                    if waiting.len() < WAITING {
                        waiting.push(datagram.to_vec());
                    } else {
                        tally.lost(1);
                    }
                }
                return;
            }
            Stage::Open(socket) => {
                let head = session.header.as_ref().map_or(&[][..], Header::bytes);
                self.desk.outbox.send(Way { socket, to: None, head }, all, &mut session.together[0])
            }
        };
        self.sent(id, sent);
    }

    fn send_on(&mut self, id: Id, waited: &[Vec<u8>]) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Stage::Open(socket) = &session.stage else { return };
        let head = session.header.as_ref().map_or(&[][..], Header::bytes);
        let way = Way { socket, to: None, head };
        let sent = self.desk.outbox.send(way, waited.iter().map(Vec::as_slice), &mut session.together[0]);
        self.sent(id, sent);
    }

    /// Counts what was sent to a target.
    fn sent(&mut self, id: Id, sent: Sent) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        count(&session.purpose.tally.to_target, sent);
        let due = self.now + session.purpose.rules.idle(Protocol::Udp);
        match sent.refused {
            Some(errno) => self.end_session(id, failure(errno)),
            None => self.sessions.set_due(id, due),
        }
    }

    /// The target has answered, or its host for it.
    pub(super) fn session_ready(&mut self, id: Id) {
        for _ in 0..TURN {
            let Some(session) = self.sessions.get_mut(id) else { return };
            let Stage::Open(socket) = &session.stage else { return };
            let messages = match self.desk.inbox.receive(socket) {
                Ok(messages) => messages,
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(errno) => return self.end_session(id, failure(errno)),
            };
            self.busy |= messages >= MANY;
            let inbox = &self.desk.inbox;
            let all = (0..messages)
                .filter_map(|index| inbox.message(index))
                .flat_map(|message| message.datagrams());
            let way = Way { socket: &session.listener.socket, to: Some(session.peer.1), head: &[] };
            let sent = self.desk.outbox.send(way, all, &mut session.together[1]);
            count(&session.purpose.tally.to_client, sent);
            let due = self.now + session.purpose.rules.idle(Protocol::Udp);
            self.sessions.set_due(id, due);
            if messages < Inbox::BATCH {
                return;
            }
        }
    }

    pub(super) fn session_overdue(&mut self, id: Id) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let reason = match session.stage {
            Stage::Name(_) => Reason::NameUnknown,
            Stage::Open(_) => Reason::Idle,
        };
        self.end_session(id, reason);
    }

    /// Nothing can come from their clients any more.
    pub(super) fn end_sessions_of(&mut self, listener: Id) {
        let of_it = self.peers.iter().filter(|((id, _), _)| *id == listener);
        let sessions: Vec<Id> = of_it.map(|(_, session)| *session).collect();
        for session in sessions {
            self.end_session(session, Reason::Drained);
        }
    }

    fn end_session(&mut self, id: Id, reason: Reason) {
        let Some(session) = self.sessions.remove(id) else { return };
        self.peers.remove(&session.peer);
        session.purpose.tally.ended(reason);
        if reason == Reason::NoDescriptor {
            self.tell_lack();
        }
    }
}

fn open(target: SocketAddr, session: &Session, budget: Budget) -> Result<OwnedFd, Reason> {
    let socket = open_for(target.ip(), SocketType::DGRAM, budget).map_err(failure)?;
    datagrams::prepare(&socket, None).map_err(failure)?;
    if let Some(prefix) = session.purpose.rules.embed {
        let from = embedded(prefix, session.peer.1.client.ip()).ok_or(Reason::NotEmbeddable)?;
        come_from(&socket, from).map_err(failure)?;
    }
    connect(&socket, &target).map_err(failure)?;
    let own = getsockname(&socket).ok().and_then(|own| SocketAddr::try_from(own).ok());
    if own == Some(target) { Err(Reason::Loop) } else { Ok(socket) }
}

fn count(way: &super::tally::Way, sent: Sent) {
    way.sent(sent.datagrams, sent.bytes);
    if sent.lost > 0 {
        way.lost(sent.lost);
    }
}
