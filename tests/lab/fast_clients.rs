//! The fast path of a server's device that many clients share.
//!
//! ```text
//!  web ── inet ── vps       box and shed have tunnels to the vps; the shed's address changes
//!         │  │
//!        box shed
//! ```

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;
use straddle_intent::object::{Client, Ends, FastPath, Hook, Object, Peers};
use straddle_intent::step::Step;
use straddle_kernel::{Kernel as _, Live};
use straddle_lab::host::Host;
use straddle_lab::probe::ping;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Broker;
use straddle_lab::{LabError, wait};

use crate::fast::{LIMIT, while_bytes_flow};
use crate::fast_carrier::programs;
use crate::{exe, same, turn};

/// The device of all clients.
const DEVICE: &str = "st-sit_clients";
/// Clients of a large table.
const CLIENTS: u32 = 10_000;

/// A world with one file for all, in which nobody may do without the fast path.
fn world() -> Result<(Broker, Straddle), LabError> {
    let world = Broker::build()?;
    let key = world.directory().join("shed.key");
    let text =
        Broker::config(&key).replace("uplink = \"eth0\"", "uplink = \"eth0\"\nfast-path = \"require\"");
    let straddle = Straddle::within(world.directory(), exe(), &text)?;
    straddle.on(&world.vps).verb(&["key", &key.display().to_string()])?;
    Ok((world, straddle))
}

fn reached(host: &Host) -> Result<(), LabError> {
    wait::until("IPv6", LIMIT, || ping(host, Broker::WEB.into(), 1).ok().filter(|ping| ping.complete()))
        .map(drop)
}

/// What the server has carried for a client.
fn bridge(straddle: &Straddle, vps: &Host, name: &str) -> Result<Value, LabError> {
    let output = straddle.on(vps).try_verb(&["status", "--json"])?;
    let status: Value = serde_json::from_str(&output.stdout).unwrap();
    let mut found = status["bridges"].as_array().into_iter().flatten();
    Ok(found.find(|bridge| bridge["bridge"]["name"] == name).cloned().unwrap())
}

/// Packets of a client's that went fast and slow, both ways.
pub(crate) fn carried(bridge: &Value) -> (u64, u64) {
    let fast = ["outward", "inward"].iter().filter_map(|way| bridge["fast"][way]["packets"].as_u64()).sum();
    let slow = ["packets_out", "packets_in"].iter().filter_map(|way| bridge["counters"][way].as_u64()).sum();
    assert_eq!(bridge["fast"]["lost"].as_u64(), Some(0), "{bridge}");
    (fast, slow)
}

/// What the box sends from the shed's address is left to the slow path, which drops it.
fn stolen(world: &Broker, bridge: impl Fn() -> Result<Value, LabError>) -> Result<(), LabError> {
    let (shed, web) = (Broker::SHED.to_string(), Broker::WEB.to_string());
    world.box_.ip(&format!("address add {shed}/128 dev lo"))?;
    world.box_.try_run(&["ping", "-n", "-q", "-c", "5", "-i", "0.01", "-W", "0.5", "-I", &shed, &web])?;
    world.box_.ip(&format!("address del {shed}/128 dev lo"))?;
    let foreign = serde_json::json!(["foreign-source", 5]);
    let counted = |list: &Value| list.as_array().is_some_and(|all| all.contains(&foreign));
    wait::until("five to be counted as of a foreign source", LIMIT, || {
        let bridge = bridge().ok()?;
        (counted(&bridge["fast"]["slow_inward"]) && counted(&bridge["counters"]["drops"])).then_some(())
    })
}

/// However many hosts of a client's network are sent to, the kernel knows one neighbour: it has room for a thousand.
fn hosts_are_no_neighbours(world: &Broker) -> Result<(), LabError> {
    let socket = world.web.inside(|| UdpSocket::bind("[::]:0"))?.unwrap();
    let before = carried_by_all(&world.vps)?;
    let network: Ipv6Addr = "2001:db8:100:100::".parse().unwrap();
    for host in 1..=20 {
        socket.send_to(&[0; 16], (Ipv6Addr::from_bits(network.to_bits() | host), 9)).unwrap();
    }
    wait::until("twenty datagrams", LIMIT, || {
        (carried_by_all(&world.vps).ok()? >= before + 20).then_some(())
    })?;
    let shown = world.vps.run(&["ip", "-6", "neigh", "show", "dev", DEVICE, "nud", "all"])?.stdout;
    assert!(shown.contains("fe80::1 ") && !shown.contains("2001:db8:100:100:"), "{shown}");
    Ok(())
}

/// A download goes on by the fast path while the client moves, while nobody serves, and while somebody does again; what
/// was carried for each client counts on.
#[test]
fn clients_bytes_flow_fast() -> Result<(), LabError> {
    let Some(_turn) = turn("clients_bytes_flow_fast") else { return Ok(()) };
    let (world, straddle) = world()?;
    let state = HostState::read(&world.vps)?;
    let vps = straddle.on(&world.vps);
    let running = vps.run()?;
    let clients = [straddle.on(&world.box_).run()?, straddle.on(&world.shed).run()?];
    reached(&world.box_)?;
    reached(&world.shed)?;
    assert!(ping(&world.web, Broker::BOX.into(), 100)?.complete());
    let bridge = |name| bridge(&straddle, &world.vps, name);
    stolen(&world, || bridge("box"))?;
    hosts_are_no_neighbours(&world)?;
    let before = carried(&bridge("box")?);
    let again = while_bytes_flow((&world.web, &world.shed), Broker::SHED.into(), |flow| {
        flow.goes_on("with all")?;
        let (fast, slow) = carried(&bridge("shed")?);
        assert!(fast > 10_000 && fast > 99 * slow, "{fast} packets went fast and {slow} slow");
        let (fast_box, _) = carried(&bridge("box")?);
        assert!(before.0 >= 200 && fast_box < before.0 + 100, "{fast_box} packets were the box's");

        let [first, second] = Broker::SHED4;
        let told = programs(&world.vps);
        world.move_shed(first, second)?;
        // Until they are, bytes may still go where they went.
        wait::until("the programs to be told", LIMIT, || (programs(&world.vps) != told).then_some(()))?;
        flow.goes_on("from another address")?;
        let moved = carried(&bridge("shed")?);
        assert!(moved.0 > fast + 10_000 && moved.0 > 99 * moved.1, "{moved:?} after {fast} and {slow}");
        assert!(carried(&bridge("box")?).0 >= before.0, "the other one's counters go on");

        let told = programs(&world.vps);
        assert_eq!(told.len(), 2);
        // Dropped is killed.
        drop(running);
        flow.goes_on("without a process")?;
        let former = carried(&bridge("shed")?).0;
        let again = vps.run()?;
        assert_eq!(programs(&world.vps), told, "they are adopted");
        flow.goes_on("with all again")?;
        assert!(carried(&bridge("shed")?).0 > former + 10_000, "and count on");
        Ok(again)
    })?;
    for (host, process) in
        [&world.vps, &world.box_, &world.shed].into_iter().zip([again].into_iter().chain(clients))
    {
        straddle.on(host).down()?;
        process.ends(LIMIT)?;
    }
    assert_eq!(programs(&world.vps), []);
    same("after down", &state, &world.vps);
    Ok(())
}

/// The box and others, so many in all, whose networks lie elsewhere in each generation.
fn table(generation: u32, count: u32) -> Ends {
    let box_ = Client {
        remote: Broker::BOX4,
        mtu: 1480,
        owned: vec![Broker::BOX.into(), "2001:db8:100:100::/64".parse().unwrap()],
    };
    let other = |number: u32| {
        let net = ipnet::Ipv6Net::new(network(generation, number).into(), 64).unwrap();
        let link = Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(0x1_0001 + 2 * number));
        let remote = Ipv4Addr::from_bits(0x0a00_0000 + (generation << 20) + number);
        Client { remote, mtu: 1400, owned: vec![link.into(), net] }
    };
    let clients = (1..count).map(other).chain([box_]).collect();
    Ends { local: Broker::VPS4.into(), peers: Peers::Clients(clients), ..Ends::shared_example() }
}

fn network(generation: u32, number: u32) -> u128 {
    0x2001_0db8_f000 << 80 | u128::from(generation) << 80 | u128::from(number) << 64
}

/// Puts both programs in place; how long that took.
fn told(vps: &Host, ends: &Ends) -> Result<Duration, LabError> {
    let programs =
        [FastPath::outward(DEVICE, ends), FastPath::inward("eth0", Hook::Tcx(DEVICE.into()), ends)];
    vps.inside(|| {
        let mut kernel = Live::open().unwrap();
        let begun = Instant::now();
        for program in programs {
            kernel.execute(&Step::Create(Object::FastPath(program))).unwrap();
        }
        begun.elapsed()
    })
}

/// Nobody serves the server's device: whatever is not carried fast is lost, and nothing is.
#[test]
fn tables_of_thousands_are_exchanged_under_traffic() -> Result<(), LabError> {
    let Some(_turn) = turn("tables_of_thousands_are_exchanged_under_traffic") else { return Ok(()) };
    let (world, straddle) = world()?;
    let vps = straddle.on(&world.vps);
    let running = [vps.run()?, straddle.on(&world.box_).run()?];
    reached(&world.box_)?;
    let [running, at_the_box] = running;
    drop(running);
    let web = Broker::WEB.to_string();
    let words = ["ping", "-n", "-q", "-i", "0.001", "-c", "4000", "-W", "2", &web];
    let (lost, took) = std::thread::scope(|scope| {
        let pings = [(); 2].map(|()| scope.spawn(|| world.box_.try_run(&words)));
        let mut took = Vec::new();
        let mut generation = 0;
        while !pings.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            generation += 1;
            took.push(told(&world.vps, &table(generation % 16, CLIENTS)).unwrap());
        }
        let said = pings.map(|ping| ping.join().unwrap().unwrap().stdout);
        let lost: Vec<String> = said.into_iter().filter(|said| !said.contains(" 4000 received")).collect();
        (lost, took)
    });
    took.iter().for_each(|took| assert!(*took < LIMIT));
    let mut sorted: Vec<Duration> = took;
    sorted.sort();
    let (count, middle) = (sorted.len(), sorted[sorted.len() / 2]);
    assert!(lost.is_empty(), "{count} exchanges, {middle:?} each: {lost:#?}");
    assert!(count >= 5, "{count} exchanges, {middle:?} each");
    let (fast, _) = carried(&bridge(&straddle, &world.vps, "box")?);
    assert!(fast >= 4 * 4_000, "{fast} packets of the box's were counted through {count} exchanges");
    // A run adopts nothing that the file does not say.
    let running = vps.run()?;
    assert!(ping(&world.web, Broker::BOX.into(), 10)?.complete());
    vps.down()?;
    running.ends(LIMIT)?;
    straddle.on(&world.box_).down()?;
    at_the_box.ends(LIMIT)
}

/// What a datagram of 64 bytes costs from the sender through the server and out again, with ten clients and with 10,000,
/// each for another one; and what it costs where the server drops it instead, which has nothing to do with clients:
/// `cargo test --release --test lab -- --ignored --nocapture what_many_clients_cost`.
#[test]
#[ignore = "a measurement"]
fn what_many_clients_cost() -> Result<(), LabError> {
    let Some(_turn) = turn("what_many_clients_cost") else { return Ok(()) };
    let (world, straddle) = world()?;
    straddle.on(&world.vps).up()?;
    world.inet.ip("route add 2001:db8:f000::/36 via 2001:db8:1::10\nroute add blackhole 10.0.0.0/8")?;
    let socket = world.web.inside(|| UdpSocket::bind("[::]:0"))?.unwrap();
    let mut costs = [const { Vec::new() }; 4];
    for round in 0..9 {
        for (way, costs) in costs.iter_mut().enumerate() {
            let count = [10, CLIENTS][way % 2];
            let to = if way < 2 { format!("via fe80::1 dev {DEVICE}") } else { "dev lo".into() };
            let kind = if way < 2 { "" } else { "blackhole " };
            world.vps.ip(&format!("route replace {kind}2001:db8:f000::/36 {to}"))?;
            told(&world.vps, &table(0, count))?;
            let before = carried_by_all(&world.vps)?;
            costs.push(sent(&socket, count, round));
            let passed = carried_by_all(&world.vps)? - before;
            assert_eq!(passed >= u64::from(DATAGRAMS) * 99 / 100, way < 2, "{passed} of {DATAGRAMS}");
        }
    }
    let middle = costs.map(|mut costs| {
        costs.sort();
        costs[costs.len() / 2]
    });
    let [few, many, dropped_few, dropped_many] = middle;
    eprintln!("10 clients: {few:?} a datagram; {CLIENTS}: {many:?}");
    eprintln!("where the server drops them: {dropped_few:?}, {dropped_many:?}");
    Ok(())
}

/// How long each of so many datagrams took.
fn sent(socket: &UdpSocket, count: u32, seed: u64) -> Duration {
    let mut number = seed;
    let begun = Instant::now();
    for _ in 0..DATAGRAMS {
        // A generator of full period modulo 2^32; the upper bits are good.
        number = (number * 1_664_525 + 1_013_904_223) % (1 << 32);
        let client = (number >> 8) as u32 % (count - 1) + 1;
        socket.send_to(&[0; 16], (Ipv6Addr::from_bits(network(0, client) | 7), 9)).unwrap();
    }
    begun.elapsed() / DATAGRAMS
}

const DATAGRAMS: u32 = 100_000;

/// Packets that the program at the device has encapsulated.
fn carried_by_all(vps: &Host) -> Result<u64, LabError> {
    let found = vps.inside(|| Live::open().unwrap().carried((DEVICE, "eth0"), &[]).unwrap())?;
    Ok(found.unwrap().0.outward.packets)
}
