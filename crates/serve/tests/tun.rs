//! A translator on a tun device of the real kernel; needs root.
//!
//! ```text
//!  client ─────────── middle ─────────── server
//!  2001:db8:c::10     st-test            203.0.113.10
//!  IPv6 only          2001:db8:64::/96   IPv4 only
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

mod device;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use straddle_kernel::open_queues;
use straddle_lab::guard::Guard;
use straddle_lab::host::Host;
use straddle_lab::{LabError, wait};
use straddle_serve::translator::{Report, Serving, Translator};

const DEVICE: &str = "st-test";
const SERVER: &str = "2001:db8:64::203.0.113.10";
/// The client as the server sees it.
const CLIENT4: &str = "198.51.100.10";

/// Hosts, and the translator between them.
struct World {
    serving: Serving,
    client: Host,
    middle: Host,
    server: Host,
    _guard: Guard,
}

/// `None` without root.
fn world(test: &str) -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "{test} needs root, and CI must not skip it");
        // Not `eprintln`, which the test harness swallows.
        std::io::stderr().write_all(format!("SKIPPED (needs root): {test}\n").as_bytes()).unwrap();
        return None;
    }
    Some(build().unwrap())
}

fn build() -> Result<World, LabError> {
    let mut guard = Guard::start()?;
    let (client, middle, server) = (guard.host("client")?, guard.host("middle")?, guard.host("server")?);
    for key in ["net/ipv6/conf/all/forwarding", "net/ipv4/ip_forward"] {
        middle.sysctl(key, "1")?;
    }
    middle.run(&["ip", "tuntap", "add", "mode", "tun", "name", DEVICE, "multi_queue", "vnet_hdr"])?;
    middle.ip(&format!(
        "
        link add client type veth peer name eth0 netns {}
        link add server type veth peer name eth0 netns {}
        link set client up
        link set server up
        link set {DEVICE} mtu 1500 addrgenmode none up
        address add 2001:db8:c::1/64 dev client nodad
        address add 203.0.113.1/24 dev server
        route add 2001:db8:64::/96 dev {DEVICE}
        route add {CLIENT4}/32 dev {DEVICE}
        ",
        client.namespace(),
        server.namespace()
    ))?;
    client.ip("
        link set lo up
        link set eth0 up
        address add 2001:db8:c::10/64 dev eth0 nodad
        route add ::/0 via 2001:db8:c::1
    ")?;
    server.ip("
        link set lo up
        link set eth0 up
        address add 203.0.113.10/24 dev eth0
        route add default via 203.0.113.1
    ")?;
    let queues = middle.inside(|| open_queues(DEVICE, 2))?.unwrap();
    let one = Translator { bridge: "test".into(), translator: device::translator(CLIENT4), queues };
    let serving = Serving::begin(vec![one]).unwrap();
    // Links and neighbours take their time, the more so on a machine that is busy.
    wait::until("the way to the server", Duration::from_secs(10), || {
        let asked = client.try_run(&["ping", "-n", "-q", "-c", "1", "-W", "1", SERVER]).ok()?;
        asked.status.success().then_some(())
    })?;
    Ok(World { serving, client, middle, server, _guard: guard })
}

impl World {
    fn report(&self) -> Report {
        self.serving.report().remove(0)
    }

    /// What ended otherwise than translated, without what the kernel itself says on every device.
    fn drops(&self) -> Vec<(&'static str, u64)> {
        let mut drops = self.report().drops;
        drops.retain(|(name, _)| *name != "multicast-address" && *name != "link-local-address");
        drops
    }
}

#[test]
fn a_ping_is_answered() {
    let Some(world) = world("a_ping_is_answered") else { return };
    for size in ["0", "56", "1440"] {
        let words = ["ping", "-n", "-q", "-c", "5", "-i", "0.01", "-W", "2", "-s", size, SERVER];
        assert!(world.client.run(&words).unwrap().stdout.contains(" 5 received"), "{size} bytes");
    }
    assert_eq!(world.drops(), []);
}

/// Eight megabytes each way: what arrives is what was sent, and it went in super-packets.
#[test]
fn a_stream_goes_in_super_packets() {
    let Some(world) = world("a_stream_goes_in_super_packets") else { return };
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|index| (index / 7) as u8).collect();
    let listener = world.server.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap().unwrap();
    let target: SocketAddr = format!("[{SERVER}]:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    std::thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let (mut stream, from) = listener.accept().unwrap();
            let mut got = vec![0; bytes.len()];
            stream.read_exact(&mut got).unwrap();
            stream.write_all(&got).unwrap();
            from.ip().to_string()
        });
        let mut stream = world.client.inside(|| TcpStream::connect(target)).unwrap().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut got = vec![0; bytes.len()];
        stream.read_exact(&mut got).unwrap();
        assert!(got == bytes, "other bytes came back");
        assert_eq!(echo.join().unwrap(), CLIENT4);
    });
    let report = world.report();
    for direction in [report.to4, report.to6] {
        assert!(direction.packets > 5_000, "{report:?}");
        assert!(direction.passes * 3 < direction.packets, "{report:?}");
    }
    assert_eq!(world.drops(), []);
}

/// A burst both ways: each datagram arrives as it was sent, in order, whether they were joined or not.
#[test]
fn datagrams_keep_their_boundaries() {
    let Some(world) = world("datagrams_keep_their_boundaries") else { return };
    let bind = |host: &Host, address: &str| {
        let socket = host.inside(|| UdpSocket::bind(address)).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    };
    let server = bind(&world.server, "0.0.0.0:53");
    let client = bind(&world.client, "[::]:0");
    let target: SocketAddr = format!("[{SERVER}]:53").parse().unwrap();
    let length = |index: u8| if index.is_multiple_of(10) { 9 } else { 64 };
    let mut room = [0; 2_000];
    let before = world.report();
    for round in 0..20 {
        for index in 0..50_u8 {
            client.send_to(&vec![index; length(index)], target).unwrap();
        }
        for index in 0..50_u8 {
            let (got, from) = server.recv_from(&mut room).unwrap();
            assert_eq!(room[..got], vec![index; length(index)], "round {round}");
            server.send_to(&room[..got], from).unwrap();
        }
        for index in 0..50_u8 {
            let (got, _) = client.recv_from(&mut room).unwrap();
            assert_eq!(room[..got], vec![index; length(index)], "round {round}, back");
        }
    }
    // A packet is counted after it was written.
    let counted = wait::until("all to be counted", Duration::from_secs(10), || {
        let report = world.report();
        let more = [report.to4.packets - before.to4.packets, report.to6.packets - before.to6.packets];
        (more == [1_000; 2]).then_some(())
    });
    assert!(counted.is_ok(), "{:?} after {before:?}", world.report());
    assert_eq!(world.drops(), []);
}

#[test]
fn the_loops_end_with_their_device() {
    let Some(world) = world("the_loops_end_with_their_device") else { return };
    world.middle.ip(&format!("link del {DEVICE}")).unwrap();
    let ended = world.serving.ended();
    let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)], Some(&limit)), Ok(1));
}

/// While the device is down nothing gets through; once it is up again everything does.
#[test]
fn the_loops_outlive_a_device_that_is_down() {
    let Some(world) = world("the_loops_outlive_a_device_that_is_down") else { return };
    let words = ["ping", "-n", "-q", "-c", "3", "-i", "0.01", "-W", "0.5", SERVER];
    let answered = || world.client.try_run(&words).unwrap().stdout.contains(" 3 received");
    world.middle.ip(&format!("link set {DEVICE} down")).unwrap();
    assert!(!answered());
    let routes = format!("route add 2001:db8:64::/96 dev {DEVICE}\nroute add {CLIENT4}/32 dev {DEVICE}");
    world.middle.ip(&format!("link set {DEVICE} up\n{routes}")).unwrap();
    assert!(answered());
}
