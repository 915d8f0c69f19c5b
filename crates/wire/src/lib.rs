//! Bytes to headers and back, one file per protocol.
//!
//! A parser returns a view that could not exist if the bytes were not there; nobody downstream
//! checks a length again. Nothing in here knows what a tunnel or a translator is, allocates, reads
//! a clock or does I/O.

#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

#[cfg(test)]
extern crate std;

pub mod checksum;
pub mod ext;
pub mod extension;
pub mod field;
pub mod gre;
pub mod icmpv4;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod proxy;
mod reasons;
pub mod tcp;
pub mod udp;
pub mod vnet;

#[cfg(test)]
mod hex;

/// Why bytes are not the header that they are said to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Malformed {
    /// The bytes end before the header does.
    Truncated,
    /// A version number that this header does not have.
    Version,
    /// A header length smaller than the fixed part of the header.
    HeaderLength,
    /// A total length smaller than the header, or larger than the bytes at hand.
    TotalLength,
    /// A bit that a receiver must not accept.
    Reserved,
}
