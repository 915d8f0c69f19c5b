//! Routers that forward nothing, and routers that lose their own way.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use crate::object::{Link, LinkKind, MAIN, Origin, RouteKind, SysctlKey};
use crate::snapshot::Snapshot;

use super::{Trap, is_on, links, number, set};

/// Linux asks `all.forwarding` alone whether it forwards IPv6 (`ip6_forward`); a device's own says only whether it
/// behaves as a router there. Newer kernels have `force_forwarding` for a device.
pub(super) fn of_one_device(live: &Snapshot) -> Vec<Trap> {
    if is_on(live, &SysctlKey::ipv6_conf("all", "forwarding")) {
        return Vec::new();
    }
    let alone = links(live).filter(|link| {
        let own = |name| is_on(live, &SysctlKey::ipv6_conf(&link.name, name));
        // On devices of ours it is there for the fast path, which asks for a way as a router does.
        link.bridge.is_none() && own("forwarding") && !own("force_forwarding")
    });
    let trap = |link: &Link| {
        let forced = SysctlKey::ipv6_conf(&link.name, "force_forwarding");
        let cure = if live.sysctls.contains_key(&forced) {
            vec![set(&forced, 1)]
        } else {
            let lives_on_them = links(live).filter(|link| {
                number(live, &SysctlKey::ipv6_conf(&link.name, "accept_ra")) == Some(1)
                    && matches!(link.kind, LinkKind::Other(_))
            });
            let first = lives_on_them.map(|link| set(&SysctlKey::ipv6_conf(&link.name, "accept_ra"), 2));
            first.chain([set(&SysctlKey::ipv6_conf("all", "forwarding"), 1)]).collect()
        };
        Trap {
            trap: "ipv6-forwarding-of-one-device",
            device: Some(link.name.clone()),
            wrong: format!("forwards no IPv6, although `forwarding` of {} is 1", link.name),
            seen: "net.ipv6.conf.all.forwarding is 0, and Linux asks that one alone".into(),
            cure,
        }
    };
    alone.map(trap).collect()
}

/// A router does not listen to router advertisements (`ipv6_accept_ra`), unless told to: its default route ends
/// with its lifetime.
pub(super) fn without_advertisements(live: &Snapshot) -> Vec<Trap> {
    let everything = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));
    let deaf = links(live).filter(|link| {
        let own = |name| number(live, &SysctlKey::ipv6_conf(&link.name, name));
        own("forwarding").is_some_and(|value| value > 0) && own("accept_ra") == Some(1)
    });
    let lived = deaf.filter(|link| {
        let heard = live.routes.iter().any(|route| {
            let learnt = matches!(route.origin, Origin::Other(RA) | Origin::Kernel);
            let default = route.table == MAIN && route.dst == everything && route.kind == RouteKind::Unicast;
            default && learnt && route.leaves_by(&link.name) && matches!(route.gateway, Some(IpAddr::V6(_)))
        });
        // Its own address came by advertisement too, and leads nowhere now.
        let stranded = live
            .addresses
            .iter()
            .any(|held| held.dev == link.name && held.origin == Origin::Kernel && is_global(held.net.addr()))
            && !live.routes.iter().any(|route| route.dst == everything && route.kind == RouteKind::Unicast);
        heard || stranded
    });
    let trap = |link: &Link| {
        Trap {
        trap: "router-deaf-to-advertisements",
        device: Some(link.name.clone()),
        wrong: "is a router's device and no longer listens to router advertisements: its IPv6 default route ends \
                with its lifetime, or has ended"
            .into(),
        seen: format!("forwarding of {} is 1, its accept_ra is 1 and would have to be 2", link.name),
        cure: vec![set(&SysctlKey::ipv6_conf(&link.name, "accept_ra"), 2), format!("rdisc6 -1 {}    # or wait for the next advertisement", link.name)],
    }
    };
    lived.map(trap).collect()
}

/// `RTPROT_RA`.
const RA: u8 = 9;

fn is_global(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if !address.is_unicast_link_local() && !address.is_loopback())
}
