//! One packet on its way through, and how its way ends early.

use straddle_wire::ip::Version;
use straddle_wire::{Malformed, vnet};

use crate::{Kind, Out, Reason, State, Translator};

/// What the way of one packet needs.
pub(crate) struct Pass<'a> {
    pub(crate) translator: &'a Translator,
    pub(crate) state: &'a mut State,
    /// In milliseconds.
    pub(crate) now: u64,
    /// As it came in.
    pub(crate) packet: &'a [u8],
    pub(crate) sink: &'a mut dyn FnMut(Out<'_>),
}

/// An end before the other network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// Nothing comes out.
    Drop(Reason),
    /// It is left to others.
    Pass(Reason),
    /// It was for the translator itself, which answered.
    Answered(Reason),
    /// Its sender is told.
    Tell(Reason, Trouble),
}

/// What a sender is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// The TTL or hop limit ran out.
    TimeExceeded,
    /// The packet may have this many bytes.
    TooBig(u32),
    /// There is no way to the other network.
    Network,
    /// A source route is not followed.
    SourceRoute,
    /// The byte at this offset is wrong.
    HeaderField(u32),
    /// The translator was told not to.
    Prohibited,
    /// Nobody listens.
    Port,
    /// Nobody understands the protocol, whose number is at this offset.
    Protocol(u32),
}

impl From<Reason> for End {
    fn from(reason: Reason) -> Self {
        Self::Drop(reason)
    }
}

impl From<Malformed> for End {
    fn from(malformed: Malformed) -> Self {
        Self::Drop(malformed.into())
    }
}

impl End {
    /// Of a packet whose destination has no address in the other network.
    pub(crate) fn of_destination(reason: Reason) -> Self {
        if reason == Reason::NotOurs { Self::Pass(reason) } else { Self::Drop(reason) }
    }
}

impl Pass<'_> {
    /// Hands a packet on to the other network.
    #[inline]
    pub(crate) fn forward(&mut self, side: Version, offload: vnet::Header, head: &[u8], payload: &[u8]) {
        (self.sink)(Out { side, kind: Kind::Forward, offload, head, payload });
    }

    /// Sends the translator's own answer.
    pub(crate) fn reply(&mut self, side: Version, head: &[u8], payload: &[u8]) {
        let offload = vnet::Header::default();
        (self.sink)(Out { side, kind: Kind::Reply, offload, head, payload });
    }
}
