//! `clat`: IPv4 for the programs of an IPv6-only host (RFC 6877, draft-ietf-v6ops-claton).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use straddle_xlat::neutral;

use crate::model::{Address6, Clat, Model, Prefix64};
use crate::object::{MAIN, Object, Origin, Route, Rule, Selector, Wanted};

use crate::snapshot::Snapshot;

use super::translate::{
    Families, address, answered, device, devices, fast, forwarding6, host, narrow, object, on_link,
    only_translated, route,
};
use super::{Bridge, Facts, Plan, Translator, Via};

/// Behind whatever IPv4 default route the host gets by itself.
const METRIC: u32 = 4700;
/// Table and rule of what comes from the CLAT's address.
const TABLE: u32 = 4700;
/// IPv6 header less IPv4 header, in bytes.
const LONGER: u32 = 20;

pub(super) fn add(plan: &mut Plan, model: &Model, clat: &Clat, facts: &Facts<'_>) {
    if plan.host != clat.host {
        return;
    }
    let uplink = super::uplink(model, &clat.host);
    // A file that leaves no address to choose is refused before (`site::check`).
    let Some(address6) = address6(clat, uplink, facts) else { return };
    let mtu = clat.mtu6.map_or_else(|| facts.mtu(uplink), u32::from);
    let prefixes = match clat.prefix64 {
        Prefix64::Given(prefix) => vec![prefix],
        Prefix64::Discover => Vec::new(),
    };
    let native = crate::native::native4(facts.live);
    ours(plan, clat, (uplink, address6), mtu, facts);
    leading(plan, clat, mtu, native.is_none().then(|| defaults(facts)));
    let aside = native.map(|via| format!("the host has IPv4 of its own ({via}): new connections go there"));
    plan.remarks.extend(aside.as_ref().map(|why| format!("{} stands aside: {why}", clat.name)));
    let config = clat.config(address6, prefixes, narrow(mtu));
    let slow = fast(&mut plan.wanted, &clat.device, &clat.translation, &config, facts);
    plan.bridges.push(Bridge {
        name: clat.name.clone(),
        recipe: "clat",
        part: part(clat, address6),
        via: Via::Translator(Box::new(Translator {
            device: clat.device.clone(),
            mtu,
            config,
            discovers: (clat.prefix64 == Prefix64::Discover).then(|| super::Discovers {
                uplink: uplink.into(),
                dns64: clat.dns64.clone(),
                probe4: clat.probe4,
                taken: model
                    .siits
                    .iter()
                    .filter(|siit| siit.host == clat.host)
                    .flat_map(|siit| siit.pool6.clone())
                    .collect(),
            }),
            aside,
            slow,
            direct: None,
        })),
    });
}

fn part(clat: &Clat, address6: Ipv6Addr) -> String {
    let through = match clat.prefix64 {
        Prefix64::Given(prefix) => format!("the NAT64 of {prefix}"),
        Prefix64::Discover => "the network's NAT64".into(),
    };
    format!("reaches IPv4 from {address6} through {through}")
}

/// The IPv6 side: a way in for the address, and its neighbours' questions answered.
fn ours(plan: &mut Plan, clat: &Clat, six: (&str, Ipv6Addr), mtu: u32, facts: &Facts<'_>) {
    let (uplink, address6) = six;
    let dev = clat.device.as_str();
    // Forwarding of IPv6 is the whole host's.
    let others = devices(facts);
    let wanted = &mut plan.wanted;
    wanted.push(object(Object::Filter(only_translated(&clat.name, dev, (Families::Ipv6, &others), facts))));
    wanted.push(device(dev, &clat.name, mtu));
    wanted.push(Wanted::LooseReversePath { dev: dev.into() });
    forwarding6(wanted, &others, facts);
    wanted.push(route(Route::through(MAIN, host(address6), dev)));
    if on_link(facts, uplink, address6.into()) {
        answered(wanted, uplink, address6.into());
    }
}

/// The IPv4 side: the address and a default route, in a table of its own for connections that there are, in
/// the main one as long as the host has no other.
fn leading(plan: &mut Plan, clat: &Clat, mtu: u32, first: Option<First>) {
    let (dev, address4) = (clat.device.as_str(), clat.address4);
    let default = |table, dst, metric| Route {
        source: Some(IpAddr::from(address4)),
        metric,
        mtu: Some(mtu.saturating_sub(LONGER)),
        ..Route::through(table, dst, dev)
    };
    plan.wanted.push(address(dev, host(address4)));
    plan.wanted.push(route(default(TABLE, everywhere(), 0)));
    plan.wanted.extend(rules(address4).map(|rule| object(Object::Rule(rule))));
    let Some(first) = first else { return };
    plan.wanted.extend(first.everywhere.into_iter().map(|dst| route(default(MAIN, dst, METRIC))));
    plan.wanted.extend(first.link_local.map(route));
}

/// What leads into the CLAT where the host has no IPv4 of its own.
struct First {
    everywhere: Vec<IpNet>,
    /// What a default route keeps that leads to link-local addresses alone (a cloud's 169.254.169.254).
    link_local: Option<Route>,
}

fn link_local(dead: &Route) -> Option<Route> {
    let net = Ipv4Net::new(Ipv4Addr::new(169, 254, 0, 0), 16).ok()?;
    let dev = dead.dev.as_deref()?;
    let (gateway, onlink, source) = (dead.gateway, dead.onlink, dead.source);
    Some(Route { gateway, onlink, source, metric: METRIC, ..Route::through(MAIN, net.into(), dev) })
}

/// Before a default route that leads nowhere, which may well have the
/// metric 0, go the two halves of everywhere.
fn defaults(facts: &Facts<'_>) -> First {
    let dead = facts.live.routes.iter().find(|route| {
        let default = route.table == MAIN && route.dst.prefix_len() == 0 && route.dst.addr().is_ipv4();
        default && route.origin != Origin::Straddle && route.metric < METRIC
    });
    let half = |first| Ipv4Net::new(Ipv4Addr::new(first, 0, 0, 0), 1).ok().map(IpNet::V4);
    match dead {
        Some(dead) => First {
            everywhere: [half(0), half(128)].into_iter().flatten().collect(),
            link_local: link_local(dead),
        },
        None => First { everywhere: vec![everywhere()], link_local: None },
    }
}

fn everywhere() -> IpNet {
    IpNet::V4(Ipv4Net::default())
}

/// Networks of the host's own go first.
fn rules(address4: Ipv4Addr) -> [Rule; 2] {
    let rule = |priority, table, no_default| Rule {
        priority,
        selector: Selector::From(host(address4)),
        table,
        no_default,
        origin: Origin::Straddle,
    };
    [rule(TABLE, MAIN, true), rule(TABLE + 1, TABLE, false)]
}

/// The address that the host's IPv4 packets come from on the IPv6 side; none where there is nothing to
/// choose from.
fn address6(clat: &Clat, uplink: &str, facts: &Facts<'_>) -> Option<Ipv6Addr> {
    let prefix64 = match clat.prefix64 {
        Prefix64::Given(prefix) => Some(prefix),
        Prefix64::Discover => None,
    };
    let chosen = |net: Ipv6Net| neutral::choose(net, facts.seed, clat.address4, prefix64);
    match clat.address6 {
        Address6::Given(address) => Some(address),
        Address6::Within(net) => Some(chosen(net)),
        Address6::Auto => {
            let present = present(clat, facts.live);
            // It stays while its network is as good as any, and while the uplink has none for a moment.
            let nets = rooms(uplink, facts.live);
            let age = |net: &Ipv6Net| Age::of(*net, uplink, facts.live);
            let best = nets.iter().min_by_key(|net| (age(net), **net));
            let good = |net: &&Ipv6Net| best.is_some_and(|best| age(net) == age(best));
            let mut good = nets.iter().filter(good);
            let stays = |address: &Ipv6Addr| best.is_none() || good.any(|net| net.contains(address));
            present.filter(stays).or_else(|| best.copied().map(chosen))
        }
    }
}

/// How good a network of the uplink is for an address that stays; the lesser is preferred.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// The uplink has an address of it that is preferred.
    Preferred,
    /// The uplink has no address of it.
    Unknown,
    /// The uplink's addresses of it are deprecated: the network is being renumbered, and answers may have no
    /// way back by now (RFC 8978).
    Deprecated,
}

impl Age {
    fn of(net: Ipv6Net, uplink: &str, live: &Snapshot) -> Age {
        let held = live.addresses.iter().filter(|held| {
            held.dev == uplink && held.origin != Origin::Straddle && IpNet::V6(net).contains(&held.net.addr())
        });
        held.map(|held| if held.deprecated { Age::Deprecated } else { Age::Preferred })
            .min()
            .unwrap_or(Age::Unknown)
    }
}

/// The address that was chosen before: the one whose packets lead into our device.
pub(crate) fn present(clat: &Clat, live: &Snapshot) -> Option<Ipv6Addr> {
    live.routes.iter().find_map(|route| match route.dst {
        IpNet::V6(net) if net.prefix_len() == 128 => {
            let ours = route.origin == Origin::Straddle && route.dev.as_deref() == Some(&clat.device);
            ours.then(|| net.addr())
        }
        IpNet::V6(_) | IpNet::V4(_) => None,
    })
}

/// The networks of the uplink that have room for another address: global ones of 64 bits or less.
pub(crate) fn rooms(uplink: &str, live: &Snapshot) -> Vec<Ipv6Net> {
    let global = |net: &Ipv6Net| net.addr().segments()[0] & 0xe000 == 0x2000 || net.addr().is_unique_local();
    let connected = live.routes.iter().filter(|route| {
        route.table == MAIN && route.dev.as_deref() == Some(uplink) && route.gateway.is_none()
    });
    let nets = connected.filter_map(|route| match route.dst {
        IpNet::V6(net) => Some(net),
        IpNet::V4(_) => None,
    });
    nets.filter(|net| net.prefix_len() <= 64 && net.prefix_len() > 0 && global(net)).collect()
}

#[cfg(test)]
mod tests {
    use crate::memory::Memory;
    use crate::object::Address;
    use crate::plan::{Endpoints, Offers, plan};

    use super::*;

    /// The address that is planned where the uplink has this network and our device is there with that address.
    fn check(on_uplink: &str, present: &str, expected: Option<&str>) {
        let model = crate::model::read(FILE).unwrap();
        let mut live = Snapshot::default();
        let mut route = |net: &str, dev: &str, origin| {
            if let Ok(net) = net.parse() {
                live.routes.push(Route { origin, ..Route::through(MAIN, net, dev) });
            }
        };
        route(on_uplink, "eth0", Origin::Kernel);
        route(present, "st-clat", Origin::Straddle);
        let facts = Facts {
            live: &live,
            memory: &Memory::default(),
            offers: &Offers::default(),
            seed: 0x5eed,
            endpoints: &Endpoints::new(),
        };
        let plan = plan(&model, "vm", &facts);
        let part = plan.bridges.first().map(|bridge| bridge.part.as_str());
        assert_eq!(
            part.map(|part| part.contains(expected.unwrap_or("-"))),
            expected.map(|_| true),
            "{part:?}"
        );
    }

    /// As [`check`] where the uplink has these addresses; `-` before one: it is deprecated.
    fn check_ages(held: &[&str], present: &str, expected: &str) {
        let mut live = Snapshot::default();
        for word in held {
            let (deprecated, net) = word.strip_prefix('-').map_or((false, *word), |net| (true, net));
            let net: IpNet = net.parse().unwrap();
            let origin = Origin::Kernel;
            live.addresses.push(Address { deprecated, origin, ..Address::ours("eth0", net) });
            live.routes.push(Route { origin, ..Route::through(MAIN, net.trunc(), "eth0") });
        }
        live.routes.extend(present.parse().map(|net| Route::through(MAIN, net, "st-clat")));
        let facts = Facts {
            live: &live,
            memory: &Memory::default(),
            offers: &Offers::default(),
            seed: 0x5eed,
            endpoints: &Endpoints::new(),
        };
        let plan = plan(&crate::model::read(FILE).unwrap(), "vm", &facts);
        let part = &plan.bridges.first().unwrap().part;
        assert!(part.contains(&format!("from {expected}")), "{held:?} {present}: {part}");
    }

    #[test]
    fn a_network_that_is_left_is_left() {
        let (old, new, local) = ("2001:db8:1::7/64", "2001:db8:2::7/64", "fd00:1::7/64");
        let gone = "-2001:db8:1::7/64";
        check_ages(&[old, new], "", "2001:db8:1::");
        check_ages(&[new, old, local], "", "2001:db8:1::");
        check_ages(&[gone, new], "", "2001:db8:2::");
        check_ages(&[gone, local], "", "fd00:1::");
        check_ages(&[gone], "", "2001:db8:1::");
        check_ages(&[gone, old], "", "2001:db8:1::");
        // What is there stays where it is as good.
        check_ages(&[old, new], "2001:db8:2::77/128", "2001:db8:2::77 ");
        check_ages(&[gone, new], "2001:db8:1::77/128", "2001:db8:2::");
        check_ages(&[gone], "2001:db8:1::77/128", "2001:db8:1::77 ");
    }

    const FILE: &str = "[host.vm]\nuplink = \"eth0\"\n[[clat]]\nhost = \"vm\"\n";

    #[test]
    fn an_address_stays_as_long_as_it_can() {
        check("", "", None);
        check("2001:db8:1::/64", "", Some("from 2001:db8:1::"));
        check("2001:db8:1::/64", "2001:db8:1::77/128", Some("from 2001:db8:1::77 "));
        check("", "2001:db8:1::77/128", Some("from 2001:db8:1::77 "));
        check("2001:db8:2::/64", "2001:db8:1::77/128", Some("from 2001:db8:2::"));
    }
}
