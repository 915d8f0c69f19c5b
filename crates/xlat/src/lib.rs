//! IPv4 packet to IPv6 packet and back, stateless: RFC 7915, RFC 6052, RFC 7757, RFC 6791.
//!
//! No I/O, no clock, and nothing is allocated for a packet; every end of a packet is a [`Verdict`].

#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
pub mod eam;
mod header;
mod icmp;
mod load;
mod map;
pub mod neutral;
mod offload;
mod own;
mod pass;
mod quote;
mod reason;
pub mod rfc6052;
mod state;
mod structure;
mod v4_to_v6;
mod v6_to_v4;
mod verdict;

pub use config::{Config, Hairpin, Mode, TrafficClass, UdpZeroChecksum};
pub use reason::Reason;
pub use state::State;
pub use verdict::{Kind, Out, Verdict};

use alloc::vec::Vec;
use core::cmp::Reverse;

use straddle_wire::ip::{self, Version};
use straddle_wire::vnet;

use crate::pass::{End, Pass};

/// A translator: a [`Config`] made ready.
#[derive(Clone, Debug)]
pub struct Translator {
    config: Config,
    /// Those of `pool6`, the longest first.
    prefixes: Vec<rfc6052::Prefix>,
}

impl Translator {
    /// Makes a translator.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut prefixes = config.pool6.clone();
        prefixes.sort_by_key(|prefix| Reverse(prefix.net().prefix_len()));
        Self { config, prefixes }
    }

    /// What it was made of.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Translates one packet of either version, or one super-packet of TCP segments or UDP datagrams.
    ///
    /// `packet` begins with the IP header; `offload` is what a tun device with `IFF_VNET_HDR` said of
    /// it ([`vnet::Header::default`] for a packet that is what it looks like). `now` is in milliseconds
    /// from any fixed point and never goes back. Each packet that comes out goes to `sink`, in order:
    /// one for most, several where a packet must be fragmented.
    pub fn translate(
        &self,
        state: &mut State,
        now: u64,
        offload: &vnet::Header,
        packet: &[u8],
        sink: &mut dyn FnMut(Out<'_>),
    ) -> Verdict {
        let mut pass = Pass { translator: self, state, now, packet, sink };
        let end = match ip::version(packet) {
            Ok(Version::V4) => v4_to_v6::translate(&mut pass, offload),
            Ok(Version::V6) => v6_to_v4::translate(&mut pass, offload),
            Err(malformed) => Err(malformed.into()),
        };
        match end {
            Ok(()) => Verdict::Forward,
            Err(End::Drop(reason)) => Verdict::Drop(reason),
            Err(End::Pass(reason)) => Verdict::Pass(reason),
            Err(End::Answered(reason)) => Verdict::Reply(reason),
            Err(End::Tell(reason, trouble)) => own::tell(&mut pass, reason, trouble),
        }
    }
}
