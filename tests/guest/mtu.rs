//! What the kernel itself reckons and keeps.

use straddle_encap::Kind;
use straddle_intent::object::{Link, LinkKind, Object, Tunnel};
use straddle_intent::step::Step;
use straddle_kernel::{Kernel, Live};
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{World, WorldOptions};
use straddle_lab::{Carrier, LabError};

use crate::pair::{DEVICE, KINDS, Make, lender, link, underlay};
use crate::{exe, turn};

/// The kernel's own figure for a device without an encapsulation limit, made with no MTU given.
#[test]
fn our_mtu_is_the_kernels() -> Result<(), LabError> {
    let _turn = turn();
    for underlay_mtu in [1500, 1492, 1400, 9000] {
        let world = World::build(WorldOptions::default())?;
        world.lender.ip(&format!("link set eth0 mtu {underlay_mtu}"))?;
        world.lender.ip("route replace default via 192.0.2.1")?;
        for kind in KINDS {
            let (local, remote) = underlay(kind);
            let typed = match kind {
                Kind::Ip6gre { key: None } => "ip6gre encaplimit none".to_string(),
                Kind::Ip6gre { key: Some(key) } => format!("ip6gre encaplimit none key {key}"),
                Kind::Ip4ip6 => "ip6tnl mode ipip6 encaplimit none".into(),
                Kind::Sit => "sit".into(),
            };
            let (word, options) = typed.split_once(' ').unwrap_or((&typed, ""));
            world
                .lender
                .ip(&format!("link add {DEVICE} type {word} {options} local {local} remote {remote}"))?;
            let shown = world.lender.ip_json(&format!("link show dev {DEVICE}"))?;
            let kernels = shown[0]["mtu"].as_u64().unwrap();
            let ours = u64::from(link(kind, Make::Kernel, local, remote, underlay_mtu).mtu);
            println!("{kind:?} on {underlay_mtu}: {ours}, the kernel's {kernels}");
            assert_eq!(ours, kernels, "{kind:?} on {underlay_mtu}");
            world.lender.ip(&format!("link del {DEVICE}"))?;
            let planned = planned(&world, kind)?;
            assert!(
                planned.is_none_or(|planned| planned == kernels),
                "{kind:?} on {underlay_mtu}: {planned:?}"
            );
        }
    }
    Ok(())
}

/// What `straddle plan` reckons for a carrier of this kind; none for those that no recipe has.
fn planned(world: &World, kind: Kind) -> Result<Option<u64>, LabError> {
    let carrier = match kind {
        Kind::Ip6gre { key: None } => Carrier::Ip6gre,
        Kind::Ip4ip6 => Carrier::Ip4ip6,
        Kind::Ip6gre { key: Some(_) } | Kind::Sit => return Ok(None),
    };
    let planned = Straddle::borrow(world, exe(), carrier)?.on(&world.lender).json("plan")?;
    Ok(planned["plan"]["bridges"][0]["carrier"]["mtu"]["value"].as_u64().or(Some(0)))
}

/// A device as observed is the device as wanted, and a change keeps the addresses on it.
#[test]
fn a_device_is_changed_without_losing_its_addresses() -> Result<(), LabError> {
    let _turn = turn();
    let world = World::build(WorldOptions::default())?;
    // Those that `farther` makes of the lender's own.
    world.lender.ip("address add 2001:db8:aefc::3/64 dev eth0 nodad\naddress add 192.0.2.159/24 dev eth0")?;
    for kind in KINDS {
        drop(lender(&world, kind, Make::Kernel)?);
        let (local, remote) = underlay(kind);
        let made = link(kind, Make::Kernel, local, remote, 1500);
        assert_eq!(seen(&world)?, made, "{kind:?} as made");
        let LinkKind::Tunnel(tunnel) = made.kind.clone() else { unreachable!() };
        let limit = (kind != Kind::Sit).then_some(4);
        let elsewhere = Tunnel {
            local: farther(local),
            remote: farther(remote),
            encap_limit: limit,
            hop_limit: 77,
            ..tunnel
        };
        let changed = Link { kind: LinkKind::Tunnel(elsewhere), mtu: 1400, ..made.clone() };
        for (from, to) in [(&made, &changed), (&changed, &made)] {
            let step = Step::Change { from: Object::Link(from.clone()), to: Object::Link(to.clone()) };
            world.lender.inside(|| Live::open().unwrap().execute(&step).unwrap())?;
            assert_eq!(seen(&world)?, *to, "{kind:?}");
            let held = world.lender.run(&["ip", "address", "show", "dev", DEVICE])?.stdout;
            assert!(held.contains("10.99.0.1/30") && held.contains("fd99::1/64"), "{kind:?}: {held}");
        }
        world.lender.ip(&format!("link del {DEVICE}"))?;
    }
    Ok(())
}

fn farther(address: std::net::IpAddr) -> std::net::IpAddr {
    match address {
        std::net::IpAddr::V4(v4) => std::net::Ipv4Addr::from(u32::from(v4) + 1).into(),
        std::net::IpAddr::V6(v6) => std::net::Ipv6Addr::from(u128::from(v6) + 1).into(),
    }
}

fn seen(world: &World) -> Result<Link, LabError> {
    let live = world.lender.inside(|| Live::open().unwrap().observe(&[]).unwrap())?;
    Ok(live.link(DEVICE).unwrap().clone())
}
