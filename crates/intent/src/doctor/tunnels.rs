//! Tunnel devices of the kernel that lose packets.

use crate::object::{Format, Link, LinkKind, SysctlKey, Tunnel};
use crate::snapshot::Snapshot;

use super::{Trap, links, number};

/// The least that IPv6 asks of a link (RFC 8200 section 5).
const LEAST: u32 = 1280;

fn tunnels(live: &Snapshot) -> impl Iterator<Item = (&Link, &Tunnel)> {
    links(live).filter_map(|link| match &link.kind {
        LinkKind::Tunnel(tunnel) => Some((link, tunnel)),
        LinkKind::Tun | LinkKind::Other(_) => None,
    })
}

/// The kernel keeps such a tunnel up, and sends nothing.
pub(super) fn from_nowhere(live: &Snapshot) -> Vec<Trap> {
    let lost = tunnels(live)
        .filter(|(_, tunnel)| !tunnel.local.is_unspecified() && live.holder(tunnel.local).next().is_none());
    let trap = |(link, tunnel): (&Link, &Tunnel)| Trap {
        trap: "tunnel-from-nowhere",
        device: Some(link.name.clone()),
        wrong: format!("sends from {}, which no device has: nothing leaves", tunnel.local),
        seen: format!("`ip addr` knows no {}", tunnel.local),
        cure: vec![format!(
            "ip link set {} type {} local ADDRESS    # one that this host has",
            link.name,
            tunnel.format.word()
        )],
    };
    lost.map(trap).collect()
}

/// Bytes that it adds (RFC 2473, 2784, 2890, 4213).
fn overhead(tunnel: &Tunnel) -> u32 {
    let header = match tunnel.format {
        Format::Sit => 20,
        Format::Ip4ip6 => 40,
        Format::Ip6gre { key: None } => 44,
        Format::Ip6gre { key: Some(_) } => 48,
    };
    // The option and its padding, in a header of its own.
    if tunnel.encap_limit.is_some() { header + 8 } else { header }
}

/// More than the way outside takes: what is as large as the device allows vanishes, or comes in pieces.
pub(super) fn too_large(live: &Snapshot) -> Vec<Trap> {
    let trap = |(link, tunnel): (&Link, &Tunnel)| {
        let below = live.holder(tunnel.local).find(|held| held.dev != "lo" && held.dev != link.name)?;
        let fits = live.mtu(&below.dev)?.checked_sub(overhead(tunnel))?;
        (link.mtu > fits).then(|| Trap {
            trap: "tunnel-mtu-too-large",
            device: Some(link.name.clone()),
            wrong: format!("takes packets of {} bytes, of which {fits} pass by {}", link.mtu, below.dev),
            seen: format!("{} adds {} bytes to each", tunnel.format.word(), overhead(tunnel)),
            cure: vec![format!("ip link set {} mtu {fits}", link.name)],
        })
    };
    tunnels(live).filter_map(trap).collect()
}

/// A packet near its end dies outside, where its sender never hears of it.
pub(super) fn inherited_hop_limit(live: &Snapshot) -> Vec<Trap> {
    let inherits = tunnels(live).filter(|(_, tunnel)| tunnel.hop_limit == 0);
    let trap = |(link, tunnel): (&Link, &Tunnel)| {
        let word = if tunnel.format == Format::Sit { "ttl" } else { "hoplimit" };
        Trap {
            trap: "tunnel-inherits-hop-limit",
            device: Some(link.name.clone()),
            wrong: "gives its outer packets the hop limit of the inner ones: traceroute through it shows stars, and \
                    protocols that send with 1 do not cross"
                .into(),
            seen: format!("its {word} is `inherit`"),
            cure: vec![format!("ip link set {} type {} {word} 64", link.name, tunnel.format.word())],
        }
    };
    inherits.map(trap).collect()
}

/// The kernel takes IPv6 off a device whose MTU falls below.
pub(super) fn too_small_for_ipv6(live: &Snapshot) -> Vec<Trap> {
    let small = links(live).filter(|link| {
        let off = number(live, &SysctlKey::ipv6_conf(&link.name, "disable_ipv6")).unwrap_or(0) > 0;
        let four_alone = matches!(&link.kind, LinkKind::Tunnel(Tunnel { format: Format::Ip4ip6, .. }));
        link.mtu < LEAST && !off && !four_alone && link.bridge.is_none()
    });
    let trap = |link: &Link| Trap {
        trap: "mtu-below-ipv6",
        device: Some(link.name.clone()),
        wrong: format!("has no IPv6: a link needs an MTU of {LEAST} for it"),
        seen: format!("its MTU is {}", link.mtu),
        cure: vec![format!("ip link set {} mtu {LEAST}", link.name)],
    };
    small.map(trap).collect()
}
