//! Answers neighbour solicitations for addresses that are behind this host, where a hoster delivers a whole prefix
//! on-link. The kernel's own proxy takes single addresses only (`ip neigh add proxy` refuses a prefix).
//!
//! # How solicitations are heard
//!
//! They go to the solicited-node group of their target, one of 2²⁴ for a prefix of any length up to /104. A host
//! can't join all of those. So the device takes every multicast frame while the responder runs (`PACKET_MR_ALLMULTI`)
//! and a packet socket with a filter sees the solicitations; an ICMPv6 socket would not, since the kernel delivers only groups
//! that were joined. A switch that snoops MLD may still keep frames of groups back that no port asked for (RFC 4541
//! §3). Against that the groups of single addresses (each /128 that is assigned) are joined as well, which
//! tells the switch. For whole prefixes behind such a switch nothing but its configuration helps; a gateway
//! whose port the switch floods, or which asks by unicast, is heard in any case.
//!
//! # How they are answered
//!
//! Solicited, not overriding (RFC 4861 §7.2.8: an answer on behalf of another gives way to that one's own), with
//! the router flag of the host, always with the target's link-layer address: a switch or a gateway that learns
//! from the option alone is content. There is no random delay: it is meant for several that answer for one
//! address. The source is chosen by [`Source`].
//!
//! A duplicate address probe (from the unspecified address) is never answered: who configures an address on the
//! hoster's link is not told that it is in use by a host that only forwards.

mod answer;
mod groups;
mod reason;
mod responder;
mod socket;
mod table;
mod tally;

pub use answer::{Manner, Source};
pub use reason::Reason;
pub use responder::Responder;
pub use table::Table;
pub use tally::Report;
