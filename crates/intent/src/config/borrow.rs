use std::net::Ipv4Addr;

use crate::model::CarrierKind;

use super::Spanned;
use super::section::{Reader, Section};
use super::value;

/// `[[borrow]]`: an IPv4 address of one host, used by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrow {
    /// Where the entry stands.
    pub span: std::ops::Range<usize>,
    /// Its own name, if it has one.
    pub name: Option<Spanned<String>>,
    /// The address that moves.
    pub address: Option<Spanned<Ipv4Addr>>,
    /// The lender's name.
    pub from: Option<Spanned<String>>,
    /// The borrower's name.
    pub to: Option<Spanned<String>>,
    /// How packets cross; `ip6gre` when left out.
    pub carrier: Option<Spanned<CarrierKind>>,
    /// GRE key (RFC 2890), for several carriers between the same two addresses.
    pub key: Option<Spanned<u32>>,
    /// Whether packets at the lender take one step past its carrier's device.
    pub direct: Option<Spanned<bool>>,
}

/// The keys of the section.
pub(super) const KEYS: &[&str] = &["name", "address", "from", "to", "carrier", "key", "direct"];
const CARRIERS: &[(&str, CarrierKind)] = &[("ip6gre", CarrierKind::Ip6gre), ("ip4ip6", CarrierKind::Ip4ip6)];

pub(super) fn read(reader: &mut Reader, section: &Section<'_>) -> Borrow {
    Borrow {
        span: section.span.clone(),
        name: section.optional(reader, "name", value::bridge_name),
        address: section.required(reader, "address", "\"192.0.2.158\", the address that moves", value::ipv4),
        from: section.required(reader, "from", "\"NAME\", the host that lends it", value::word),
        to: section.required(reader, "to", "\"NAME\", the host that borrows it", value::word),
        carrier: section.choice(reader, "carrier", CARRIERS),
        key: section.number(reader, "key", 0..=u32::MAX),
        direct: section.flag(reader, "direct"),
    }
}
