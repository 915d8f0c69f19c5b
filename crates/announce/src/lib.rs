//! How one end of a bridge tells the other that its endpoint has another address: messages, and what each
//! end makes of them.
//!
//! No I/O, no clock, no randomness, no allocation: the ends are told the time and random bytes. Every end
//! of a message is a [`Reason`].
//!
//! # Messages
//!
//! The *client* is the end whose address changes, the *server* the one that must know it. Client and server share
//! a [`Key`]. A message is one UDP datagram of [`LENGTH`] bytes; numbers are big-endian.
//!
//! | bytes | field | why |
//! |---|---|---|
//! | 0–2 | `SEU` | what is no message is told by its first bytes |
//! | 3 | version, 1 | another layout has another number |
//! | 4 | kind: 1 update, 2 challenge, 3 acknowledgement, 4 refusal | |
//! | 5–7 | zero | the next fields are aligned; a later version may use them |
//! | 8–15 | bridge: the first 8 bytes of SHA-256 of its name | one server listens for many, each with its key; the length is fixed, and the name is not told to who listens on the path |
//! | 16–31 | endpoint: an IPv6 address, or an IPv4 address as `::ffff:a.b.c.d` | this address counts, wherever the datagram came from |
//! | 32–39 | counter: microseconds since 1970 by the client's clock, greater than any before in its run | the order of a run's updates |
//! | 40–55 | run: random bytes that a client draws when it starts | a counter means nothing beyond its run |
//! | 56–71 | session: what the server last told to this run; zero before | proves that the update is no replay |
//! | 72–103 | HMAC-SHA256 of a label of the direction and bytes 0–71 | |
//!
//! The HMAC is not truncated: a message a minute has 16 bytes to spare, and nobody has to ask whether the half
//! is enough. Its label differs for messages to the server and to the client, and each kind goes
//! one way only, so that nothing can be sent back to where it came from.
//!
//! A challenge, an acknowledgement and a refusal repeat the fields of the update that they are about; a challenge has
//! the session that is offered. All messages have the same length and the server answers none without the right
//! HMAC: it amplifies nothing, and tells nothing to who has no key.
//!
//! # When an update is accepted
//!
//! A server keeps, for each bridge, the session that it is in, and offers one session to each run: 16 bytes made of
//! a secret of the process, the run, and the number of sessions before. An update is accepted
//!
//! 1. at once, if it is of the present session and its counter is greater than that of the last one accepted;
//! 2. if it is of the session that is offered to its run. This session is the present one then, with the counter of
//!    this update, and whatever was offered before is void.
//!
//! One that would be accepted, but tells an endpoint that the server can't take for this bridge, since another bridge
//! ends there, is refused: the bridge keeps the endpoint that it has, and the client tells it again later.
//!
//! Any other with the right HMAC is challenged: the server tells the session that it offers to the update's run.
//! A client answers to a challenge of its latest update only, by the same endpoint in the session that was
//! offered.
//!
//! Thus a client that starts anew (with its clock behind or far ahead), and a server that does, cost one more
//! round trip and nothing else. No counter locks out a later one: it counts in its session only, which the
//! next run does not share. Nothing on the server's disk takes part in the decision: a memory that was lost, or restored from an old copy, lets
//! no replay in. What is worth keeping over a restart is the endpoint alone.
//!
//! Why what is accepted was sent after what was accepted before: within a session, by the counter. A new session
//! was offered after the present one had begun, and the client answered for what was its latest update at that
//! time, which was not of the present session, or else it would have been accepted there. So the answer is from a run
//! that began after the one of the present session. The flood of an adversary who replays updates changes no state at all.
//! (Two clients alive with the same key would take the endpoint from each other; that is a mistake to find in
//! the counters, not one to be decided here. Who stands on the path can keep an update back; it is sent again
//! until it is acknowledged.)
//!
//! # The endpoint and the sender's address
//!
//! The endpoint in the message counts, not the datagram's source: that can be forged, and behind a NAT it is
//! somebody else's. Whoever has the key decides where the bridge's packets go. The server refuses
//! what no carrier can have ([`is_suitable`]) and the other version of IP.

#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

#[cfg(test)]
extern crate std;

mod bridge;
mod client;
mod endpoint;
mod key;
mod message;
mod reason;
mod server;

pub use bridge::BridgeId;
pub use client::{Client, Now, Timing};
pub use endpoint::is_suitable;
pub use key::{Key, KeyLength, Print};
pub use message::{Datagram, LENGTH, Run, Unverified};
pub use reason::Reason;
pub use server::{Outcome, Server};
