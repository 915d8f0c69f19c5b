//! A TCP connection through a relay.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Reason;
use super::admission::Admitted;
use super::dial::Dial;
use super::flow::{Flow, Means, Side, Stands};
use super::listener::Purpose;
use super::settings::Protocol;
use super::slab::{Due, milliseconds};

/// A connection, from its acceptance to its end.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: OwnedFd,
    /// The target's side, with the number that the poller knows it by.
    pub(super) target: Option<(u8, OwnedFd)>,
    pub(super) purpose: Arc<Purpose>,
    pub(super) admitted: Admitted,
    /// Who it comes from.
    pub(super) from: SocketAddr,
    /// Where it was made to, where a PROXY header has told it.
    pub(super) to: Option<SocketAddr>,
    pub(super) stage: Stage,
    pub(super) there: Flow,
    pub(super) back: Flow,
    /// When the present stage is over, unless it is open.
    pub(super) deadline: Due,
    /// When it must be over in any case.
    pub(super) last: Due,
    pub(super) client_watched: Watched,
    pub(super) target_watched: Watched,
}

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its PROXY header is awaited.
    Header,
    /// Its target's name is being asked for.
    Name,
    /// Its target is being reached.
    Dial(Box<Dial>),
    /// Both sides are there.
    Open,
}

/// What the poller tells of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Not,
    Arrivals,
    Everything,
}

/// How a connection stands after its flows were moved along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    Waits,
    Again,
    Over(Reason),
}

impl Connection {
    /// Moves both flows along.
    pub(super) fn pump(&mut self, means: &mut Means) -> Pumped {
        let Some((_, target)) = &self.target else { return Pumped::Waits };
        let (moved, there) = self.there.pump(&self.client, target, means);
        if moved > 0 {
            self.purpose.tally.to_target.moved(moved);
        }
        // Where the target is gone, what it said before still reaches the client.
        let (moved, back) = self.back.pump(target, &self.client, means);
        if moved > 0 {
            self.purpose.tally.to_client.moved(moved);
        }
        match (there, back) {
            (Err((Side::Own, _)), _) | (_, Err((Side::Own, _))) => Pumped::Over(Reason::NoDescriptor),
            (Err((Side::Source, _)), _) | (_, Err((Side::Sink, _))) => Pumped::Over(Reason::ClientReset),
            (Err((Side::Sink, _)), _) | (_, Err((Side::Source, _))) => Pumped::Over(Reason::TargetReset),
            (Ok(Stands::Done), Ok(Stands::Done)) => Pumped::Over(Reason::Finished),
            (Ok(Stands::Again), _) | (_, Ok(Stands::Again)) => Pumped::Again,
            (Ok(Stands::Waits | Stands::Done), Ok(Stands::Waits | Stands::Done)) => Pumped::Waits,
        }
    }

    /// When it is to be looked at next, if nothing moves.
    pub(super) fn due(&self, now: Due) -> Due {
        let rules = &self.purpose.rules;
        let due = match &self.stage {
            Stage::Header | Stage::Name => self.deadline,
            Stage::Dial(dial) => self.deadline.min(dial.next),
            Stage::Open if self.is_half_closed() => now + milliseconds(rules.half_close_timeout),
            Stage::Open => now + rules.idle(Protocol::Tcp),
        };
        due.min(self.last)
    }

    /// Why it ends where nothing has moved until its deadline.
    pub(super) fn overdue(&self, now: Due) -> Reason {
        match &self.stage {
            _ if now >= self.last => Reason::Drained,
            Stage::Header => Reason::HeaderTimeout,
            Stage::Name => Reason::NameUnknown,
            Stage::Dial(_) => Reason::TargetTimeout,
            Stage::Open if self.is_half_closed() => Reason::HalfClosed,
            Stage::Open => Reason::Idle,
        }
    }

    fn is_half_closed(&self) -> bool {
        self.there.is_done() || self.back.is_done()
    }
}
