//! The cables of the world and the addresses at their ends.

use std::process::Command;
use std::time::Duration;

use super::{Routers, World, WorldOptions};
use crate::LabError;
use crate::command::run;
use crate::host::Host;
use crate::tools;

/// Lays every cable, gives every address, switches forwarding on.
pub(super) fn lay(world: &World, options: WorldOptions) -> Result<(), LabError> {
    for host in world.hosts() {
        plain(host)?;
    }
    for router in world.routers() {
        forwards(router)?;
    }
    let mtu = options.middle_mtu.unwrap_or(1500);
    match options.routers {
        Routers::One => one_router(world, mtu)?,
        Routers::Two => two_routers(world, mtu)?,
    }
    hoster(world)?;
    ends(world)
}

/// The machine hands its own IPv4 settings down to a namespace, and they are not the world's.
pub(super) fn plain(host: &Host) -> Result<(), LabError> {
    host.sysctl("net/ipv4/ip_forward", "0")?;
    host.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
    host.sysctl("net/ipv4/conf/default/rp_filter", "0")?;
    // Addresses are usable at once, and nothing waits for duplicates that cannot exist.
    host.sysctl("net/ipv6/conf/all/accept_dad", "0")?;
    host.sysctl("net/ipv6/conf/default/accept_dad", "0")
}

/// Every probe is told what became of it, however many there were before.
pub(super) fn outspoken(host: &Host) -> Result<(), LabError> {
    host.sysctl("net/ipv4/icmp_ratelimit", "0")?;
    host.sysctl("net/ipv6/icmp/ratelimit", "0")
}

pub(super) fn forwards(router: &Host) -> Result<(), LabError> {
    router.sysctl("net/ipv4/ip_forward", "1")?;
    router.sysctl("net/ipv6/conf/all/forwarding", "1")
}

fn one_router(world: &World, mtu: u16) -> Result<(), LabError> {
    cable((&world.client, "eth0", 0x0a), (&world.inet, "client", 0x1a), 1500)?;
    cable((&world.borrower, "eth0", 0x0e), (&world.inet, "borrower", 0x1e), mtu)?;
    world.inet.ip("
        address add 198.51.100.1/24 dev client
        address add 2001:db8:c11::1/64 dev client nodad
        address add 2001:db8:eec0::1/64 dev borrower nodad
    ")
}

fn two_routers(world: &World, mtu: u16) -> Result<(), LabError> {
    let [near, far] = world.more.as_slice() else {
        return Err(LabError::Guard("a world with two routers has both".into()));
    };
    cable((&world.client, "eth0", 0x0a), (near, "client", 0x1a), 1500)?;
    cable((near, "inet", 0x2a), (&world.inet, "near", 0x3a), 1500)?;
    cable((&world.borrower, "eth0", 0x0e), (far, "borrower", 0x1e), 1500)?;
    cable((far, "inet", 0x2e), (&world.inet, "far", 0x3e), mtu)?;
    near.ip("
        address add 198.51.100.1/24 dev client
        address add 2001:db8:c11::1/64 dev client nodad
        address add 203.0.113.2/24 dev inet
        address add 2001:db8:2::2/64 dev inet nodad
        route add default via 203.0.113.1
        route add default via 2001:db8:2::1
    ")?;
    far.ip("
        address add 2001:db8:eec0::1/64 dev borrower nodad
        address add 2001:db8:3::2/64 dev inet nodad
        route add default via 2001:db8:3::1
    ")?;
    world.inet.ip("
        address add 203.0.113.1/24 dev near
        address add 2001:db8:2::1/64 dev near nodad
        address add 2001:db8:3::1/64 dev far nodad
        route add 198.51.100.0/24 via 203.0.113.2
        route add 2001:db8:c11::/64 via 2001:db8:2::2
        route add 2001:db8:eec0::/64 via 2001:db8:3::2
    ")
}

/// Bridges are no firewalls of frames: where `br_netfilter` is loaded on the machine, it is not meant here.
pub(super) fn bridge_alone(host: &Host) -> Result<(), LabError> {
    let keys = ["net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0"];
    host.run(&[&["sysctl", "-q", "-e", "-w"], &keys[..]].concat()).map(drop)
}

fn hoster(world: &World) -> Result<(), LabError> {
    let switch = world.switch.host();
    bridge_alone(switch)?;
    cable((&world.lender, "eth0", 0x02), (switch, "lender", 0x12), 1500)?;
    cable((&world.inet, "hoster", 0x01), (switch, "router", 0x11), 1500)?;
    switch.ip("
        link add br0 type bridge
        link set lender master br0
        link set router master br0
        link set br0 up
    ")?;
    world.inet.ip("
        address add 192.0.2.1/24 dev hoster
        address add 2001:db8:aefc::1/64 dev hoster nodad
    ")?;
    // A neighbour that does not answer is given up within half a second.
    world.inet.sysctl("net/ipv4/neigh/hoster/retrans_time_ms", "150")
}

fn ends(world: &World) -> Result<(), LabError> {
    world.client.ip("
        address add 198.51.100.10/24 dev eth0
        address add 2001:db8:c11::10/64 dev eth0 nodad
        route add default via 198.51.100.1
        route add default via 2001:db8:c11::1
    ")?;
    world.lender.ip("
        address add 192.0.2.158/24 dev eth0
        address add 2001:db8:aefc::2/64 dev eth0 nodad
        route add default via 192.0.2.1
        route add default via 2001:db8:aefc::1
    ")?;
    world.borrower.ip("
        address add 2001:db8:eec0::2/64 dev eth0 nodad
        route add default via 2001:db8:eec0::1
    ")
}

/// One end of a cable: where, the interface's name, the last byte of its link-layer address.
pub(super) type End<'a> = (&'a Host, &'a str, u8);

/// Lays a cable whose ends appear inside their namespaces, never in the machine's own.
pub(super) fn cable(one: End<'_>, other: End<'_>, mtu: u16) -> Result<(), LabError> {
    let end = |(host, name, byte): End<'_>| {
        let namespace = host.namespace();
        format!("name {name} mtu {mtu} address 02:00:00:00:00:{byte:02x} netns {namespace}")
    };
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).env("PATH", tools::path());
    let line = format!("link add {} type veth peer {}\n", end(one), end(other));
    run(command, &line, Duration::from_secs(10))?.good()?;
    for (host, name, _) in [one, other] {
        host.ip(&format!("link set lo up\nlink set {name} up"))?;
    }
    Ok(())
}
