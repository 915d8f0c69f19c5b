//! What every recipe with a carrier plans for one end of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use straddle_encap::Kind;

use crate::model::{End, FastChoice, Model};
use crate::object::{
    Chain, Ends, FastPath, Filter, FilterRule, Match, Object, Peers, SysctlKey, Tunnel, Verdict, Wanted,
};

use super::translate::{address, object, sysctl};
use super::{Backend, Carrier, Direct, Ending, Facts, Make, Mtu, Offers, Slow, publish};

/// Hop limit of outer packets.
pub(crate) const HOP_LIMIT: u8 = 64;

/// The end here of a carrier with this device.
pub(super) fn between(
    model: &Model,
    (device, ending): (&str, Ending),
    here: &End,
    there: &End,
    facts: &Facts<'_>,
) -> Carrier {
    let kind = ending.kind;
    let mtu = Mtu::of(kind, here, there, facts);
    let narrow = narrow(kind, mtu.value);
    let stays = narrow.clone().or(publish::tracks(model, &here.host));
    // For a device that nothing could go past, the kernel's own would serve better.
    let goes = Ending { direct: ending.direct && stays.is_none(), kind };
    let backend = Backend::choose(model, &here.host, goes, facts.offers);
    let slow = (backend.make == Make::Tun).then(|| slow(choice(model, &here.host), facts.offers));
    let slow = slow.map(|slow| Slow { outward: slow.outward.or(narrow), ..slow });
    let past = || Direct {
        devices: vec![here.uplink.clone()],
        // Whoever can't ask the kernel has no reason against it.
        slow: stays.or(facts.offers.past_refusal()).filter(|_| facts.offers.knows_fast(Offers::FAST_OUTWARD)),
    };
    let direct = ending.direct.then(past);
    Carrier {
        device: device.into(),
        kind,
        local: here.endpoint,
        remote: there.endpoint,
        mtu,
        backend,
        inner6: None,
        owned: Vec::new(),
        uplink: here.uplink.clone(),
        slow,
        direct,
    }
}

/// What the file says of the fast path of a host's carriers.
pub(super) fn choice(model: &Model, host: &str) -> FastChoice {
    let host = model.hosts.iter().find(|known| known.name == host);
    host.and_then(|host| host.fast_path.as_ref()).map_or(FastChoice::Auto, |choice| choice.value)
}

/// Why packets go the slow path, where all of one way do.
pub(super) fn slow(choice: FastChoice, offers: &Offers) -> Slow {
    if choice == FastChoice::Off {
        let why = Some("as the file says".to_string());
        return Slow { outward: why.clone(), inward: why };
    }
    Slow {
        outward: offers.fast_refusal(Offers::FAST_OUTWARD),
        inward: offers.fast_refusal(Offers::FAST_INWARD),
    }
}

/// The program asks for a route from its device, which must have the outer packets' version.
fn narrow(kind: Kind, mtu: u32) -> Option<String> {
    let narrow = kind != Kind::Sit && mtu < 1280;
    narrow.then(|| "its device is too narrow for IPv6, in which its packets leave".to_string())
}

/// The kernel's programs for a carrier that has its device alone.
pub(super) fn fast(
    wanted: &mut Vec<Wanted>,
    model: &Model,
    host: &str,
    carrier: &Carrier,
    facts: &Facts<'_>,
) {
    let peers = Peers::One { remote: carrier.remote, mtu: carrier.mtu.value };
    programs(wanted, choice(model, host), carrier, (peers, None), facts);
}

/// The same at a lender of this address, whose packets go past the device where they may.
pub(super) fn lending(
    wanted: &mut Vec<Wanted>,
    (model, host): (&Model, &str),
    carrier: &Carrier,
    address: Ipv4Addr,
    facts: &Facts<'_>,
) {
    let peers = Peers::One { remote: carrier.remote, mtu: carrier.mtu.value };
    let directly = carrier.direct.as_ref().is_some_and(|direct| direct.slow.is_none());
    programs(wanted, choice(model, host), carrier, (peers, directly.then_some(address)), facts);
}

/// The kernel's programs: in front of the device, and behind the uplink. Of several that share them, `carrier` is any.
/// What is `lent` goes past the device.
pub(super) fn programs(
    wanted: &mut Vec<Wanted>,
    choice: FastChoice,
    carrier: &Carrier,
    (peers, lent): (Peers, Option<Ipv4Addr>),
    facts: &Facts<'_>,
) {
    let Some(slow) = &carrier.slow else { return };
    let mut programs: Vec<FastPath> = Vec::new();
    if facts.offers.knows_fast(Offers::FAST_OUTWARD) {
        let Carrier { kind, local, .. } = *carrier;
        let ends = Ends { kind, local, peers };
        let outward = || FastPath::outward(&carrier.device, &ends);
        let inward = || {
            let hook = facts.offers.ingress(&carrier.device);
            match lent {
                Some(address) => FastPath::lending(&carrier.uplink, hook, &ends, address),
                None => FastPath::inward(&carrier.uplink, hook, &ends),
            }
        };
        programs.extend(slow.outward.is_none().then(outward));
        programs.extend(slow.inward.is_none().then(inward));
    } else if choice != FastChoice::Off {
        // Whoever can't ask the kernel sees what is there all the same.
        programs.extend(facts.live.fast.iter().filter(|fast| fast.serves() == carrier.device).cloned());
    }
    // Routes are named for devices alone that pass packets on (`bpf_fib_lookup`).
    if programs.iter().any(|program| program.dev == carrier.device) {
        let conf = if carrier.local.is_ipv6() { SysctlKey::ipv6_conf } else { SysctlKey::ipv4_conf };
        wanted.push(sysctl(conf(&carrier.device, "forwarding"), "1"));
    }
    wanted.extend(programs.into_iter().map(|program| object(Object::FastPath(program))));
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
