//! The fast path on the guest's kernel, with what that lacks. To decapsulate, Linux 6.1 has no flag for the inner header (since
//! 6.3), so the outer one is turned into one of its version beforehand; and programs behind uplinks stand at a `clsact`
//! qdisc, since there is no tcx hook (since 6.6).

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use serde_json::Value;
use straddle_intent::object::{Client, Ends, Peers, Tables};
use straddle_kernel::fast::Loaded;
use straddle_lab::probe::transfer;
use straddle_lab::state::HostState;
use straddle_lab::straddle::{Installed, Straddle};
use straddle_lab::world::{BORROWED, CLIENT, DataCentre, World, WorldOptions};
use straddle_lab::{Carrier, LabError, Peer, SIIT_CONFIG, wait};
use straddle_xlat::Config;
use straddle_xlat::eam::{Mapping, Table};

use crate::{exe, turn};

/// Bytes of a transfer; some two thousand packets.
pub(crate) const MUCH: usize = 3_000_000;

/// What went one way: the packets that went fast, and those that went slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Went {
    pub(crate) fast: u64,
    pub(crate) slow: u64,
}

impl Went {
    #[track_caller]
    pub(crate) fn is_fast(self, what: &str) {
        assert!(self.fast > 100 && self.fast > 20 * self.slow, "{what}: {self:?}");
    }
}

/// What `status` has counted of the first bridge, by the words for a way in the counters of either path.
pub(crate) fn went(host: &Installed<'_>, fast: &str, slow: &[&str]) -> Result<Went, LabError> {
    // A machine that is busy may keep `run` from answering in time.
    let status = wait::until("the counters of run", Duration::from_secs(20), || {
        let output = host.try_verb(&["status", "--json"]).ok()?;
        let status: Value = serde_json::from_str(&output.stdout).ok()?;
        (!status["bridges"][0]["counters"].is_null()).then_some(status)
    })?;
    let bridge = &status["bridges"][0];
    assert_eq!(bridge["fast"]["lost"].as_u64().unwrap_or(0), 0, "{status}");
    let slow = slow.iter().fold(&bridge["counters"], |value, word| &value[word]);
    let packets = slow.as_u64().unwrap_or_else(|| panic!("no such counter: {status}"));
    Ok(Went { fast: bridge["fast"][fast]["packets"].as_u64().unwrap_or(0), slow: packets })
}

/// What a carrier has sent, and what it was sent.
pub(crate) fn carried(host: &Installed<'_>) -> Result<[Went; 2], LabError> {
    Ok([went(host, "outward", &["packets_out"])?, went(host, "inward", &["packets_in"])?])
}

/// A borrow by tun carriers, with this word for the fast path.
pub(crate) fn by_tun(carrier: Carrier, fast_path: &str) -> String {
    let path = format!("fast-path = \"{fast_path}\"\n");
    straddle_lab::straddle::config(carrier, fast_path)
        .replace(&path, &format!("{path}carrier-backend = \"tun\"\n"))
}

/// Networks of each length there is, each of its own.
fn of_every_length() -> Vec<Ipv6Net> {
    let net = |length| Ipv6Net::new(Ipv6Addr::from_bits(u128::MAX >> 3), length).unwrap().trunc();
    (0..=128).map(net).collect()
}

/// The verifier walks through one look-up after the other.
#[test]
fn tables_of_every_length_are_taken() {
    let _turn = turn();
    let mapping = |v6: Ipv6Net| {
        let number = v6.prefix_len();
        let length = (8 + number % 25).max(number.saturating_sub(96));
        let v4 = Ipv4Net::new([1 + number, 0, 0, 0].into(), length).unwrap();
        Mapping { v6, v4 }
    };
    let mappings: Vec<Mapping> = of_every_length().into_iter().map(mapping).collect();
    let config = Config { eam: Table::new(&mappings).unwrap(), ..Config::default() };
    Loaded::new(&Tables::new(&config), 0).unwrap_or_else(|error| panic!("{error}"));
    let client = Client { remote: [192, 0, 2, 2].into(), mtu: 1400, owned: of_every_length() };
    let ends = Ends { peers: Peers::Clients(vec![client]), ..Ends::shared_example() };
    Loaded::outward(&ends, 0).unwrap_or_else(|error| panic!("{error}"));
    Loaded::inward(&ends, 1, "").unwrap_or_else(|error| panic!("{error}"));
}

/// Much between the client and the borrower, to and from.
fn much(world: &World) -> Result<(), LabError> {
    for (from, to, target) in
        [(&world.client, &world.borrower, BORROWED), (&world.borrower, &world.client, CLIENT)]
    {
        let sent = transfer(from, to, target.into(), MUCH)?;
        assert!(sent.is_some(), "from {} to {}", from.name(), to.name());
    }
    Ok(())
}

#[test]
fn carriers_go_as_fast_as_the_kernel_can() -> Result<(), LabError> {
    let _turn = turn();
    for carrier in [Carrier::Ip6gre, Carrier::Ip4ip6] {
        let world = World::build(WorldOptions::default())?;
        let straddle = Straddle::with_config(&world, exe(), &by_tun(carrier, "auto"))?;
        let (lender, borrower) = (straddle.on(&world.lender), straddle.on(&world.borrower));
        let slow = lender.json("plan")?["plan"]["bridges"][0]["carrier"]["slow"].clone();
        assert_eq!(slow["outward"], Value::Null, "{slow}");
        let running = straddle.up_on(&[&world.lender, &world.borrower])?;
        much(&world)?;
        for host in [&lender, &borrower] {
            let [outward, inward] = carried(host)?;
            outward.is_fast("outward");
            inward.is_fast("inward");
            println!("{carrier}: out {outward:?}, in {inward:?}");
        }
        straddle.down_on(&[&world.lender, &world.borrower], running)?;
    }
    Ok(())
}

#[test]
fn a_lenders_packets_go_past_its_device_and_leave_nothing_behind() -> Result<(), LabError> {
    let _turn = turn();
    for carrier in [Carrier::Ip6gre, Carrier::Ip4ip6] {
        let world = World::build(WorldOptions::default())?;
        let state = HostState::read(&world.lender)?;
        // The kernel has a device of its own, which is not taken: nothing goes past that.
        let text = straddle_lab::straddle::config(carrier, "auto") + "direct = true\n";
        let straddle = Straddle::with_config(&world, exe(), &text)?;
        let lender = straddle.on(&world.lender);
        let running = straddle.up_on(&[&world.lender, &world.borrower])?;
        much(&world)?;
        let [outward, inward] = carried(&lender)?;
        let status: Value = serde_json::from_str(&lender.try_verb(&["status", "--json"])?.stdout).unwrap();
        let direct = &status["bridges"][0]["fast"]["direct"];
        for (way, all) in [("outward", outward), ("inward", inward)] {
            let fast = direct[way]["packets"].as_u64().unwrap();
            let went = Went { fast, slow: all.fast + all.slow - fast };
            println!("{carrier}: {way}: {went:?}");
            went.is_fast(way);
        }
        straddle.down_on(&[&world.lender, &world.borrower], running)?;
        let changes = state.difference(&HostState::read(&world.lender)?);
        assert!(changes.is_empty(), "{}", changes.join("\n"));
    }
    Ok(())
}

#[test]
fn a_translator_is_as_fast_as_anywhere() -> Result<(), LabError> {
    let _turn = turn();
    let world = DataCentre::build(Peer::Tayga)?;
    let text = format!("{SIIT_CONFIG}fast-path = \"require\"\n");
    let straddle = Straddle::within(world.directory(), exe(), &text)?;
    let running = straddle.up_on(&[&world.gate])?;
    let back = DataCentre::embedded(DataCentre::CLIENT);
    assert!(transfer(&world.client, &world.server, DataCentre::SERVER.into(), MUCH)?.is_some());
    assert!(transfer(&world.server, &world.client, back.into(), MUCH)?.is_some());
    for way in ["to4", "to6"] {
        let went = went(&straddle.on(&world.gate), way, &[way, "packets"])?;
        went.is_fast(way);
        println!("{way}: {went:?}");
    }
    straddle.down_on(&[&world.gate], running)
}

/// What `status` has counted of the first bridge: what went past the device, and what did not.
fn past(host: &Installed<'_>) -> Result<Went, LabError> {
    let [to4, to6] = ["to4", "to6"].map(|way| went(host, way, &[way, "packets"]));
    let status: Value = serde_json::from_str(&host.try_verb(&["status", "--json"])?.stdout).unwrap();
    let packets = |dev: &str, way: &str| status["bridges"][0]["direct"][dev][way]["packets"].as_u64();
    let direct =
        ["eth0", "dc"].iter().flat_map(|dev| ["to4", "to6"].map(|way| packets(dev, way).unwrap_or(0)));
    let through = [to4?, to6?].iter().map(|went| went.fast + went.slow).sum();
    Ok(Went { fast: direct.sum(), slow: through })
}

#[test]
fn packets_go_past_the_device_and_leave_nothing_behind() -> Result<(), LabError> {
    let _turn = turn();
    let world = DataCentre::build(Peer::Tayga)?;
    let back = DataCentre::embedded(DataCentre::CLIENT);
    let text = format!("{SIIT_CONFIG}fast-path = \"require\"\ndirect = [\"eth0\", \"dc\"]\n");
    let straddle = Straddle::within(world.directory(), exe(), &text)?;
    let gate = straddle.on(&world.gate);
    // Without a qdisc, and with one that somebody has filters at.
    for others in [false, true] {
        if others {
            world.gate.run(&["tc", "qdisc", "add", "dev", "eth0", "clsact"])?;
            let filter = "tc filter add dev eth0 ingress protocol all matchall action continue";
            world.gate.run(&filter.split(' ').collect::<Vec<_>>())?;
        }
        let state = HostState::read(&world.gate)?;
        let running = straddle.up_on(&[&world.gate])?;
        for (from, to, target) in [
            (&world.client, &world.server, DataCentre::SERVER.into()),
            (&world.server, &world.client, back.into()),
        ] {
            assert!(transfer(from, to, target, MUCH)?.is_some(), "to {target}");
        }
        let went = past(&gate)?;
        println!("directly: {went:?}\n{}", gate.try_verb(&["status"])?.stdout);
        went.is_fast("past the device");
        // Other tables in its place.
        Straddle::within(world.directory(), exe(), &(text.clone() + "traffic-class = 0xb8\n"))?;
        gate.up()?;
        assert!(past(&gate)?.fast >= went.fast, "what was counted is kept");
        Straddle::within(world.directory(), exe(), &text)?;
        straddle.down_on(&[&world.gate], running)?;
        let changes = state.difference(&HostState::read(&world.gate)?);
        assert!(changes.is_empty(), "{}", changes.join("\n"));
    }
    Ok(())
}
