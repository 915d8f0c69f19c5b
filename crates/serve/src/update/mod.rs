//! Endpoints that change: [`Client`] tells this host's, [`Server`] learns those of others. The messages and the rules
//! are [`straddle_announce`]'s; here are sockets, clocks, random bytes and the files of keys.

mod client;
pub(crate) mod key;
mod server;
mod socket;
mod tally;

pub use client::{Client, State, Told};
pub use key::{KeyError, new_key, read_key, read_secret};
pub use server::{Expected, Server};
pub use straddle_announce::{Key, Reason, Timing, is_suitable};
pub use tally::{Counts, Report};
