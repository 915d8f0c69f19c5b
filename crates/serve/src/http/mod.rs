//! Endpoints that are told by HTTP, as routers and DDNS clients tell them to the well-known tunnel broker:
//! `GET /nic/update?hostname=ID&myip=A.B.C.D` with basic authentication, answered by a word of the DynDNS protocol.
//!
//! | answer | status | when |
//! |---|---|---|
//! | `good A.B.C.D` | 200 | the tunnel ends there since |
//! | `nochg A.B.C.D` | 200 | it did already |
//! | `badauth` | 401 | no credentials came |
//! | `badauth` | 200 | user and key are those of no tunnel |
//! | `nohost` | 200 | they are those of a tunnel, but not of this one |
//! | `notfqdn`, `numhost` | 200 | no tunnel is named, or too many |
//! | `badip` | 200 | the address can be no tunnel's endpoint |
//! | `abuse` | 200 | too many updates of one tunnel, or from one network |
//! | nothing | 405 | the method is not `GET` |
//! | `911` | 400, 404, 431 | what was asked for is not this, or no HTTP |
//!
//! Clients read words of a 200 only, so that those that a client is to show come with it.
//!
//! Without `myip` the peer of the connection is meant. What can't be an endpoint is refused: loopback, multicast, link-local
//! and the like ([`is_suitable`](crate::update::is_suitable)); private addresses are not, since a tunnel may well stay within such a network.
//!
//! Whoever reads an update on its way can repeat it with another address: that is in the nature of this protocol, so that
//! it is meant for TLS. Without it is an explicit choice ([`Transport::Plain`]).
//!
//! One thread serves everything; a connection is one request, of at most 8 KiB, within ten seconds.

mod book;
mod connection;
mod credentials;
mod query;
mod reason;
mod request;
mod response;
mod server;
mod tally;
mod tls;

pub use credentials::Secret;
pub use reason::Reason;
pub use server::{Expected, Server};
pub use tally::{Counts, Report};
pub use tls::{Tls, TlsError, Transport};
