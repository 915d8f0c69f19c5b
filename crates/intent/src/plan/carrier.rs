//! What every recipe with a carrier plans for one end of it.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;
use straddle_encap::Kind;

use crate::model::{End, Model};
use crate::object::{Chain, Filter, FilterRule, Match, Object, Tunnel, Verdict, Wanted};

use super::translate::{address, object};
use super::{Backend, Carrier, Facts, Make, Mtu};

/// Hop limit of outer packets.
pub(crate) const HOP_LIMIT: u8 = 64;

/// The end here of a carrier of this device and kind.
pub(super) fn between(
    model: &Model,
    (device, kind): (&str, Kind),
    here: &End,
    there: &End,
    facts: &Facts<'_>,
) -> Carrier {
    Carrier {
        device: device.into(),
        kind,
        local: here.endpoint,
        remote: there.endpoint,
        mtu: Mtu::of(kind, here, there, facts),
        backend: Backend::choose(model, &here.host, kind, facts.offers),
        inner6: None,
        owned: Vec::new(),
    }
}

/// The device, with link-local addresses of its own choosing: random ones can't be next hops. `end` is 1
/// or 2.
pub(super) fn device(wanted: &mut Vec<Wanted>, bridge: &str, end: u16, carrier: &Carrier) {
    let tunnel = Tunnel {
        format: carrier.kind.into(),
        local: carrier.local,
        remote: carrier.remote,
        hop_limit: HOP_LIMIT,
        copy_class: true,
        encap_limit: None,
    };
    if carrier.backend.make == Make::Tun {
        wanted.push(object(Object::Filter(quiet(bridge, carrier))));
    }
    let link = carrier.backend.link(&carrier.device, bridge, carrier.mtu.value, tunnel);
    wanted.push(object(Object::Link(link)));
    match carrier.kind {
        // A device below IPv6's least MTU has no IPv6 (RFC 8200 §5); the address it is for needs none.
        Kind::Ip6gre { .. } | Kind::Sit if carrier.mtu.value < 1280 => {}
        Kind::Ip6gre { .. } | Kind::Sit => {
            let local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, end);
            let net = Ipv6Net::new(local, 64).unwrap_or_else(|_| local.into());
            wanted.push(address(&carrier.device, net.into()));
        }
        Kind::Ip4ip6 => {}
    }
}

/// Where the kernel's own tunnel module is loaded it sees our outer packets too, knows no device for
/// them, and would tell the peer so.
fn quiet(bridge: &str, carrier: &Carrier) -> Filter {
    let protocol = carrier.kind.protocol();
    let rule = |matches: Vec<Match>| FilterRule {
        bridge: bridge.into(),
        chain: Chain::Output,
        matches,
        verdict: Verdict::Drop,
    };
    let rules = match carrier.remote {
        IpAddr::V4(remote) => {
            vec![rule(vec![Match::Destination(remote), Match::UnreachableAbout4(protocol)])]
        }
        IpAddr::V6(remote) => [Match::UnreachableAbout(protocol), Match::UnreachableBehindOptions(protocol)]
            .map(|about| rule(vec![Match::Destination6(remote), about]))
            .to_vec(),
    };
    Filter { rules }
}
