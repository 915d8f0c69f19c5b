//! Inner packet to outer packet and back, for the carriers `ip6gre`, `ip4ip6` and `sit`.
//!
//! The outer IP header itself is the raw socket's: this crate gives and takes what is behind it.
//! No I/O, no clock, no allocation; every end that a packet can have is a [`Reason`].

#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

#[cfg(test)]
extern crate std;

pub mod coalesce;
mod ecn;
pub mod errors;
mod flow;
pub mod fragment;
mod partial;
mod reason;
pub mod segment;
mod split;
mod tunnel;

#[cfg(test)]
#[path = "../../wire/src/hex.rs"]
mod hex;
#[cfg(test)]
#[path = "../tests/sample/mod.rs"]
mod sample;

pub use flow::flow_hash;
pub use reason::Reason;
pub use tunnel::{Kind, Outer, Prefix, decapsulate, encapsulate};
