//! Uplinks of other kinds than a network card's: the fast path leaves by them and comes in by them.
//!
//! ```text
//!  client ── inet ══ up0 above the cable ══ borrower        client ── inet ══ up0 ══ gate ── core ── server
//!              └──── switch ──── lender
//! ```

use std::fs;
use std::path::Path;

use straddle_lab::host::Host;
use straddle_lab::probe::{ping, transfer};
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{BORROWED, CLIENT, DataCentre, World, WorldOptions};
use straddle_lab::{Carrier, LabError, Peer, SIIT_CONFIG};

use crate::fast::{MUCH, by_tun, carried, went};
use crate::{exe, turn};

/// What a device is that stands above a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Uplink {
    Vlan,
    /// With the cable as its only port.
    Bridge,
    /// Without a link header.
    Wireguard,
    /// IPv4 and IPv6 in IPv6 by the kernel's own device, without a link header.
    Ip6tnl,
}

const UPLINKS: [Uplink; 4] = [Uplink::Vlan, Uplink::Bridge, Uplink::Wireguard, Uplink::Ip6tnl];

/// A host and its end of the cable.
type End<'a> = (&'a Host, &'a str);

impl Uplink {
    /// Makes `up0` at both ends; the addresses are still to be given.
    fn join(self, ends: [End<'_>; 2], directory: &Path) -> Result<(), LabError> {
        for (number, (host, cable)) in (1..).zip(ends) {
            let other = 3 - number;
            let below = format!("address add fd09::{number}/64 dev {cable} nodad\n");
            host.ip(&match self {
                Uplink::Vlan => format!("link add up0 link {cable} type vlan id 7"),
                Uplink::Bridge => format!("link add up0 type bridge\nlink set {cable} master up0"),
                Uplink::Wireguard => below + "link add up0 type wireguard",
                Uplink::Ip6tnl => format!(
                    "{below}link add up0 type ip6tnl mode any local fd09::{number} remote fd09::{other} encaplimit none"
                ),
            })?;
        }
        if self == Uplink::Wireguard {
            introduce(ends, directory)?;
        }
        ends.iter().try_for_each(|(host, _)| host.ip("link set up0 up"))
    }
}

/// Each end of a wireguard is told the other's key and place.
fn introduce(ends: [End<'_>; 2], directory: &Path) -> Result<(), LabError> {
    let shell = |host: &Host, line: &str| host.run(&["sh", "-c", line]).map(|output| output.stdout);
    let mut public = Vec::new();
    for (host, _) in ends {
        let file = directory.join(format!("{}.wireguard", host.name()));
        fs::write(&file, shell(host, "wg genkey")?).unwrap();
        let file = file.display();
        shell(host, &format!("wg set up0 listen-port 51820 private-key {file}"))?;
        public.push(shell(host, &format!("wg pubkey <{file}"))?.trim().to_string());
    }
    for ((host, _), (number, key)) in ends.iter().zip([2, 1].into_iter().zip(public.iter().rev())) {
        let endpoint = format!("[fd09::{number}]:51820");
        let words = ["wg", "set", "up0", "peer", key, "allowed-ips", "0.0.0.0/0,::/0", "endpoint", &endpoint];
        host.run(&words)?;
    }
    Ok(())
}

/// A world whose borrower has such an uplink, and the file for it.
fn borrowing(uplink: Uplink, carrier: Carrier) -> Result<(World, Straddle), LabError> {
    let world = World::build(WorldOptions::default())?;
    world.inet.ip("address del 2001:db8:eec0::1/64 dev borrower")?;
    world.borrower.ip("address del 2001:db8:eec0::2/64 dev eth0")?;
    uplink.join([(&world.inet, "borrower"), (&world.borrower, "eth0")], world.directory())?;
    world.inet.ip("address add 2001:db8:eec0::1/64 dev up0 nodad")?;
    world.borrower.ip("
        address add 2001:db8:eec0::2/64 dev up0 nodad
        route replace default via 2001:db8:eec0::1 dev up0
    ")?;
    let text = by_tun(carrier, "auto");
    let (lender, borrower) = text.split_once("[host.borrower]\n").unwrap();
    let borrower = borrower.replacen("\"eth0\"", "\"up0\"\nmtu = 1400", 1);
    let straddle = Straddle::with_config(&world, exe(), &format!("{lender}[host.borrower]\n{borrower}"))?;
    Ok((world, straddle))
}

#[test]
fn carriers_leave_by_uplinks_of_every_kind() -> Result<(), LabError> {
    let _turn = turn();
    for (uplink, carrier) in UPLINKS.into_iter().zip([Carrier::Ip6gre, Carrier::Ip4ip6].into_iter().cycle()) {
        println!("... {uplink:?}, {carrier}");
        let (world, straddle) = borrowing(uplink, carrier)?;
        let running = straddle.up_on(&[&world.lender, &world.borrower])?;
        let there = transfer(&world.client, &world.borrower, BORROWED.into(), MUCH)?;
        let back = transfer(&world.borrower, &world.client, CLIENT.into(), MUCH)?;
        assert!(there.is_some() && back.is_some(), "{uplink:?}: {there:?}, {back:?}");
        let [outward, inward] = carried(&straddle.on(&world.borrower))?;
        println!("{uplink:?}: out {outward:?}, in {inward:?}");
        outward.is_fast(&format!("{uplink:?}, outward"));
        inward.is_fast(&format!("{uplink:?}, inward"));
        straddle.down_on(&[&world.lender, &world.borrower], running)?;
    }
    Ok(())
}

/// A world whose gate has such an uplink, and the file for it.
fn translating(uplink: Uplink) -> Result<(DataCentre, Straddle), LabError> {
    let world = DataCentre::build(Peer::Tayga)?;
    world.inet.ip("address del 192.0.2.1/24 dev gate")?;
    world.gate.ip("address del 192.0.2.2/24 dev eth0")?;
    uplink.join([(&world.inet, "gate"), (&world.gate, "eth0")], world.directory())?;
    world.inet.ip("address add 192.0.2.1/24 dev up0\nroute add 203.0.113.0/24 via 192.0.2.2")?;
    world.gate.ip("address add 192.0.2.2/24 dev up0\nroute add 198.51.100.0/24 via 192.0.2.1")?;
    let text = SIIT_CONFIG.replacen("\"eth0\"", "\"up0\"", 1) + "fast-path = \"require\"\n";
    let straddle = Straddle::within(world.directory(), exe(), &text)?;
    Ok((world, straddle))
}

#[test]
fn translators_have_uplinks_of_every_kind() -> Result<(), LabError> {
    let _turn = turn();
    for uplink in UPLINKS {
        let (world, straddle) = translating(uplink)?;
        let running = straddle.up_on(&[&world.gate])?;
        let there = transfer(&world.client, &world.server, DataCentre::SERVER.into(), MUCH)?;
        let client = DataCentre::embedded(DataCentre::CLIENT);
        let back = transfer(&world.server, &world.client, client.into(), MUCH)?;
        assert!(there.is_some() && back.is_some(), "{uplink:?}: {there:?}, {back:?}");
        for way in ["to4", "to6"] {
            let went = went(&straddle.on(&world.gate), way, &[way, "packets"])?;
            println!("{uplink:?}: {way} {went:?}");
            went.is_fast(&format!("{uplink:?}, {way}"));
        }
        straddle.down_on(&[&world.gate], running)?;
    }
    Ok(())
}

/// A packet's time of arrival, which the kernel notes as long as somebody asks for such (ping does), is no time of
/// departure: the queue would hold the packet up, or drop it.
#[test]
fn a_queue_that_departs_by_time_holds_nothing_up() -> Result<(), LabError> {
    let _turn = turn();
    let fair = |host: &Host, dev: &str| host.run(&["tc", "qdisc", "replace", "dev", dev, "root", "fq"]);
    let prompt = |from: &Host, target: std::net::IpAddr| -> Result<(), LabError> {
        let answered = ping(from, target, 100)?;
        println!("{target}: {answered:?}");
        let [_, _, longest] = answered.rtt_ms.unwrap_or([f64::INFINITY; 3]);
        assert!(answered.complete() && longest < 400.0, "{target}: {answered:?}");
        Ok(())
    };
    let (world, straddle) = borrowing(Uplink::Vlan, Carrier::Ip6gre)?;
    for (host, dev) in [(&world.lender, "eth0"), (&world.borrower, "up0"), (&world.borrower, "eth0")] {
        fair(host, dev)?;
    }
    let running = straddle.up_on(&[&world.lender, &world.borrower])?;
    prompt(&world.client, BORROWED.into())?;
    prompt(&world.borrower, CLIENT.into())?;
    assert!(transfer(&world.borrower, &world.client, CLIENT.into(), MUCH)?.is_some());
    let [outward, _] = carried(&straddle.on(&world.borrower))?;
    outward.is_fast("outward");
    straddle.down_on(&[&world.lender, &world.borrower], running)?;
    drop(world);

    let (world, straddle) = translating(Uplink::Vlan)?;
    ["up0", "eth0", "dc"].iter().try_for_each(|dev| fair(&world.gate, dev).map(drop))?;
    let running = straddle.up_on(&[&world.gate])?;
    prompt(&world.client, DataCentre::SERVER.into())?;
    prompt(&world.server, DataCentre::embedded(DataCentre::CLIENT).into())?;
    straddle.down_on(&[&world.gate], running)
}
