//! The only packet loops. What they are given is open already (tun queues); they change nothing of
//! the kernel's configuration.

mod bell;
mod bucket;
pub mod carrier;
mod counters;
pub mod discover;
mod error;
pub mod http;
mod limit;
mod loops;
mod mmsg;
pub mod neighbour;
mod random;
mod raw;
pub mod relay;
mod slot;
mod stop;
pub mod told;
pub mod translator;
pub mod update;
mod wait;

pub use counters::Report;
pub use error::Error;
