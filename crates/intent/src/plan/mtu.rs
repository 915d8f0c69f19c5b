use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use straddle_encap::Kind;

use crate::model::End;
use crate::object::{MAIN, Route};

use super::{Facts, kind_word};

/// The largest inner packet of a carrier, with the reckoning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mtu {
    /// Largest inner packet in bytes.
    pub value: u32,
    /// Largest outer packet in bytes.
    pub underlay: u32,
    /// Where that figure is from.
    pub from: String,
    /// Bytes of header that the carrier adds.
    pub overhead: u32,
    /// The carrier's word in the file.
    pub carrier: &'static str,
}

impl Mtu {
    /// From our uplink, the route to the peer and what the file says of either end, the smallest.
    pub(super) fn of(kind: Kind, here: &End, there: &End, facts: &Facts<'_>) -> Mtu {
        let uplink = (facts.mtu(&here.uplink), here.uplink.clone());
        let said = |end: &End| end.mtu.map(|mtu| (mtu, format!("[host.{}]", end.host)));
        let smallest = [by_route(there.endpoint, facts), said(here), said(there)]
            .into_iter()
            .flatten()
            .fold(uplink, |a, b| if b.0 < a.0 { b } else { a });
        let overhead = u32::from(kind.overhead());
        let (underlay, from) = smallest;
        Mtu { value: underlay.saturating_sub(overhead), underlay, from, overhead, carrier: kind_word(kind) }
    }

    /// The largest TCP segment over IPv6 (RFC 9293 §3.7.1: less 40 bytes of IP and 20 of TCP).
    pub fn mss6(&self) -> u16 {
        u16::try_from(self.value.saturating_sub(60)).unwrap_or(u16::MAX)
    }

    /// The largest TCP segment over IPv4 (RFC 9293 §3.7.1: less 20 bytes of IP and 20 of TCP).
    pub fn mss4(&self) -> u16 {
        u16::try_from(self.value.saturating_sub(40)).unwrap_or(u16::MAX)
    }
}

/// What the route to an address says, of those that all packets go by, where it says anything. Programs of the fast path are
/// told of it only where it is locked (`bpf_fib_lookup`).
fn by_route(address: IpAddr, facts: &Facts<'_>) -> Option<(u32, String)> {
    let leads = |route: &&Route| route.table == MAIN && route.dst.contains(&address);
    let routes = facts.live.routes.iter().filter(leads);
    let route = routes.max_by_key(|route| (route.dst.prefix_len(), Reverse(route.metric)))?;
    let to = if route.dst.prefix_len() == 0 { "default".into() } else { route.dst.to_string() };
    route.mtu.map(|mtu| (mtu, format!("the route {to}")))
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {} of {} - {} of {} headers",
            self.value, self.underlay, self.from, self.overhead, self.carrier
        )
    }
}
