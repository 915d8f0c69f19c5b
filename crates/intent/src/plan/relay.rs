use ipnet::{IpNet, Ipv6Net};

use crate::model::{Listen, Model, Place, Relay};
use crate::object::{Object, Route, RouteKind, Wanted};

use super::{Bridge, Plan, Via};

/// The table of what the host takes in (`RT_TABLE_LOCAL`).
const LOCAL: u32 = 255;

pub(super) fn add(plan: &mut Plan, model: &Model, relay: &Relay) {
    if plan.host != relay.host {
        return;
    }
    if let Some(net) = relay.embed {
        plan.wanted.push(taken_in(net));
        plan.remarks.push(way_back(model, relay, net));
    }
    plan.remarks.extend(wide_open(relay));
    let listens: Vec<&str> = relay.listen.iter().map(|listen| listen.word.as_str()).collect();
    plan.bridges.push(Bridge {
        name: relay.name.clone(),
        recipe: "relay",
        part: format!("relays {} to {}", listens.join(", "), relay.to),
        via: Via::Relay(Box::new(relay.clone())),
    });
}

/// Answers to the embedded addresses are this host's.
fn taken_in(net: Ipv6Net) -> Wanted {
    let route = Route::through(LOCAL, IpNet::V6(net), "lo");
    Wanted::Object(Object::Route(Route { kind: RouteKind::Local, ..route }))
}

/// What only the server's side can do.
fn way_back(model: &Model, relay: &Relay, net: Ipv6Net) -> String {
    let host = model.hosts.iter().find(|host| host.name == relay.host);
    let via = host.and_then(|host| host.ipv6.as_ref()).map(|own| own.value.to_string());
    let via = via.unwrap_or_else(|| format!("the IPv6 address of {}", relay.host));
    format!(
        "{} sees clients in {net}: it, or the router before it, needs the way back: \
         ip -6 route add {net} via {via}",
        relay.to
    )
}

/// A target within this host or its networks is reached by everybody who reaches the relay.
fn wide_open(relay: &Relay) -> Option<String> {
    let Place::Address(address) = relay.to.place else { return None };
    let everybody = relay.allow.is_empty() && relay.listen.iter().any(outside);
    (address.is_loopback() && everybody).then(|| {
        format!(
            "{}: {} is reached from this host alone otherwise; by this relay everybody reaches it, unless `allow` \
             says whom",
            relay.name, relay.to
        )
    })
}

fn outside(listen: &Listen) -> bool {
    listen.address.is_none_or(|address| !address.is_loopback())
}
