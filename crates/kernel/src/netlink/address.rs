use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use straddle_intent::object::{Address, Origin, Raw};
use straddle_intent::words;

use super::{MARK, Names, Socket, index, raw};
use crate::Error;

const RTM_NEWADDR: u16 = 20;
/// `IFA_F_DEPRECATED`.
const DEPRECATED: u32 = 0x20;
/// `IFA_F_TEMPORARY`, of IPv6.
const TEMPORARY: u32 = 0x01;

/// Every address, each device's in the kernel's order.
pub(crate) fn dump(socket: &mut Socket, names: &Names) -> Result<Vec<Address>, Error> {
    let found = socket.dump("list addresses", &RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let read = |object: super::Found| {
        let RouteNetlinkMessage::NewAddress(message) = object.message else { return None };
        let mut address = read(&message, names)?;
        if address.net.addr().is_ipv4() {
            address.raw = Raw(raw::address(&object.payload));
        }
        Some(address)
    };
    Ok(found.into_iter().filter_map(read).collect())
}

fn read(message: &AddressMessage, names: &Names) -> Option<Address> {
    let (mut local, mut peer, mut origin) = (None, None, Origin::Other(0));
    // The header has room for the first eight alone.
    let mut flags = u32::from(message.header.flags.bits());
    for attribute in &message.attributes {
        if let AddressAttribute::Local(address) = attribute {
            local = Some(*address);
        } else if let AddressAttribute::Address(address) = attribute {
            peer = Some(*address);
        } else if let AddressAttribute::Flags(all) = attribute {
            flags = all.bits();
        } else if let AddressAttribute::Protocol(protocol) = attribute {
            origin = if u8::from(*protocol) == MARK {
                Origin::Straddle
            } else {
                Origin::Other(u8::from(*protocol))
            };
        }
    }
    let net = IpNet::new(local.or(peer)?, message.header.prefix_len).ok()?;
    let is = |flag: u32| net.addr().is_ipv6() && flags & flag != 0;
    Some(Address {
        dev: names.get(&message.header.index)?.clone(),
        net,
        deprecated: is(DEPRECATED),
        temporary: is(TEMPORARY),
        origin,
        raw: Raw::default(),
    })
}

/// Adds an address: as the kernel once told it, or with our mark.
pub(crate) fn add(socket: &mut Socket, address: &Address, names: &Names) -> Result<(), Error> {
    let what = format!("ip addr add {}", words::address(address));
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    if !address.raw.is_empty() && address.origin != Origin::Straddle {
        return socket.replay(&what, RTM_NEWADDR, &address.raw.0, flags);
    }
    let mut message = message(address, names)?;
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
    if address.deprecated {
        let mut lifetimes = CacheInfo::default();
        (lifetimes.ifa_preferred, lifetimes.ifa_valid) = (0, u32::MAX);
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    socket.change(&what, RouteNetlinkMessage::NewAddress(message), flags)
}

/// Deletes an address.
pub(crate) fn delete(socket: &mut Socket, address: &Address, names: &Names) -> Result<(), Error> {
    let what = format!("ip addr del {}", words::address(address));
    socket.change(&what, RouteNetlinkMessage::DelAddress(message(address, names)?), 0)
}

fn message(address: &Address, names: &Names) -> Result<AddressMessage, Error> {
    let ip = address.net.addr();
    let mut message = AddressMessage::default();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.net.prefix_len();
    message.header.index = index(names, &address.dev)?;
    message.header.scope = scope(ip);
    // Nobody else is on the link of a carrier, and a tentative address can't be used at once.
    message.header.flags = if ip.is_ipv6() { AddressHeaderFlags::Nodad } else { AddressHeaderFlags::empty() };
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    Ok(message)
}

fn scope(ip: IpAddr) -> AddressScope {
    match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => AddressScope::Link,
        IpAddr::V6(_) | IpAddr::V4(_) => AddressScope::Universe,
    }
}
