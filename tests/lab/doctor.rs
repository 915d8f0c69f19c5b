//! A host that was set up by hand, with every line that looks right and is not.
//!
//! ```text
//!  inet ── vps: eth0, and in0 ── in1
//! ```

use straddle_lab::LabError;
use straddle_lab::host::Host;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{Access, Broker, Chain, Network, WorldOptions};
use straddle_lab::{Carrier, VIA6_CONFIG};

use crate::common_doctor::{cured, examined};
use crate::{Moved, exe, turn};

/// A second device, whose other end is here too.
fn inner(world: &Broker) -> Result<&Host, LabError> {
    let vps = &world.vps;
    vps.ip("link add in0 type veth peer name in1\nlink set in0 up\nlink set in1 up")?;
    Ok(vps)
}

#[test]
fn a_host_without_mistakes_has_no_trap() -> Result<(), LabError> {
    let Some(_turn) = turn("a_host_without_mistakes_has_no_trap") else { return Ok(()) };
    let world = Broker::build()?;
    for host in [&world.web, &world.inet, &world.vps, &world.box_, &world.pc] {
        assert_eq!(examined(host, exe())?.0, [""; 0], "{}", host.name());
    }
    let said = world.vps.run(&[&exe().display().to_string(), "doctor"])?;
    assert_eq!(said.stdout, "No known trap on this host.\n");
    Ok(())
}

/// The article's lines: forwarding of each interface, and an answer for the client's address.
#[test]
fn forwarding_of_two_interfaces_forwards_nothing() -> Result<(), LabError> {
    let Some(_turn) = turn("forwarding_of_two_interfaces_forwards_nothing") else { return Ok(()) };
    let world = Broker::build()?;
    let vps = inner(&world)?;
    vps.typed(&[
        "echo 1 >/proc/sys/net/ipv6/conf/eth0/forwarding",
        "echo 1 >/proc/sys/net/ipv6/conf/in0/forwarding",
        "ip -6 neigh add proxy 2001:db8:1::a3 dev eth0",
        "echo 80 >/proc/sys/net/ipv6/neigh/eth0/proxy_delay",
    ])?;
    let expected = [
        "ipv6-forwarding-of-one-device eth0",
        "ipv6-forwarding-of-one-device in0",
        "proxy-entry-unheard eth0",
        "proxy-entry-late eth0",
    ];
    cured(vps, exe(), &expected, "")
}

/// A router of IPv4 by IPv6 next hops, that answers for the world and hears no errors.
#[test]
fn what_else_is_typed_by_hand() -> Result<(), LabError> {
    let Some(_turn) = turn("what_else_is_typed_by_hand") else { return Ok(()) };
    let world = Broker::build()?;
    let vps = inner(&world)?;
    vps.typed(&[
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
        "echo 1 >/proc/sys/net/ipv4/conf/in0/proxy_arp",
        "echo 1 >/proc/sys/net/ipv4/conf/in0/rp_filter",
        "ip route add 10.0.8.0/24 via inet6 fe80::1 dev in0",
        "ip link set in1 mtu 1279",
    ])?;
    let expected =
        ["proxy-arp-for-everything in0", "errors-from-192.0.0.8-dropped in0", "mtu-below-ipv6 in1"];
    let said = vps.try_run(&[&exe().display().to_string(), "doctor"])?.stdout;
    println!("{said}");
    assert!(said.ends_with("3 traps. Nothing was changed.\n"));
    let wide = said
        .lines()
        .filter(|line| !line.contains("  cure") && !line.starts_with("        "))
        .find(|line| line.len() > 80);
    assert_eq!(wide, None);
    cured(vps, exe(), &expected, "10.0.8.42")
}

/// What we set up is in no trap ourselves.
#[test]
fn our_own_work_has_no_trap() -> Result<(), LabError> {
    let Some(_turn) = turn("our_own_work_has_no_trap") else { return Ok(()) };
    let clean = |hosts: &[&Host]| -> Result<(), LabError> {
        for host in hosts {
            assert_eq!(examined(host, exe())?.0, [""; 0], "{}", host.name());
        }
        Ok(())
    };
    let moved = Moved::new(WorldOptions::default(), Carrier::Ip6gre)?;
    clean(&[&moved.world.lender, &moved.world.borrower])?;
    drop(moved);

    let world = Broker::build()?;
    let key = world.directory().join("shed.key");
    let straddle = Straddle::within(world.directory(), exe(), &Broker::config(&key))?;
    straddle.on(&world.vps).verb(&["key", &key.display().to_string()])?;
    let running = [straddle.on(&world.vps).run()?, straddle.on(&world.box_).run()?];
    clean(&[&world.vps, &world.box_])?;
    drop((running, world));

    let world = Chain::build()?;
    let straddle = Straddle::within(world.directory(), exe(), VIA6_CONFIG)?;
    let running: Vec<_> =
        world.ours().iter().map(|host| straddle.on(host).run()).collect::<Result<_, _>>()?;
    clean(&world.ours())?;
    drop((running, world));

    let world = Access::build(Network::default())?;
    let file = "[host.vm]\nuplink = \"eth0\"\n\n[[clat]]\nhost = \"vm\"\nprefix64 = \"2001:db8:64::/96\"\n";
    let straddle = Straddle::within(world.directory(), exe(), file)?;
    let _running = straddle.on(&world.vm).run()?;
    clean(&[&world.vm])
}
