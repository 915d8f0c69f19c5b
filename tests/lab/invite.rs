//! The other end, handed out: what `straddle invite` prints is all that a client has, and what the server's
//! file says of others does not reach it.
//!
//! ```text
//!  web ── inet ── vps       vps has the file of all; box and shed have what it prints
//!         │  │
//!        box shed ── pc
//! ```

use std::fs;
use std::time::Duration;

use straddle_lab::host::Host;
use straddle_lab::probe::{ping, stream};
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Broker;
use straddle_lab::{LabError, wait};

use crate::{exe, same, turn};

#[test]
fn invited_clients_have_ipv6() -> Result<(), LabError> {
    let Some(_turn) = turn("invited_clients_have_ipv6") else { return Ok(()) };
    let world = Broker::build()?;
    let key = world.directory().join("shed.key");
    let server = Straddle::within(world.directory(), exe(), &Broker::config(&key))?;
    server.on(&world.vps).verb(&["key", &key.display().to_string()])?;
    let clients = [(&world.box_, Broker::BOX), (&world.shed, Broker::SHED)];
    let invited = clients.map(|(host, _)| invited(&world, &server, host));
    let [first, second] = invited;
    let invited = [first?, second?];
    let before = [&world.box_, &world.shed].map(HostState::read);

    let mut running = vec![server.on(&world.vps).run()?];
    // The shed's address is not in its file, so it is told which host it is.
    let as_itself = [[].as_slice(), &["--host", "shed"]];
    for (((host, _), straddle), options) in clients.iter().zip(&invited).zip(as_itself) {
        let checked = straddle.on(host).verb(&[options, &["check"]].concat())?.stdout;
        assert!(checked.contains("2 hosts, 1 bridge") && checked.contains(host.name()), "{checked}");
        let planned = straddle.on(host).verb(&[options, &["plan"]].concat())?.stdout;
        assert!(planned.contains(&format!("st-{}", host.name())), "{planned}");
        running.push(straddle.on(host).run_with(options)?);
    }
    for (host, address) in clients {
        wait::until(&format!("{} to have IPv6", host.name()), Duration::from_secs(15), || {
            ping(host, Broker::WEB.into(), 1).ok().filter(|ping| ping.complete())
        })?;
        assert!(ping(&world.web, address.into(), 10)?.complete(), "{} is reached", host.name());
        let tcp = stream(host, &world.web, Broker::WEB.into())?;
        assert_eq!(tcp.map(|tcp| tcp.seen_by_server), Some(address.into()), "{}", host.name());
    }
    assert!(ping(&world.web, Broker::PC.into(), 10)?.complete(), "so is the LAN of one");

    for ((host, _), (straddle, options)) in clients.iter().zip(invited.iter().zip(as_itself)) {
        straddle.on(host).verb(&[options, &["down"]].concat())?;
    }
    server.on(&world.vps).down()?;
    running.into_iter().try_for_each(|process| process.ends(Duration::from_secs(10)))?;
    for ((host, _), before) in clients.iter().zip(before) {
        same("after down", &before?, host);
    }
    Ok(())
}

/// A client's own Straddle, with nothing but what the server's prints.
fn invited(world: &Broker, server: &Straddle, client: &Host) -> Result<Straddle, LabError> {
    let text = server.on(&world.vps).verb(&["invite", client.name()])?.stdout;
    let other = if client.name() == "box" { ["shed", "203.0.113."] } else { ["box", "198.51.100."] };
    assert!(!other.iter().any(|word| text.contains(word)), "{text}");
    let directory = world.directory().join(format!("invited-{}", client.name()));
    fs::create_dir(&directory).unwrap();
    Straddle::within(&directory, exe(), &text)
}
