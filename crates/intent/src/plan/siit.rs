//! `siit`: a stateless translator between an IPv6 and an IPv4 network (RFC 7915).

use ipnet::IpNet;

use crate::model::{Model, Siit};
use crate::object::{MAIN, Object, Route, Wanted};

use super::translate::{
    Families, device, devices, fast, forwarding4, forwarding6, host, is_reached, joined, narrow, object,
    only_translated, path_mtu, route,
};
use super::{Bridge, Facts, Plan, Translator, Via};

/// More remarks than these nobody reads.
const FEW: usize = 5;
/// More routes than these are the user's own choice to make.
const MANY: usize = 1000;

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
    let (nets, left) = translated(siit, facts);
    plan.remarks.extend(left);
    plan.remarks.extend(chosen(siit, facts));
    plan.wanted.extend(nets.into_iter().map(|net| route(Route::through(MAIN, net, dev))));
    let slow = fast(&mut plan.wanted, dev, &siit.translation, &config, facts);
    plan.bridges.push(Bridge {
        name: siit.name.clone(),
        recipe: "siit",
        part: format!("translates between IPv4 and IPv6{}", between(siit)),
        via: Via::Translator(Box::new(Translator {
            device: dev.into(),
            mtu,
            config,
            slow,
            ..Translator::default()
        })),
    });
}

fn between(siit: &Siit) -> String {
    let pools: Vec<String> = siit.pool6.iter().map(ToString::to_string).collect();
    let mapped = siit.eam.mappings().len();
    match (pools.is_empty(), mapped) {
        (false, 0) => format!(", by {}", pools.join(", ")),
        (false, _) => format!(", by {} and {mapped} mappings", pools.join(", ")),
        (true, _) => format!(", by {mapped} mappings"),
    }
}

/// What is to be said of mappings whose IPv4 side the host reaches by a route of its own.
fn chosen(siit: &Siit, facts: &Facts<'_>) -> Vec<String> {
    let lived = |net: IpNet| is_reached(facts, net).is_some();
    let mappings = siit.eam.mappings().iter().filter(|mapping| lived(mapping.v4.into()));
    let told = mappings.take(FEW).map(|mapping| {
        let (four, six) = (mapping.v4, mapping.v6);
        let (into, other) = if lived(six.into()) {
            (four.to_string(), "both have")
        } else {
            (six.to_string(), "the IPv4 side has")
        };
        format!("{six} and {four}: {other} a route of this host's own; {into} leads into {}", siit.name)
    });
    told.collect()
}

/// What leads into the translator: its prefixes, its own addresses, and of each mapping the side on which
/// nobody lives. And what is to be said of the rest.
fn translated(siit: &Siit, facts: &Facts<'_>) -> (Vec<IpNet>, Option<String>) {
    let mut nets: Vec<IpNet> = siit.pool6.iter().map(|pool| pool.net().into()).collect();
    nets.extend(siit.own4.map(host));
    nets.extend(siit.own6.map(host));
    nets.retain(|net| {
        net.prefix_len() < net.max_prefix_len() || facts.live.holder(net.addr()).next().is_none()
    });
    let lived = |net: IpNet| is_reached(facts, net).is_some();
    let mapped = siit.eam.mappings().iter().map(|mapping| {
        let (four, six) = (IpNet::from(mapping.v4), IpNet::from(mapping.v6));
        if lived(four) && !lived(six) { six } else { four }
    });
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
