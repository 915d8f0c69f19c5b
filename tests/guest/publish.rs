//! A server at home at a VPS's address: with carriers of the kernel's own, and with either end typed by hand as
//! people type it today.

use std::time::Duration;

use straddle_lab::host::Host;
use straddle_lab::probe::{Kind, exchange, ping, stream};
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::DsLite;
use straddle_lab::{LabError, PublishOptions, PublishVariant, publish, wait};

use crate::{exe, turn};

fn published(variant: PublishVariant) -> Result<(), LabError> {
    let _turn = turn();
    let options = PublishOptions { variant, ..PublishOptions::default() };
    let report = publish(&options, exe(), &mut |what| println!("... {what}"))?;
    println!("{report}");
    assert!(report.ok(), "a check failed, see above");
    let wanted = "`up` alone is enough: no process stays";
    assert!(report.checks.iter().any(|check| check.name == wanted), "the check `{wanted}` was not made");
    Ok(())
}

#[test]
fn a_whole_address_by_the_kernels_ip4ip6_with_up_alone() -> Result<(), LabError> {
    published(PublishVariant::Address)
}

#[test]
fn ports_by_the_kernels_ip4ip6_with_up_alone() -> Result<(), LabError> {
    published(PublishVariant::Ports)
}

/// The VPS's lines, as they stand in the recipe; `LIMIT` is nothing or `encaplimit none`.
const VPS: [&str; 7] = [
    "ip -6 addr add 2001:db8:6ef9:0:203:0:113:144/128 dev eth0 nodad preferred_lft 0",
    "ip -6 tunnel add wrap1 mode ipip6 remote 2001:db8:b0a8:fdd2:203:0:113:144 \
     local 2001:db8:6ef9:0:203:0:113:144 dev eth0 LIMIT",
    "ip link set wrap1 up",
    "echo 1 >/proc/sys/net/ipv4/ip_forward",
    "ip -4 route add 192.168.1.0/24 dev wrap1",
    "iptables -t nat -A PREROUTING -i eth0 -j DNAT --to 192.168.1.210",
    "iptables -t nat -A POSTROUTING -o eth0 -j SNAT --to 203.0.113.144",
];

/// The home's.
const HOME: [&str; 5] = [
    "ip -6 addr add 2001:db8:b0a8:fdd2:203:0:113:144/128 dev wan0 nodad preferred_lft 0",
    "ip -6 tunnel add wrap1 mode ipip6 remote 2001:db8:6ef9:0:203:0:113:144 \
     local 2001:db8:b0a8:fdd2:203:0:113:144 dev wan0 LIMIT",
    "ip link set wrap1 up",
    "ip rule add from 192.168.1.210/32 table 42",
    "ip route add default dev wrap1 table 42",
];

/// iproute2's default encapsulation limit (RFC 2473 §4.1.1), 8 bytes in each packet; and none.
const LIMITS: [&str; 2] = ["", "encaplimit none"];

/// Everything that crosses, both ways, each end with the address that it has to see of the other.
fn crosses(world: &DsLite, what: &str) -> Result<(), LabError> {
    let (client, first) = (&world.client, &world.first);
    let ways =
        [(client, first, DsLite::PUBLIC, DsLite::CLIENT), (first, client, DsLite::CLIENT, DsLite::PUBLIC)];
    for (from, to, target, source) in ways {
        let way = format!("{what}, from {}", from.name());
        assert!(ping(from, target.into(), 10)?.received >= 9, "{way}: ping");
        let tcp = stream(from, to, target.into())?;
        assert_eq!(tcp.map(|tcp| tcp.seen_by_server), Some(source.into()), "{way}: TCP");
        for (kind, size) in [(Kind::Udp, 100), (Kind::Udp, 8192), (Kind::Protocol(253), 100)] {
            let words = format!("{way}: {kind:?} of {size} bytes to arrive");
            // The first that is too large for the path is lost, and tells.
            let seen = wait::until(&words, PATIENCE, || {
                exchange(from, to, target, kind, size).ok()?.seen_by_server
            })?;
            assert_eq!(seen, std::net::IpAddr::from(source), "{words}");
        }
        let carried = straddle_lab::probe::transfer(from, to, target.into(), 1_000_000)?;
        assert!(carried.is_some(), "{way}: 1 MB by TCP");
    }
    Ok(())
}

/// One end typed by hand, the other by Straddle; `down` there leaves nothing.
fn with_one_typed(
    typed_on: fn(&DsLite) -> &Host,
    lines: &[&str],
    ours: fn(&DsLite) -> &Host,
) -> Result<(), LabError> {
    let _turn = turn();
    for limit in LIMITS {
        let world = DsLite::build()?;
        let host = ours(&world);
        let lines: Vec<String> = lines.iter().map(|line| line.replace("LIMIT", limit)).collect();
        typed_on(&world).typed(&lines.iter().map(String::as_str).collect::<Vec<_>>())?;
        let state = HostState::read(host)?;
        let straddle = Straddle::within(world.directory(), exe(), &PublishVariant::Address.config())?;
        straddle.on(host).up()?;
        let what = format!("{} typed by hand, limit {limit:?}", typed_on(&world).name());
        crosses(&world, &what)?;
        let status = straddle.on(host).json("status")?;
        assert_eq!(status["well"], true, "{what}: {status}");
        for way in ["packets_in", "packets_out"] {
            assert!(status["bridges"][0]["counters"][way].as_u64() > Some(20), "{what}: {status}");
        }
        straddle.on(host).down()?;
        let changes = state.difference(&HostState::read(host)?);
        assert!(changes.is_empty(), "{what}: {}", changes.join("\n"));
    }
    Ok(())
}

#[test]
fn a_vps_typed_by_hand() -> Result<(), LabError> {
    with_one_typed(|world| &world.vps, &VPS, |world| &world.router)
}

#[test]
fn a_home_typed_by_hand() -> Result<(), LabError> {
    with_one_typed(|world| &world.router, &HOME, |world| &world.vps)
}

const PATIENCE: Duration = Duration::from_secs(10);
