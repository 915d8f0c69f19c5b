//! The kernel's tunnel devices. A change that leaves an attribute out resets it (`ip6gre_changelink`,
//! `ip6_tnl_changelink`), so all are sent each time.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::DefaultNla;
use netlink_packet_route::IpProtocol;
use netlink_packet_route::link::{
    GreIOFlags, InfoData, InfoGre6, InfoIpTunnel, InfoKind, Ip6TunnelFlags, LinkInfo,
};
use straddle_intent::object::{Format, Tunnel};

/// `IFLA_GRE_FLAGS`, which takes the flags of `ip6_tunnel.h`.
const IFLA_GRE_FLAGS: u16 = 13;
/// `IP6_TNL_F_IGN_ENCAP_LIMIT`: no such option is sent. The number 0 would be a limit of 0.
const NO_ENCAP_LIMIT: u32 = 0x1;
/// `IP6_TNL_F_USE_ORIG_TCLASS`.
const COPY_CLASS: u32 = 0x2;
/// The TOS of an IPv4 tunnel that copies the inner one (`iptunnel_xmit`: the lowest bit).
const INHERIT: u8 = 1;

/// Kind and data of the device.
pub(super) fn info(tunnel: &Tunnel) -> Vec<LinkInfo> {
    let (kind, data) = match tunnel.format {
        Format::Ip6gre { key } => (InfoKind::GreTun6, InfoData::GreTun6(gre6(tunnel, key))),
        Format::Ip4ip6 => (InfoKind::Ip6Tnl, InfoData::IpTunnel(ip6tnl(tunnel))),
        Format::Sit => (InfoKind::SitTun, InfoData::IpTunnel(sit(tunnel))),
    };
    vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]
}

fn flags(tunnel: &Tunnel) -> u32 {
    let limit = if tunnel.encap_limit.is_none() { NO_ENCAP_LIMIT } else { 0 };
    let class = if tunnel.copy_class { COPY_CLASS } else { 0 };
    limit | class
}

fn gre6(tunnel: &Tunnel, key: Option<u32>) -> Vec<InfoGre6> {
    let keyed = if key.is_some() { GreIOFlags::Key } else { GreIOFlags::empty() };
    let mut data = vec![
        InfoGre6::Link(0),
        InfoGre6::IFlags(keyed),
        InfoGre6::OFlags(keyed),
        InfoGre6::IKey(key.unwrap_or(0)),
        InfoGre6::OKey(key.unwrap_or(0)),
        InfoGre6::Ttl(tunnel.hop_limit),
        InfoGre6::EncapLimit(tunnel.encap_limit.unwrap_or(0)),
        InfoGre6::FlowLabel(0),
        InfoGre6::Other(DefaultNla::new(IFLA_GRE_FLAGS, flags(tunnel).to_ne_bytes().to_vec())),
    ];
    if let (IpAddr::V6(local), IpAddr::V6(remote)) = (tunnel.local, tunnel.remote) {
        data.extend([InfoGre6::Local(local), InfoGre6::Remote(remote)]);
    }
    data
}

fn ip6tnl(tunnel: &Tunnel) -> Vec<InfoIpTunnel> {
    vec![
        InfoIpTunnel::Link(0),
        InfoIpTunnel::Local(tunnel.local),
        InfoIpTunnel::Remote(tunnel.remote),
        InfoIpTunnel::Ttl(tunnel.hop_limit),
        InfoIpTunnel::EncapLimit(tunnel.encap_limit.unwrap_or(0)),
        InfoIpTunnel::FlowInfo(0),
        InfoIpTunnel::Ipv6Flags(Ip6TunnelFlags::from_bits_retain(flags(tunnel))),
        InfoIpTunnel::Protocol(IpProtocol::Ipip),
    ]
}

fn sit(tunnel: &Tunnel) -> Vec<InfoIpTunnel> {
    vec![
        InfoIpTunnel::Link(0),
        InfoIpTunnel::Local(tunnel.local),
        InfoIpTunnel::Remote(tunnel.remote),
        InfoIpTunnel::Ttl(tunnel.hop_limit),
        InfoIpTunnel::Tos(if tunnel.copy_class { INHERIT } else { 0 }),
        InfoIpTunnel::PMtuDisc(true),
        InfoIpTunnel::Ipv6SitFlags(0),
        InfoIpTunnel::Protocol(IpProtocol::Ipv6),
    ]
}

/// What a device of the kernel's is set to; none for kinds that no carrier is.
pub(super) fn read(kind: &InfoKind, data: &InfoData) -> Option<Tunnel> {
    match (kind, data) {
        (InfoKind::GreTun6, InfoData::GreTun6(data)) => Some(read_gre6(data)),
        (InfoKind::Ip6Tnl, InfoData::IpTunnel(data)) => Some(read_ip_tunnel(data, Format::Ip4ip6)),
        (InfoKind::SitTun, InfoData::IpTunnel(data)) => Some(read_ip_tunnel(data, Format::Sit)),
        _ => None,
    }
}

fn blank(format: Format) -> Tunnel {
    let nowhere = Ipv6Addr::UNSPECIFIED.into();
    Tunnel { format, local: nowhere, remote: nowhere, hop_limit: 0, copy_class: false, encap_limit: None }
}

fn read_gre6(data: &[InfoGre6]) -> Tunnel {
    let mut tunnel = blank(Format::Ip6gre { key: None });
    let (mut keyed, mut key, mut limit, mut flags) = (false, 0, 0, 0);
    for part in data {
        if let InfoGre6::IFlags(found) = part {
            keyed = found.contains(GreIOFlags::Key);
        } else if let InfoGre6::IKey(found) = part {
            key = *found;
        } else if let InfoGre6::Local(address) = part {
            tunnel.local = (*address).into();
        } else if let InfoGre6::Remote(address) = part {
            tunnel.remote = (*address).into();
        } else if let InfoGre6::Ttl(hops) = part {
            tunnel.hop_limit = *hops;
        } else if let InfoGre6::EncapLimit(found) = part {
            limit = *found;
        } else if let InfoGre6::Other(other) = part {
            flags |= gre_flags(other);
        }
    }
    tunnel.format = Format::Ip6gre { key: keyed.then_some(key) };
    apply(&mut tunnel, flags, limit);
    tunnel
}

fn gre_flags(attribute: &DefaultNla) -> u32 {
    use netlink_packet_core::Nla as _;
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    let four = value.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes));
    if attribute.kind() == IFLA_GRE_FLAGS { four.unwrap_or(0) } else { 0 }
}

fn read_ip_tunnel(data: &[InfoIpTunnel], format: Format) -> Tunnel {
    let mut tunnel = blank(format);
    let (mut limit, mut flags) = (0, NO_ENCAP_LIMIT);
    for part in data {
        if let InfoIpTunnel::Local(address) = part {
            tunnel.local = *address;
        } else if let InfoIpTunnel::Remote(address) = part {
            tunnel.remote = *address;
        } else if let InfoIpTunnel::Ttl(hops) = part {
            tunnel.hop_limit = *hops;
        } else if let InfoIpTunnel::Tos(tos) = part {
            flags |= if *tos == INHERIT { COPY_CLASS } else { 0 };
        } else if let InfoIpTunnel::EncapLimit(found) = part {
            limit = *found;
        } else if let InfoIpTunnel::Ipv6Flags(found) = part {
            flags = found.bits();
        }
    }
    apply(&mut tunnel, flags, limit);
    tunnel
}

fn apply(tunnel: &mut Tunnel, flags: u32, limit: u8) {
    tunnel.copy_class = flags & COPY_CLASS != 0;
    tunnel.encap_limit = (flags & NO_ENCAP_LIMIT == 0).then_some(limit);
}
