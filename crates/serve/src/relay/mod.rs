//! Relays: TCP connections and UDP sessions of one family carried on into the other, in this process and
//! yet, for bulk, without their bytes ever being seen by it.
//!
//! One thread for each processor waits for all of its sockets at once. A TCP listener is every loop's; whoever
//! accepts hands a connection to the loop that has clearly fewer. A UDP listener is one loop's.

mod admission;
mod budget;
mod candidates;
mod connection;
mod datagrams;
mod dial;
mod flow;
mod here;
mod letters;
mod listener;
mod name;
mod option;
mod pipes;
mod poller;
mod queues;
mod reason;
mod resolver;
mod serving;
mod session;
mod settings;
mod slab;
mod tally;
mod tcp;
mod udp;
mod worker;

pub use reason::Reason;
pub use serving::{Alert, NotListening, Serving};
pub use settings::{Listen, Protocol, Relay, Rules, Target};
pub use tally::{Counted, Limit, Report, Traffic};
