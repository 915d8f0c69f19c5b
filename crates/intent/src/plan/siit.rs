//! `siit`: a stateless translator between an IPv6 and an IPv4 network (RFC 7915).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use straddle_xlat::eam::Mapping;

use crate::model::{Model, Siit};
use crate::object::{MAIN, Object, Origin, Route, Wanted};

use super::translate::{
    Families, answered, device, devices, direct, fast, forwarding4, forwarding6, host, is_reached, joined,
    narrow, object, on_link, only_translated, path_mtu, route,
};
use super::{Bridge, Facts, Plan, Translator, Via, publish};

/// More remarks than these nobody reads.
const FEW: usize = 5;
/// More routes than these are the user's own choice to make.
const MANY: usize = 1000;
/// A network of at most this many free bits is answered for address by address.
const SMALL: u8 = 4;
/// More addresses than these are not answered for.
const ANSWERS: usize = 256;

pub(super) fn add(plan: &mut Plan, model: &Model, siit: &Siit, facts: &Facts<'_>) {
    if plan.host != siit.host {
        return;
    }
    let uplink = super::uplink(model, &siit.host);
    let mtus = [true, false].map(|v4| path_mtu(facts, v4, uplink));
    let config = siit.config(narrow(mtus[0]), narrow(mtus[1]));
    // The device takes whatever either side does: what is too large for the other one the translator tells.
    let mtu = u32::from(config.mtu4.max(config.mtu6));
    let dev = siit.device.as_str();
    let others = devices(facts);
    plan.wanted.push(object(Object::Filter(only_translated(
        &siit.name,
        dev,
        (Families::Both, &others),
        facts,
    ))));
    plan.wanted.push(device(dev, &siit.name, mtu));
    plan.wanted.push(Wanted::LooseReversePath { dev: dev.into() });
    forwarding4(&mut plan.wanted, dev, &others);
    forwarding6(&mut plan.wanted, &others, facts);
    let (nets, left) = translated(siit, uplink, facts);
    plan.remarks.extend(left);
    plan.remarks.extend(chosen(siit, uplink, facts));
    plan.remarks.extend(kept(siit, uplink, facts));
    let led = nets.iter().filter_map(|net| led_elsewhere(plan, siit, *net)).take(FEW);
    let led: Vec<String> = led.collect();
    plan.remarks.extend(led);
    plan.wanted.extend(nets.into_iter().map(|net| route(Route::through(MAIN, net, dev))));
    answer(plan, siit, uplink, facts);
    let slow = fast(&mut plan.wanted, dev, &siit.translation, &config, facts);
    let stays = slow.clone().or_else(|| publish::tracks(model, &plan.host));
    let direct = direct(&mut plan.wanted, (siit, stays), &config, facts);
    plan.bridges.push(Bridge {
        name: siit.name.clone(),
        recipe: "siit",
        part: format!("translates between IPv4 and IPv6{}", between(siit)),
        via: Via::Translator(Box::new(Translator {
            device: dev.into(),
            mtu,
            config,
            slow,
            direct,
            ..Translator::default()
        })),
    });
}

fn between(siit: &Siit) -> String {
    let pools: Vec<String> = siit.pool6.iter().map(ToString::to_string).collect();
    let mapped = match siit.eam.mappings().len() {
        0 => return format!(", by {}", pools.join(", ")),
        1 => "one mapping".to_owned(),
        count => format!("{count} mappings"),
    };
    if pools.is_empty() {
        format!(", by {mapped}")
    } else {
        format!(", by {} and {mapped}", pools.join(", "))
    }
}

/// What is to be said of mappings whose IPv4 side the host reaches by a route of its own.
fn chosen(siit: &Siit, uplink: &str, facts: &Facts<'_>) -> Vec<String> {
    let told = siit.eam.mappings().iter().filter_map(|mapping| {
        let (into, why) = leading(*mapping, uplink, facts);
        let (four, six) = (mapping.v4, mapping.v6);
        let into = if into == IpNet::V4(four) { four.to_string() } else { six.to_string() };
        Some(format!("{six} and {four}: {}; {into} leads into {}", why?, siit.name))
    });
    told.take(FEW).collect()
}

/// What is for an address of the host's own stays with the host, whatever leads elsewhere.
fn kept(siit: &Siit, uplink: &str, facts: &Facts<'_>) -> Vec<String> {
    let led = siit.eam.mappings().iter().map(|mapping| leading(*mapping, uplink, facts).0);
    let led = joined(led.collect());
    let own = facts.live.addresses.iter().filter(|held| held.origin != Origin::Straddle);
    let mut own: Vec<IpAddr> = own.map(|held| held.net.addr()).collect();
    own.retain(|address| led.iter().any(|net| net.contains(address)));
    let told = own.iter().map(|address| {
        format!(
            "{address} is mapped, and this host's own: what is sent to it stays here, and never comes to {}; map an \
             address that no device here has",
            siit.name
        )
    });
    told.take(FEW).collect()
}

/// The side of a mapping on which nobody lives, and why it is that one where it is not plain.
fn leading(mapping: Mapping, uplink: &str, facts: &Facts<'_>) -> (IpNet, Option<String>) {
    let (four, six) = (IpNet::from(mapping.v4), IpNet::from(mapping.v6));
    let lived = |net: IpNet| is_reached(facts, net).is_some();
    match (lived(four), lived(six)) {
        (false, _) => (four, None),
        (true, true) => (four, Some("both have a route of this host's own".into())),
        // A public address beside the host's own is one that was given to it for its neighbours' sake.
        (true, false) if !is_private(mapping.v4.addr()) && on_link(facts, uplink, four.addr()) => {
            (four, Some(format!("the IPv4 side is of {uplink}'s own network")))
        }
        (true, false) => (six, Some("the IPv4 side has a route of this host's own".into())),
    }
}

/// RFC 1918, and RFC 6598.
fn is_private(address: Ipv4Addr) -> bool {
    address.is_private() || matches!(address.octets(), [100, 64..=127, ..])
}

/// Answers the uplink's neighbours for what leads into the translator and is of their network.
fn answer(plan: &mut Plan, siit: &Siit, uplink: &str, facts: &Facts<'_>) {
    let pools = siit.pool6.iter().map(|pool| IpNet::from(pool.net()));
    let own = siit.own4.map(host).into_iter().chain(siit.own6.map(host));
    let mapped = siit.eam.mappings().iter().map(|mapping| leading(*mapping, uplink, facts).0);
    let near = own.chain(mapped).chain(pools).filter(|net| on_link(facts, uplink, net.addr()));
    let (mut answers, mut left): (Vec<IpAddr>, Vec<IpNet>) = (Vec::new(), Vec::new());
    for net in joined(near.collect()) {
        let size = net.max_prefix_len() - net.prefix_len();
        if size > SMALL || answers.len() >= ANSWERS {
            left.push(net);
        } else {
            answers.extend(addresses(net).filter(|address| facts.live.holder(*address).next().is_none()));
        }
    }
    for address in answers {
        answered(&mut plan.wanted, uplink, address);
    }
    plan.remarks.extend(left.iter().take(FEW).map(|net| {
        format!(
            "{net} is of {uplink}'s own network, where each address would have to be answered for: have it routed \
             to this host, or map single addresses"
        )
    }));
}

/// All of a small network.
fn addresses(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let count = 1_u32 << (net.max_prefix_len() - net.prefix_len()).min(SMALL);
    (0..count).map(move |index| match net.network() {
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().wrapping_add(index)).into(),
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().wrapping_add(index.into())).into(),
    })
}

/// The IPv6 sides of two translators' mappings may overlap. Where both lead in by them, one has none.
fn led_elsewhere(plan: &Plan, siit: &Siit, net: IpNet) -> Option<String> {
    let leads = |wanted: &Wanted, dev: &str| *wanted == route(Route::through(MAIN, net, dev));
    let leads = |bridge: &&Bridge| {
        bridge.device().is_some_and(|dev| plan.wanted.iter().any(|wanted| leads(wanted, dev)))
    };
    let first = plan.bridges.iter().find(leads)?;
    Some(format!("{net} leads into {} already: none of it comes to {}", first.name, siit.name))
}

/// What leads into the translator: its prefixes, its own addresses, and of each mapping the side on which
/// nobody lives. And what is to be said of the rest.
fn translated(siit: &Siit, uplink: &str, facts: &Facts<'_>) -> (Vec<IpNet>, Option<String>) {
    let mut nets: Vec<IpNet> = siit.pool6.iter().map(|pool| pool.net().into()).collect();
    nets.extend(siit.own4.map(host));
    nets.extend(siit.own6.map(host));
    nets.retain(|net| {
        net.prefix_len() < net.max_prefix_len() || facts.live.holder(net.addr()).next().is_none()
    });
    let mapped = siit.eam.mappings().iter().map(|mapping| leading(*mapping, uplink, facts).0);
    let mapped = joined(mapped.collect());
    if mapped.len() > MANY {
        let name = &siit.name;
        let count = mapped.len();
        let dev = &siit.device;
        let note = format!(
            "{name} has {count} networks in its mappings, too many for a route each: lead them to it yourself, \
             as in `ip route add 198.51.100.0/22 dev {dev}`"
        );
        return (joined(nets), Some(note));
    }
    nets.extend(mapped);
    (joined(nets), None)
}
