use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use straddle_intent::object::{LinkAddress, Neighbour, NeighbourKind, Origin, Raw};

use super::{MARK, Names, Socket, index, origin, raw};
use crate::Error;

const RTM_NEWNEIGH: u16 = 28;

/// Every entry that knows a link-layer address, and every proxy entry.
pub(crate) fn dump(socket: &mut Socket, names: &Names) -> Result<Vec<Neighbour>, Error> {
    let mut neighbours = Vec::new();
    for flags in [NeighbourFlags::empty(), NeighbourFlags::Proxy] {
        let mut message = NeighbourMessage::default();
        message.header.flags = flags;
        for object in socket.dump("list neighbours", &RouteNetlinkMessage::GetNeighbour(message))? {
            let RouteNetlinkMessage::NewNeighbour(message) = object.message else { continue };
            neighbours.extend(
                read(&message, names).map(|n| Neighbour { raw: Raw(raw::neighbour(&object.payload)), ..n }),
            );
        }
    }
    Ok(neighbours)
}

fn read(message: &NeighbourMessage, names: &Names) -> Option<Neighbour> {
    let (mut address, mut known, mut made) = (None, None, Origin::Other(0));
    for attribute in &message.attributes {
        if let NeighbourAttribute::Destination(destination) = attribute {
            address = ip(destination);
        } else if let NeighbourAttribute::LinkLayerAddress(bytes) = attribute {
            known = Some(LinkAddress(bytes.clone()));
        } else if let NeighbourAttribute::Protocol(protocol) = attribute {
            made = origin(*protocol);
        }
    }
    let kind = if message.header.flags.contains(NeighbourFlags::Proxy) {
        NeighbourKind::Proxy
    } else {
        match message.header.state {
            NeighbourState::Permanent => NeighbourKind::Permanent(known?),
            NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe => NeighbourKind::Learnt(known?),
            _ => return None,
        }
    };
    let dev = names.get(&message.header.ifindex)?.clone();
    Some(Neighbour { dev, address: address?, kind, origin: made, raw: Raw::default() })
}

fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(ip) => Some((*ip).into()),
        NeighbourAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

/// Adds an entry of ours in the place of one that was learnt, or brings a displaced one back.
pub(crate) fn add(socket: &mut Socket, neighbour: &Neighbour, names: &Names) -> Result<(), Error> {
    let what = format!("ip neigh replace {} dev {}", neighbour.address, neighbour.dev);
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    if !neighbour.raw.is_empty() && neighbour.origin != Origin::Straddle {
        return socket.replay(&what, RTM_NEWNEIGH, &neighbour.raw.0, flags);
    }
    socket.change(&what, RouteNetlinkMessage::NewNeighbour(message(neighbour, names)?), flags)
}

/// Deletes an entry.
pub(crate) fn delete(socket: &mut Socket, neighbour: &Neighbour, names: &Names) -> Result<(), Error> {
    let what = format!("ip neigh del {} dev {}", neighbour.address, neighbour.dev);
    socket.change(&what, RouteNetlinkMessage::DelNeighbour(message(neighbour, names)?), 0)
}

fn message(neighbour: &Neighbour, names: &Names) -> Result<NeighbourMessage, Error> {
    let mut message = NeighbourMessage::default();
    message.header.family =
        if neighbour.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = index(names, &neighbour.dev)?;
    message.header.state = NeighbourState::Permanent;
    let destination = match neighbour.address {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    };
    message.attributes = vec![
        NeighbourAttribute::Destination(destination),
        NeighbourAttribute::Protocol(RouteProtocol::from(MARK)),
    ];
    match neighbour.link_address() {
        Some(known) => message.attributes.push(NeighbourAttribute::LinkLayerAddress(known.0.clone())),
        None => message.header.flags = NeighbourFlags::Proxy,
    }
    Ok(message)
}
