//! A carrier between the lender and the borrower of a world, each end of either make.
//!
//! ```text
//!  lender ─── switch ─── inet ─── borrower
//!    ╚═══════════ a carrier ═════════╝
//!  10.99.0.1, fd99::1          10.99.0.2, fd99::2
//! ```
#![allow(dead_code, reason = "each test target uses its part")]

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use straddle_encap::Kind;
use straddle_intent::object::{
    Address, Chain, Filter, FilterRule, Link, LinkKind, Match, Object, Tunnel, Verdict,
};
use straddle_intent::step::Step;
use straddle_kernel::{Kernel, Live, open_queues};
use straddle_lab::LabError;
use straddle_lab::host::Host;
use straddle_lab::world::{BORROWED, BORROWER6, LENDER6, World, WorldOptions};
use straddle_serve::carrier::{Carrier, Serving};

pub(crate) const DEVICE: &str = "st-test";
pub(crate) const KINDS: [Kind; 4] =
    [Kind::Ip6gre { key: None }, Kind::Ip6gre { key: Some(7) }, Kind::Ip4ip6, Kind::Sit];

/// The two makes of a carrier's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Kernel,
    Tun,
}

/// One end; a tun end is served as long as this lives.
pub(crate) struct End(Option<Serving>);

impl End {
    pub(crate) fn drops(&self) -> Vec<(&'static str, u64)> {
        self.0.as_ref().map(|serving| serving.report().remove(0).drops).unwrap_or_default()
    }

    pub(crate) fn serving(&self) -> &Serving {
        self.0.as_ref().unwrap()
    }
}

pub(crate) struct Pair {
    pub(crate) lender: End,
    pub(crate) borrower: End,
}

impl Pair {
    /// Both ends in tun.
    pub(crate) fn between(world: &World, kind: Kind, borrower_kind: Kind) -> Result<Pair, LabError> {
        Ok(Pair {
            lender: lender(world, kind, Make::Tun)?,
            borrower: borrower(world, borrower_kind, Make::Tun)?,
        })
    }
}

pub(crate) fn lender(world: &World, kind: Kind, make: Make) -> Result<End, LabError> {
    let (here, there) = underlay(kind);
    world.lender.inside(|| end(kind, make, here, there, 1))
}

pub(crate) fn borrower(world: &World, kind: Kind, make: Make) -> Result<End, LabError> {
    let (there, here) = underlay(kind);
    world.borrower.inside(|| end(kind, make, here, there, 2))
}

/// The outer addresses of lender and borrower.
pub(crate) fn underlay(kind: Kind) -> (IpAddr, IpAddr) {
    match kind {
        Kind::Sit => (BORROWED.into(), BORROWER4.into()),
        Kind::Ip6gre { .. } | Kind::Ip4ip6 => (LENDER6.into(), BORROWER6.into()),
    }
}

/// An IPv4 address for the borrower, as carriers over IPv4 need one.
pub(crate) const BORROWER4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

pub(crate) fn world(options: WorldOptions) -> Result<World, LabError> {
    let world = World::build(options)?;
    world.inet.ip("address add 203.0.113.1/24 dev borrower")?;
    world.borrower.ip("address add 203.0.113.9/24 dev eth0\nroute add default via 203.0.113.1")?;
    Ok(world)
}

/// The device of an end, as the kernel crate makes it.
pub(crate) fn link(kind: Kind, make: Make, local: IpAddr, remote: IpAddr, underlay: u32) -> Link {
    let tunnel =
        Tunnel { format: kind.into(), local, remote, hop_limit: 64, copy_class: true, encap_limit: None };
    let link = match make {
        Make::Kernel => LinkKind::Tunnel(tunnel),
        Make::Tun => LinkKind::Tun,
    };
    let mtu = underlay - u32::from(kind.overhead());
    Link { name: DEVICE.into(), kind: link, mtu, up: true, bridge: Some("test".into()) }
}

fn end(kind: Kind, make: Make, local: IpAddr, remote: IpAddr, number: u8) -> End {
    let mut kernel = Live::open().unwrap();
    let link = link(kind, make, local, remote, 1500);
    let mtu = u16::try_from(link.mtu).unwrap();
    kernel.execute(&Step::Create(Object::Link(link))).unwrap();
    for net in [format!("10.99.0.{number}/30"), format!("fd99::{number}/64")] {
        let net: IpNet = net.parse().unwrap();
        // The kernel's ip6tnl of mode ipip6 takes IPv4 alone, its sit IPv6 alone; an address does not mind.
        let address = Address::ours(DEVICE, net);
        kernel.execute(&Step::Create(Object::Address(address))).unwrap();
    }
    match make {
        Make::Kernel => End(None),
        Make::Tun => {
            kernel.execute(&Step::Create(Object::Filter(quiet(kind, remote)))).unwrap();
            let queues = open_queues(DEVICE, 2).unwrap();
            let (bridge, queues) = ("test".into(), std::sync::Arc::new(queues));
            let carrier =
                Carrier { bridge, kind, local, remote, mtu, inner6: None, owned: Vec::new(), queues };
            End(Some(Serving::begin(vec![carrier]).unwrap()))
        }
    }
}

/// As a plan has it for a tun end.
fn quiet(kind: Kind, remote: IpAddr) -> Filter {
    let protocol = kind.protocol();
    let about = match remote {
        IpAddr::V6(remote) => vec![
            vec![Match::Destination6(remote), Match::UnreachableAbout(protocol)],
            vec![Match::Destination6(remote), Match::UnreachableBehindOptions(protocol)],
        ],
        IpAddr::V4(remote) => vec![vec![Match::Destination(remote), Match::UnreachableAbout4(protocol)]],
    };
    let rule =
        |matches| FilterRule { bridge: "test".into(), chain: Chain::Output, matches, verdict: Verdict::Drop };
    Filter { rules: about.into_iter().map(rule).collect() }
}

pub(crate) fn clear(world: &World) -> Result<(), LabError> {
    for host in [&world.lender, &world.borrower] {
        host.ip(&format!("link del {DEVICE}"))?;
    }
    Ok(())
}

/// How many pings are sent. After the last one, ping waits no longer than their interval where it has seen
/// quick answers: a tenth of a second is much even for an emulated machine.
pub(crate) const PINGS: u64 = 3;

/// Whether pings of this many bytes of payload are answered, unfragmented.
pub(crate) fn answered(host: &Host, target: &str, size: usize) -> Result<bool, LabError> {
    pinged(host, target, size, &["-M", "do"])
}

/// Whether pings with these options are answered.
pub(crate) fn pinged(host: &Host, target: &str, size: usize, options: &[&str]) -> Result<bool, LabError> {
    let size = size.to_string();
    let words = [&["ping", "-n", "-q", "-c", "3", "-i", "0.1", "-W", "2", "-s", &size], options, &[target]];
    Ok(host.try_run(&words.concat())?.stdout.contains(&format!(" {PINGS} received")))
}

/// Whether one ping of this many bytes of payload can't go, and its sender is told the MTU.
pub(crate) fn refused(host: &Host, target: &str, size: usize) -> Result<bool, LabError> {
    let size = size.to_string();
    let words = ["ping", "-n", "-c", "1", "-W", "0.2", "-M", "do", "-s", &size, target];
    let said = host.try_run(&words)?;
    Ok(!said.status.success() && (said.stdout + &said.stderr).contains("mtu"))
}
