//! A client's session through a UDP relay.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use straddle_wire::proxy::Header;

use super::admission::Admitted;
use super::datagrams::Ends;
use super::listener::{Listener, Purpose};
use super::slab::Id;

/// Whose session it is: the listener, and the client's and our own address.
pub(super) type Peer = (Id, Ends);

/// Datagrams that wait for a target's name.
pub(super) const WAITING: usize = 32;

/// A session: a socket of its own to the target, so that answers find back.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) listener: Arc<Listener>,
    pub(super) peer: Peer,
    pub(super) purpose: Arc<Purpose>,
    /// Held as long as it is open.
    pub(super) _admitted: Admitted,
    /// At the head of each datagram to the target.
    pub(super) header: Option<Header>,
    pub(super) stage: Stage,
    /// Whether the paths to the target and to the client take super-datagrams, as far as is known.
    pub(super) together: [bool; 2],
}

/// How far a session has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// The target's name is being asked for; these wait.
    Name(Vec<Vec<u8>>),
    /// Connected.
    Open(OwnedFd),
}
