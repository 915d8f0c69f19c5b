//! The whole world of a recipe on one machine: hosts, routers and a hoster's switch as network
//! namespaces, real tools and small native probes that measure it, and a report.
//!
//! This crate prints nothing, touches no namespace that it did not make, and leaves none behind
//! (see [`guard`]). It knows the straddle binary only by its command line.

pub mod advertiser;
pub mod guard;
pub mod host;
pub mod probe;
pub mod process;
pub mod report;
pub mod state;
pub mod straddle;
pub mod switch;
pub mod tayga;
pub mod wait;
pub mod world;

mod attempt;
mod borrow;
mod clat;
mod command;
mod error;
mod ethernet;
mod fast;
mod jool;
mod names;
mod peer;
mod publish;
mod question;
mod relay;
mod siit;
mod tools;
mod tunnel6;
mod via6;

pub use attempt::borrow_bridge;
pub use borrow::{BorrowOptions, borrow};
pub use clat::{ClatOptions, ClatVariant, clat};
pub use command::Output;
pub use error::LabError;
pub use fast::FastPath;
pub use peer::Peer;
pub use publish::{PublishOptions, PublishVariant, publish};
pub use relay::{RELAY_CONFIG, RelayOptions, relay};
pub use report::{Check, Report};
pub use siit::{SIIT_CONFIG, SiitOptions, siit};
pub use straddle::Carrier;
pub use tunnel6::{Tunnel6Options, tunnel6};
pub use via6::{VIA6_CONFIG, Via6Options, via6};
