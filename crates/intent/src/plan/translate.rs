//! What `siit` and `clat` share: a tun device, what leads into it, and forwarding for exactly that.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use straddle_xlat::Config;

use crate::model::{FastChoice, Siit, Translation};
use crate::object::{
    Address, Chain, FastPath, Filter, FilterRule, Link, LinkKind, Match, Neighbour, NeighbourKind, Object,
    Origin, Raw, Route, Sysctl, SysctlKey, Verdict, Wanted,
};

use super::{Direct, Facts, Offers};

/// The device.
pub(super) fn device(name: &str, bridge: &str, mtu: u32) -> Wanted {
    let bridge = Some(bridge.to_string());
    object(Object::Link(Link { name: name.into(), kind: LinkKind::Tun, mtu, up: true, bridge }))
}

/// The kernel's program in front of the device. Returns why there is none.
pub(super) fn fast(
    wanted: &mut Vec<Wanted>,
    dev: &str,
    translation: &Translation,
    config: &Config,
    facts: &Facts<'_>,
) -> Option<String> {
    let choice = translation.fast();
    let present = facts.live.fast.iter().find(|fast| fast.dev == dev);
    // Whoever can't ask the kernel sees what is there all the same.
    if let Some(present) =
        present.filter(|_| choice != FastChoice::Off && !facts.offers.knows_fast(Offers::FAST_PATH))
    {
        wanted.push(object(Object::FastPath(present.clone())));
        return None;
    }
    let why = match choice {
        FastChoice::Off => Some("as the file says".into()),
        FastChoice::Auto | FastChoice::Require => facts.offers.fast_refusal(Offers::FAST_PATH),
    };
    if why.is_none() {
        wanted.push(object(Object::FastPath(FastPath::new(dev, config))));
    }
    why
}

/// The kernel's programs behind other devices, past the translator's. `stays` is why there are none.
pub(super) fn direct(
    wanted: &mut Vec<Wanted>,
    (siit, stays): (&Siit, Option<String>),
    config: &Config,
    facts: &Facts<'_>,
) -> Option<Direct> {
    if siit.direct.is_empty() {
        return None;
    }
    let devices: Vec<String> = siit.direct.iter().map(|dev| dev.value.clone()).collect();
    let dev = siit.device.as_str();
    if !facts.offers.knows_fast(Offers::FAST_DIRECT) {
        let present = facts.live.fast.iter().filter(|fast| fast.serves() == dev && fast.dev != dev);
        wanted.extend(present.cloned().map(|present| object(Object::FastPath(present))));
        return Some(Direct { devices, slow: None });
    }
    let slow = stays.or_else(|| facts.offers.fast_refusal(Offers::FAST_DIRECT));
    if slow.is_none() {
        let programs =
            devices.iter().map(|uplink| FastPath::direct(uplink, facts.offers.ingress(dev), config));
        wanted.extend(programs.map(|program| object(Object::FastPath(program))));
    }
    Some(Direct { devices, slow })
}

pub(super) fn address(dev: &str, net: IpNet) -> Wanted {
    object(Object::Address(Address::ours(dev, net)))
}

pub(super) fn route(route: Route) -> Wanted {
    object(Object::Route(route))
}

pub(super) fn object(object: Object) -> Wanted {
    Wanted::Object(object)
}

pub(super) fn sysctl(key: SysctlKey, value: &str) -> Wanted {
    Wanted::Sysctl(Sysctl { key, value: value.into() })
}

/// The devices that packets for the translator may come in by: all but those of ours and `lo`.
pub(super) fn devices<'a>(facts: &Facts<'a>) -> Vec<&'a str> {
    // One that we had begun to make is ours, though it bears no mark yet.
    let ours = |link: &Link| link.bridge.is_some() || facts.memory.begun.contains(&link.name);
    let others = facts.live.links.iter().filter(|link| !ours(link) && link.name != "lo");
    others.map(|link| link.name.as_str()).collect()
}

/// Forwarding of IPv4 from these devices and from the translator.
pub(super) fn forwarding4(wanted: &mut Vec<Wanted>, dev: &str, devices: &[&str]) {
    for dev in devices.iter().chain([&dev]) {
        wanted.push(sysctl(SysctlKey::ipv4_conf(dev, "forwarding"), "1"));
    }
}

/// Forwarding of IPv6, which is the whole host's. A device that listens to router advertisements would no
/// longer do so (`ipv6_accept_ra`): it is told before.
pub(super) fn forwarding6(wanted: &mut Vec<Wanted>, devices: &[&str], facts: &Facts<'_>) {
    for dev in devices {
        let key = SysctlKey::ipv6_conf(dev, "accept_ra");
        // One that forwarded before did not listen with 1, and shall not begin to.
        let listens = facts.before(&SysctlKey::ipv6_conf(dev, "forwarding")) != Some("1");
        if listens && facts.before(&key) == Some("1") {
            wanted.push(sysctl(key, "2"));
        }
    }
    wanted.push(sysctl(SysctlKey::ipv6_conf("all", "forwarding"), "1"));
}

/// Which families are newly forwarded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Families {
    Both,
    Ipv6,
}

/// Of what is newly forwarded, only what the translator takes or gives passes. What comes from elsewhere with a source
/// that lies behind the translator itself has a false one: on the other side it would look like somebody there
/// (RFC 6052 §5.1). Not so errors: those of routers behind another translator with the same prefix, as at the edge of a
/// data centre (RFC 7756), come from there.
pub(super) fn only_translated(
    bridge: &str,
    dev: &str,
    (families, devices): (Families, &[&str]),
    facts: &Facts<'_>,
) -> Filter {
    let dev = || dev.to_string();
    let mut rules = vec![
        (vec![Match::In(dev())], Verdict::Accept),
        (vec![Match::Out(dev()), Match::NotBehind(dev())], Verdict::Accept),
        (vec![Match::Out(dev()), Match::Errors6], Verdict::Accept),
        (vec![Match::Out(dev())], Verdict::Count),
    ];
    let six = facts.forwards_by(&SysctlKey::ipv6_conf("all", "forwarding"));
    for other in devices {
        if families == Families::Both && !facts.forwards(other) {
            rules.push((vec![Match::In((*other).into()), Match::Ipv4], Verdict::Drop));
        }
        if !six {
            rules.push((vec![Match::In((*other).into()), Match::Ipv6], Verdict::Drop));
        }
    }
    let rule =
        |(matches, verdict)| FilterRule { bridge: bridge.into(), chain: Chain::Forward, matches, verdict };
    Filter { rules: rules.into_iter().map(rule).collect() }
}

/// The MTU of the way to a family's internet in bytes: that of the default route's device, else the uplink's.
pub(super) fn path_mtu(facts: &Facts<'_>, v4: bool, uplink: &str) -> u32 {
    let default = facts.live.routes.iter().filter(|route| {
        route.dst.prefix_len() == 0
            && route.dst.addr().is_ipv4() == v4
            && route.origin != Origin::Straddle
            && route.table == crate::object::MAIN
    });
    let first = default.min_by_key(|route| route.metric).and_then(|route| route.dev.as_deref());
    facts.mtu(first.unwrap_or(uplink))
}

pub(super) fn narrow(mtu: u32) -> u16 {
    u16::try_from(mtu).unwrap_or(u16::MAX)
}

pub(super) fn host(address: impl Into<IpAddr>) -> IpNet {
    IpNet::from(address.into())
}

/// The networks of a route of the host's own that is no default one: somebody lives there.
pub(super) fn is_reached<'a>(facts: &'a Facts<'_>, net: IpNet) -> Option<&'a Route> {
    facts.live.routes.iter().find(|route| {
        route.table == crate::object::MAIN
            && route.dst.prefix_len() > 0
            && route.origin != Origin::Straddle
            && route.dst.contains(&net)
    })
}

/// The fewest networks that cover the same addresses.
pub(super) fn joined(nets: Vec<IpNet>) -> Vec<IpNet> {
    let (mut four, mut six) = (Vec::new(), Vec::new());
    for net in nets {
        match net {
            IpNet::V4(net) => four.push(net),
            IpNet::V6(net) => six.push(net),
        }
    }
    let four = Ipv4Net::aggregate(&four).into_iter().map(IpNet::V4);
    four.chain(Ipv6Net::aggregate(&six).into_iter().map(IpNet::V6)).collect()
}

/// Whether an address is of a network of a device's own: neighbours there ask for it.
pub(super) fn on_link(facts: &Facts<'_>, dev: &str, address: IpAddr) -> bool {
    facts.live.routes.iter().any(|route| {
        route.dev.as_deref() == Some(dev)
            && route.table == crate::object::MAIN
            && route.gateway.is_none()
            && route.origin != Origin::Straddle
            && route.dst.prefix_len() > 0
            && route.dst.contains(&address)
    })
}

/// The neighbours' question for an address is answered on this device.
pub(super) fn answered(wanted: &mut Vec<Wanted>, dev: &str, address: IpAddr) {
    match address {
        IpAddr::V4(_) => wanted.push(sysctl(SysctlKey::ipv4_neigh(dev, "proxy_delay"), "0")),
        IpAddr::V6(_) => {
            // Only a router answers for others (`ndisc_recv_ns`).
            wanted.push(sysctl(SysctlKey::ipv6_conf(dev, "forwarding"), "1"));
            wanted.push(sysctl(SysctlKey::ipv6_conf(dev, "proxy_ndp"), "1"));
            wanted.push(sysctl(SysctlKey::ipv6_neigh(dev, "proxy_delay"), "0"));
        }
    }
    let (kind, origin, raw) = (NeighbourKind::Proxy, Origin::Straddle, Raw::default());
    wanted.push(object(Object::Neighbour(Neighbour { dev: dev.into(), address, kind, origin, raw })));
}
