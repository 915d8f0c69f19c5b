//! What was there before straddle, and goes on beside it: flows, strangers' connections, a file that can't be read any
//! more.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use straddle_lab::LabError;
use straddle_lab::host::Host;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::DsLite;

use crate::publish::{ROUTER, TELLS, VPS};
use crate::{exe, same, turn};

const LIMIT: Duration = Duration::from_secs(20);
const PORT: u16 = 4000;

fn bound(host: &Host, address: Ipv4Addr, port: u16) -> Result<UdpSocket, LabError> {
    let socket = host.inside(|| UdpSocket::bind((address, port)))?.unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    Ok(socket)
}

/// Whether a datagram of the client's socket arrives, and the answer gets back.
fn answers(client: &UdpSocket, server: &UdpSocket) -> bool {
    let mut room = [0; 100];
    client.send_to(b"there", (DsLite::PUBLIC, PORT)).unwrap();
    let Ok((_, from)) = server.recv_from(&mut room) else { return false };
    server.send_to(b"back", from).unwrap();
    matches!(client.recv_from(&mut room), Ok((4, from)) if from == (DsLite::PUBLIC, PORT).into())
}

/// The kernel knows a UDP flow to the VPS itself; what it has decided of it must not outlive `up`, nor `down` what
/// `up` has made of it.
fn a_flow_follows(share: &str) -> Result<(), LabError> {
    let world = DsLite::build()?;
    let (vps, router) = (&world.vps, &world.router);
    vps.nft(
        "table ip own { chain in { type filter hook input priority 0; ct state established accept; }; }",
    )?;
    let state = HostState::read(vps)?;
    let client = bound(&world.client, DsLite::CLIENT, 5000)?;
    let beside = bound(&world.client, DsLite::CLIENT, 5001)?;
    let own = bound(vps, Ipv4Addr::UNSPECIFIED, PORT)?;
    let first = bound(&world.first, Ipv4Addr::UNSPECIFIED, PORT)?;
    assert!(answers(&client, &own), "before");
    let straddle = Straddle::within(world.directory(), exe(), &[VPS, ROUTER, share].concat())?;
    let running = straddle.up_on(&[vps, router])?;
    assert!(answers(&client, &first), "{share}: the flow of before gets to the server");
    assert!(answers(&beside, &first), "{share}: as one that begins does");
    straddle.down_on(&[vps, router], running)?;
    assert!(answers(&client, &own), "{share}: and back");
    same("down", &state, vps);
    Ok(())
}

#[test]
fn flows_that_were_open_go_the_new_way() -> Result<(), LabError> {
    let Some(_turn) = turn("flows_that_were_open_go_the_new_way") else { return Ok(()) };
    a_flow_follows("")?;
    a_flow_follows("ports = [\"udp/3990-4010\"]\n")
}

/// Once an address was given away whoever connects to it is a stranger: also where its rules went with somebody's
/// `nft flush ruleset`, or with a reboot. Before, and after `down`, it may be the operator.
#[test]
fn strangers_hold_off_nothing() -> Result<(), LabError> {
    let Some(_turn) = turn("strangers_hold_off_nothing") else { return Ok(()) };
    let world = DsLite::build()?;
    let straddle = Straddle::within(world.directory(), exe(), &[VPS, ROUTER].concat())?;
    let vps = straddle.on(&world.vps);
    let _ssh = world.vps.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 22)))?.unwrap();
    let called: SocketAddr = (DsLite::PUBLIC, 22).into();
    let call = || world.client.inside(|| TcpStream::connect_timeout(&called, LIMIT)).map(Result::unwrap);
    let refused = || -> Result<bool, LabError> {
        let ended = vps.try_verb(&["up"])?;
        Ok(ended.status.code() == Some(4) && ended.stderr.contains("198.51.100.10:"))
    };
    let session = call()?;
    assert!(refused()?, "the operator's, for all one knows");
    drop(session);
    vps.up()?;
    world.vps.run(&["nft", "flush", "ruleset"])?;
    let stranger = call()?;
    vps.up()?;
    drop(stranger);
    vps.down()?;
    let _session = call()?;
    assert!(refused()?, "it is the host's own again");
    Ok(())
}

/// What runs goes on without its file, and `status` says so.
#[test]
fn status_without_a_file() -> Result<(), LabError> {
    let Some(_turn) = turn("status_without_a_file") else { return Ok(()) };
    let world = DsLite::build()?;
    let relay = "[[relay]]\nhost = \"vps\"\nlisten = \"tcp6/7000\"\nto = \"127.0.0.1:22\"\n";
    let straddle = Straddle::within(world.directory(), exe(), &[VPS, ROUTER, relay].concat())?;
    let vps = straddle.on(&world.vps);
    let _running = vps.run()?;
    fs::rename(world.directory().join("straddle.toml"), world.directory().join("elsewhere")).unwrap();
    let told = vps.try_verb(&["status"])?;
    for word in ["goes on serving", "home", "out 0 packets", "tcp6/7000: 0 accepted"] {
        assert!(told.stdout.contains(word), "{word}: {}", told.stdout);
    }
    assert!(told.stderr.contains("No such file"), "{}", told.stderr);
    assert_eq!(told.status.code(), vps.try_verb(&["plan"])?.status.code(), "as whoever can't read it ends");
    let told: serde_json::Value = serde_json::from_str(&vps.try_verb(&["status", "--json"])?.stdout).unwrap();
    assert_eq!(told["counters"].as_array().unwrap().len(), 2, "{told}");
    Ok(())
}

/// Two keys: the home's `run` says that nobody acknowledges, and says it when that is mended.
#[test]
fn a_key_of_ones_own_is_told() -> Result<(), LabError> {
    let Some(_turn) = turn("a_key_of_ones_own_is_told") else { return Ok(()) };
    let world = DsLite::build()?;
    let key = world.directory().join("home.key").display().to_string();
    let straddle = Straddle::within(world.directory(), exe(), &[VPS, &TELLS.replace("KEY", &key)].concat())?;
    let (vps, router) = (straddle.on(&world.vps), straddle.on(&world.router));
    vps.verb(&["key", &key])?;
    let _heard = vps.run()?;
    fs::remove_file(&key).unwrap();
    router.verb(&["key", &key])?;
    let mut told = router.run()?;
    told.says("does not answer", LIMIT)?;
    vps.up()?;
    told.says("home: the other end acknowledges this host's endpoint", LIMIT * 2)
}
