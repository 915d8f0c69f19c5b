//! Everything between the user's file and the kernel that is arithmetic on values:
//! `text → Config → Model → Plan → diff(Plan, Snapshot) → Steps`.
//!
//! This crate opens no file, socket or clock, spawns nothing, and knows no netlink number.
#![forbid(unsafe_code)]

pub mod config;
pub mod diff;
pub mod doctor;
pub mod invite;
pub mod memory;
pub mod model;
pub mod native;
pub mod object;
pub mod plan;
pub mod site;
pub mod snapshot;
pub mod step;
pub mod words;

/// The IPv4 address an ICMP error carries when its sender has none (RFC 7600 §4.8).
pub use straddle_encap::errors::DUMMY4;
