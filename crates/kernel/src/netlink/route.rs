use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use straddle_intent::object::{Hop, Origin, Raw, Route, RouteKind};
use straddle_intent::words;

use super::{MARK, Names, Socket, index, origin, raw};
use crate::Error;

const RTM_NEWROUTE: u16 = 24;

/// Every route of every table, both families.
pub(crate) fn dump(socket: &mut Socket, names: &Names) -> Result<Vec<Route>, Error> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        for object in socket.dump("list routes", &RouteNetlinkMessage::GetRoute(message))? {
            let RouteNetlinkMessage::NewRoute(message) = object.message else { continue };
            if message.header.flags.contains(RouteFlags::Cloned) {
                continue;
            }
            if let Some(mut route) = read(&message, names) {
                if family == AddressFamily::Inet {
                    route.raw = Raw(raw::route(&object.payload));
                }
                routes.push(route);
            }
        }
    }
    Ok(routes)
}

fn read(message: &RouteMessage, names: &Names) -> Option<Route> {
    let header = &message.header;
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut destination = unspecified;
    let mut route = Route {
        table: header.table.into(),
        origin: origin(header.protocol),
        kind: kind(header.kind),
        onlink: header.flags.contains(RouteFlags::Onlink),
        dev: None,
        metric: 0,
        ..Route::through(0, IpNet::new(unspecified, 0).ok()?, "")
    };
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(address) = attribute {
            destination = ip(address)?;
        } else if let RouteAttribute::Table(table) = attribute {
            route.table = *table;
        } else if let RouteAttribute::Priority(metric) = attribute {
            route.metric = *metric;
        } else if let RouteAttribute::Oif(index) = attribute {
            route.dev = names.get(index).cloned();
        } else if let RouteAttribute::Gateway(address) = attribute {
            route.gateway = ip(address);
        } else if let RouteAttribute::Via(via) = attribute {
            route.gateway = other_family(via);
        } else if let RouteAttribute::MultiPath(hops) = attribute {
            route.hops = hops.iter().map(|hop| read_hop(hop, names)).collect();
        } else if let RouteAttribute::PrefSource(address) = attribute {
            route.source = ip(address);
        } else if let RouteAttribute::Metrics(metrics) = attribute {
            route.mtu = metrics.iter().find_map(mtu);
        }
    }
    route.dst = IpNet::new(destination, header.destination_prefix_length).ok()?;
    if route.kind == RouteKind::Unreachable {
        // The kernel has those of IPv6 stand on `lo`.
        route.dev = None;
    }
    Some(route)
}

/// Whether a next hop is dead at the moment is the kernel's to know: it comes to life with its device.
fn read_hop(hop: &RouteNextHop, names: &Names) -> Hop {
    let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(via) => other_family(via),
        _ => None,
    });
    Hop {
        dev: names.get(&hop.interface_index).cloned(),
        gateway,
        weight: u16::from(hop.hops) + 1,
        onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
    }
}

/// A next hop of another family than the destination's (`RTA_VIA`, for IPv4 since Linux 5.2).
fn other_family(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(ip) => Some((*ip).into()),
        RouteVia::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

fn mtu(metric: &RouteMetric) -> Option<u32> {
    if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

fn kind(kind: RouteType) -> RouteKind {
    match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::Unreachable => RouteKind::Unreachable,
        other => RouteKind::Other(other.into()),
    }
}

fn kind_number(kind: RouteKind) -> RouteType {
    match kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Local => RouteType::Local,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Other(number) => RouteType::from(number),
    }
}

/// Adds a route of ours; a present one of the same key is an error.
pub(crate) fn add(socket: &mut Socket, route: &Route, names: &Names) -> Result<(), Error> {
    let what = format!("ip route add {}", words::route(route));
    socket.change(&what, RouteNetlinkMessage::NewRoute(message(route, names)?), NLM_F_CREATE | NLM_F_EXCL)
}

/// Puts a route of ours in the place of the one with its key.
pub(crate) fn replace(socket: &mut Socket, route: &Route, names: &Names) -> Result<(), Error> {
    let what = format!("ip route replace {}", words::route(route));
    socket.change(&what, RouteNetlinkMessage::NewRoute(message(route, names)?), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Brings a displaced route back behind those of the same destination.
pub(crate) fn restore(socket: &mut Socket, route: &Route, names: &Names) -> Result<(), Error> {
    let what = format!("ip route append {}", words::route(route));
    if route.raw.is_empty() {
        return socket.change(
            &what,
            RouteNetlinkMessage::NewRoute(message(route, names)?),
            NLM_F_CREATE | NLM_F_APPEND,
        );
    }
    socket.replay(&what, RTM_NEWROUTE, &route.raw.0, NLM_F_CREATE | NLM_F_APPEND)
}

/// Deletes a route of ours.
pub(crate) fn delete(socket: &mut Socket, route: &Route, names: &Names) -> Result<(), Error> {
    let what = format!("ip route del {}", words::route(route));
    socket.change(&what, RouteNetlinkMessage::DelRoute(message(route, names)?), 0)
}

fn message(route: &Route, names: &Names) -> Result<RouteMessage, Error> {
    let mut message = RouteMessage::default();
    let v4 = route.dst.addr().is_ipv4();
    let hopless = route.gateway.is_none() && route.hops.iter().all(|hop| hop.gateway.is_none());
    let direct = v4 && hopless && route.kind == RouteKind::Unicast;
    message.header = RouteHeader {
        address_family: if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: route.dst.prefix_len(),
        protocol: RouteProtocol::from(MARK),
        scope: if direct { RouteScope::Link } else { RouteScope::Universe },
        kind: kind_number(route.kind),
        flags: if route.onlink { RouteFlags::Onlink } else { RouteFlags::empty() },
        ..RouteHeader::default()
    };
    debug_assert_eq!(route.origin, Origin::Straddle, "others' routes come back as they were told");
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    if route.dst.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(route.dst.network().into()));
    }
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    attributes.extend(route.gateway.map(|gateway| next_hop(v4, gateway)));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    if let Some(dev) = &route.dev {
        attributes.push(RouteAttribute::Oif(index(names, dev)?));
    }
    if !route.hops.is_empty() {
        let hops: Result<_, Error> = route.hops.iter().map(|hop| one_of_several(v4, hop, names)).collect();
        attributes.push(RouteAttribute::MultiPath(hops?));
    }
    Ok(message)
}

fn next_hop(v4: bool, gateway: IpAddr) -> RouteAttribute {
    match gateway {
        IpAddr::V6(gateway) if v4 => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        IpAddr::V6(_) | IpAddr::V4(_) => RouteAttribute::Gateway(gateway.into()),
    }
}

fn one_of_several(v4: bool, hop: &Hop, names: &Names) -> Result<RouteNextHop, Error> {
    let mut message = RouteNextHop::default();
    message.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    message.flags = if hop.onlink { RouteNextHopFlags::Onlink } else { RouteNextHopFlags::empty() };
    message.interface_index = hop.dev.as_ref().map_or(Ok(0), |dev| index(names, dev))?;
    message.attributes.extend(hop.gateway.map(|gateway| next_hop(v4, gateway)));
    Ok(message)
}
