//! The fast path: the kernel's program in front of a translator, whoever serves that.
//!
//! ```text
//!  client ── inet ── gate ── core ── server      bytes flow from the client to the server all the time
//! ```

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use straddle_lab::host::Host;
use straddle_lab::probe::ping;
use straddle_lab::state::HostState;
use straddle_lab::straddle::{Installed, Straddle};
use straddle_lab::world::{Access, DataCentre, Network};
use straddle_lab::{LabError, Peer, SIIT_CONFIG, wait};

use crate::{exe, same, turn};

/// More than what can be on its way when something changes, in bytes.
const MUCH: u64 = 20_000_000;
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Bytes that flow from the client to the server.
pub(crate) struct Flow<'a> {
    arrived: &'a AtomicU64,
}

impl Flow<'_> {
    /// Waits until much more has arrived.
    pub(crate) fn goes_on(&self, when: &str) -> Result<(), LabError> {
        let before = self.arrived.load(Relaxed);
        wait::until(&format!("bytes to arrive {when}"), LIMIT, || {
            (self.arrived.load(Relaxed) > before + MUCH).then_some(())
        })
    }
}

/// The byte at a place; its period, a prime, is no packet's length.
fn byte(at: u64) -> u8 {
    (at % 251) as u8
}

/// Has a flow end, also where a test panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Does `work` while bytes flow between two hosts; each must arrive in its place.
pub(crate) fn while_bytes_flow<T>(
    (client, server): (&Host, &Host),
    to: IpAddr,
    work: impl FnOnce(&Flow<'_>) -> Result<T, LabError>,
) -> Result<T, LabError> {
    let listener = server.inside(|| TcpListener::bind("[::]:0"))?.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = (to, port).into();
    let mut sender = client.inside(|| TcpStream::connect_timeout(&target, LIMIT))?.unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    sender.set_write_timeout(Some(LIMIT)).unwrap();
    receiver.set_read_timeout(Some(LIMIT)).unwrap();
    let (arrived, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (arrived, over) = (&arrived, &over);
        let receiving = scope.spawn(move || {
            let mut room = vec![0; 1 << 16];
            loop {
                let count = receiver.read(&mut room).unwrap();
                if count == 0 {
                    return;
                }
                let at = arrived.load(Relaxed);
                let right = room.iter().take(count).zip(at..).all(|(found, at)| *found == byte(at));
                assert!(right, "bytes behind {at} are not what was sent");
                arrived.fetch_add(count as u64, Relaxed);
            }
        });
        let sending = scope.spawn(move || {
            // A whole number of periods, so that each piece is the same.
            let piece: Vec<u8> = (0..251 * 256).map(byte).collect();
            while !over.load(Relaxed) {
                sender.write_all(&piece).unwrap();
            }
        });
        let ends = Ends(over);
        let worked = work(&Flow { arrived });
        drop(ends);
        sending.join().unwrap();
        receiving.join().unwrap();
        worked
    })
}

fn config(fast_path: &str) -> String {
    format!("{SIIT_CONFIG}fast-path = \"{fast_path}\"\n")
}

/// The number of the program in front of the translator.
fn program(host: &Host, device: &str) -> Option<u32> {
    let shown = host.run(&["tc", "filter", "show", "dev", device, "egress"]).ok()?.stdout;
    let mut words = shown.split_whitespace().skip_while(|word| *word != "id");
    words.nth(1)?.parse().ok()
}

/// The numbers of a program's maps.
fn maps(host: &Host, program: u32) -> Result<Vec<u64>, LabError> {
    let shown = host.run(&["bpftool", "--json", "prog", "show", "id", &program.to_string()])?.stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    Ok(shown["map_ids"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_u64).collect())
}

/// Waits until the kernel has neither the program nor its maps any more.
fn has_ended(host: &Host, program: u32, maps: &[u64]) -> Result<(), LabError> {
    assert!(maps.len() > 2, "constants, counters and tables: {maps:?}");
    let programs = [("prog", u64::from(program))];
    for (kind, number) in programs.into_iter().chain(maps.iter().map(|map| ("map", *map))) {
        let number = number.to_string();
        wait::until(&format!("{kind} {number} to end"), LIMIT, || {
            let shown = host.try_run(&["bpftool", kind, "show", "id", &number]).ok()?;
            (!shown.status.success()).then_some(())
        })?;
    }
    Ok(())
}

/// How many packets the fast path and the slow one have translated, both ways.
fn translated(gate: &Installed<'_>) -> Result<(u64, u64), LabError> {
    let output = gate.try_verb(&["status", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let bridge = &status["bridges"][0];
    let packets = |counts: &serde_json::Value| -> u64 {
        ["to4", "to6"].iter().filter_map(|way| counts[way]["packets"].as_u64()).sum()
    };
    Ok((packets(&bridge["fast"]), packets(&bridge["counters"])))
}

#[test]
fn bytes_flow_on_when_their_process_is_killed() -> Result<(), LabError> {
    let Some(_turn) = turn("bytes_flow_on_when_their_process_is_killed") else { return Ok(()) };
    let world = DataCentre::build(Peer::Tayga)?;
    let state = HostState::read(&world.gate)?;
    let straddle = Straddle::within(world.directory(), exe(), &config("require"))?;
    let gate = straddle.on(&world.gate);
    let running = gate.run()?;
    let first = program(&world.gate, "st-siit").expect("a program");
    let its_maps = maps(&world.gate, first)?;
    let won = state.difference(&HostState::read(&world.gate)?);
    assert!(won.iter().any(|line| line.starts_with("+ filter: ")), "the filter is looked at: {won:#?}");
    while_bytes_flow((&world.client, &world.server), DataCentre::SERVER.into(), |flow| {
        flow.goes_on("with both")?;
        // Dropped is killed.
        drop(running);
        flow.goes_on("without a process")?;
        let (before, slow) = translated(&gate)?;
        assert_eq!(slow, 0, "nobody serves the slow path");

        let again = gate.run()?;
        assert_eq!(program(&world.gate, "st-siit"), Some(first), "what is there is adopted");
        flow.goes_on("with both again")?;
        assert!(translated(&gate)?.0 > before, "and counts on");
        let status = gate.json("status")?;
        assert_eq!(status["well"], true, "{status}");
        again.stop(LIMIT)?;
        flow.goes_on("after a good end")
    })?;
    gate.down()?;
    same("after down", &state, &world.gate);
    has_ended(&world.gate, first, &its_maps)
}

#[test]
fn the_two_paths_change_places_while_bytes_flow() -> Result<(), LabError> {
    let Some(_turn) = turn("the_two_paths_change_places_while_bytes_flow") else { return Ok(()) };
    let world = DataCentre::build(Peer::Tayga)?;
    let write = |fast_path: &str| Straddle::within(world.directory(), exe(), &config(fast_path));
    let straddle = write("auto")?;
    let gate = straddle.on(&world.gate);
    let running = gate.run()?;
    while_bytes_flow((&world.client, &world.server), DataCentre::SERVER.into(), |flow| {
        flow.goes_on("fast")?;
        let (fast, slow) = translated(&gate)?;
        assert!(fast > 99 * slow, "{fast} packets went fast and {slow} slow");

        let before = program(&world.gate, "st-siit").expect("a program");
        let its_maps = maps(&world.gate, before)?;
        write("off")?;
        gate.up()?;
        assert_eq!(program(&world.gate, "st-siit"), None);
        flow.goes_on("slow")?;
        let (fast, slow) = translated(&gate)?;
        assert!(fast == 0 && slow > 1000, "{fast} packets went fast and {slow} slow");
        has_ended(&world.gate, before, &its_maps)?;

        write("require")?;
        gate.up()?;
        flow.goes_on("fast again")?;
        assert!(translated(&gate)?.0 > 1000);

        // Another table is another program, with what the former has counted.
        let before = (program(&world.gate, "st-siit"), translated(&gate)?.0);
        Straddle::within(world.directory(), exe(), &(config("auto") + "traffic-class = 0xb8\n"))?;
        gate.up()?;
        assert_ne!(program(&world.gate, "st-siit"), before.0);
        assert!(translated(&gate)?.0 >= before.1);
        flow.goes_on("with another class")?;

        // Somebody takes it away.
        world.gate.run(&["tc", "qdisc", "del", "dev", "st-siit", "clsact"])?;
        wait::until("the program to come back", LIMIT, || program(&world.gate, "st-siit"))?;
        flow.goes_on("by the program that came back")
    })?;
    gate.down()?;
    running.ends(LIMIT)
}

/// What `run` finds out while it runs, the program knows too, and still knows when another `run` has begun.
#[test]
fn a_discovered_prefix_reaches_the_program() -> Result<(), LabError> {
    let Some(_turn) = turn("a_discovered_prefix_reaches_the_program") else { return Ok(()) };
    let world = Access::build(Network { pref64: true, ..Network::default() })?;
    let file = "[host.vm]\nuplink = \"eth0\"\n\n[[clat]]\nhost = \"vm\"\nfast-path = \"require\"\n";
    let straddle = Straddle::within(world.directory(), exe(), file)?;
    let vm = straddle.on(&world.vm);
    let mut running = vm.run()?;
    running.says("the NAT64's prefix is", LIMIT)?;
    let fast = |when: &str| -> Result<(), LabError> {
        let before = translated(&vm)?;
        assert!(ping(&world.vm, Access::WEB.into(), 20)?.complete(), "{when}");
        let after = translated(&vm)?;
        assert!(after.0 >= before.0 + 40, "{when}: {before:?}, then {after:?}");
        Ok(())
    };
    fast("with a prefix")?;
    let first = program(&world.vm, "st-clat").expect("a program");
    drop(running);
    fast("without a process")?;
    let mut again = vm.run()?;
    fast("before the prefix is found again")?;
    again.says("the NAT64's prefix is", LIMIT)?;
    fast("with the same prefix")?;
    assert_eq!(program(&world.vm, "st-clat"), Some(first), "what is there is adopted");
    assert_eq!(vm.json("status")?["well"], true);
    vm.down()?;
    again.ends(LIMIT)
}

/// A file with the server's mapping and 100,000 others, whose IPv6 addresses begin so.
fn great_table(others: &str) -> String {
    let plain = "eam = [[\"2001:db8:3::/120\", \"203.0.113.0/24\"]]\n";
    let mut text = config("require");
    let mut eam = String::from("eam = [[\"2001:db8:3::a\", \"203.0.113.10\"]");
    for number in 0..100_000_u32 {
        let four = Ipv4Addr::from(u32::from(Ipv4Addr::new(20, 0, 0, 0)) + number);
        let (upper, lower) = (number >> 16, number & 0xffff);
        let _ = write!(eam, ",\n[\"{others}{upper:x}:{lower:x}\", \"{four}\"]");
    }
    eam += "]\n";
    assert!(text.contains(plain));
    text = text.replace(plain, &eam);
    text
}

/// Each mapping becomes another one, but for the server's: nobody who talks with it notices.
#[test]
fn a_great_table_is_replaced_under_traffic() -> Result<(), LabError> {
    let Some(_turn) = turn("a_great_table_is_replaced_under_traffic") else { return Ok(()) };
    let world = DataCentre::build(Peer::Tayga)?;
    let write = |others: &str| Straddle::within(world.directory(), exe(), &great_table(others));
    let straddle = write("2001:db8:a::")?;
    let gate = straddle.on(&world.gate);
    let running = gate.run()?;
    assert!(ping(&world.client, DataCentre::SERVER.into(), 3)?.complete());
    let (over, before) = (AtomicBool::new(false), translated(&gate)?);
    let pings = thread::scope(|scope| -> Result<u32, LabError> {
        let pinging = scope.spawn(|| -> Result<u32, LabError> {
            let mut count = 0;
            while !over.load(Relaxed) {
                let answered = ping(&world.client, DataCentre::SERVER.into(), 100)?;
                assert!(answered.complete(), "{answered:?}");
                count += answered.received;
            }
            Ok(count)
        });
        let replaced =
            ["2001:db8:b::", "2001:db8:a::"].iter().try_for_each(|others| -> Result<(), LabError> {
                let former = program(&world.gate, "st-siit");
                write(others)?;
                gate.up()?;
                assert_ne!(program(&world.gate, "st-siit"), former, "another table is another program");
                Ok(())
            });
        over.store(true, Relaxed);
        let count = pinging.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        replaced.and(count)
    })?;
    let after = translated(&gate)?;
    assert_eq!(after.1, before.1, "none went slow");
    assert!(after.0 >= before.0 + 2 * u64::from(pings), "{pings} pings: {before:?}, then {after:?}");
    gate.down()?;
    running.ends(LIMIT)
}
