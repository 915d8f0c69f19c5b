//! A server at home that is reached at a VPS's address, as `straddle lab publish` shows it, and what is special
//! about some homes and some VPSs.
//!
//! ```text
//!  client ── inet ── vps
//!              │
//!           provider ── cabin
//!              │
//!           router ── first, second, laptop
//! ```

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use straddle_lab::host::Host;
use straddle_lab::probe::{Kind, Stream, download_during, exchange, ping, stream, stream_at};
use straddle_lab::process::Process;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::DsLite;
use straddle_lab::{LabError, PublishOptions, PublishVariant, publish, wait};

use crate::crash::{Stage, every_kill_is_survived};
use crate::{exe, good, same, turn};

fn published(variant: PublishVariant) {
    let mut stages = Vec::new();
    let options = PublishOptions { variant, ..PublishOptions::default() };
    let report = publish(&options, exe(), &mut |stage| stages.push(stage.to_owned())).unwrap();
    good(&report);
    assert!(!stages.is_empty(), "progress is told");
}

#[test]
fn a_server_at_home_has_a_whole_address() {
    let Some(_turn) = turn("a_server_at_home_has_a_whole_address") else { return };
    published(PublishVariant::Address);
}

#[test]
fn servers_at_home_have_ports_of_an_address() {
    let Some(_turn) = turn("servers_at_home_have_ports_of_an_address") else { return };
    published(PublishVariant::Ports);
}

/// The second home's server has the carrier's end itself.
const CABIN: &str = r#"
[host.cabin]
uplink = "eth0"
ipv4 = "192.168.2.210/24"
ipv6 = "2001:db8:cab::1"
mtu = 1492

[[publish]]
name = "cabin"
address = "203.0.113.144"
from = "vps"
to = "cabin"
target = "192.168.2.210"
"#;

pub(crate) const VPS: &str = r#"
[host.vps]
uplink = "eth0"
ipv4 = "203.0.113.144/24"
gateway4 = "203.0.113.1"
ipv6 = "2001:db8:6ef9::1"
"#;

/// Both addresses that the ends have seen.
fn seen(stream: Option<Stream>) -> Option<(IpAddr, IpAddr)> {
    stream.map(|stream| (stream.seen_by_server, stream.seen_by_client))
}

fn both(one: Ipv4Addr, other: Ipv4Addr) -> Option<(IpAddr, IpAddr)> {
    Some((one.into(), other.into()))
}

/// Whoever calls the public address gets to this server, which sees who it is.
fn arrives(what: &str, world: &DsLite, server: &Host) -> Result<(), LabError> {
    let (client, public) = (&world.client, DsLite::PUBLIC);
    assert!(ping(client, public.into(), 10)?.complete(), "{what}: ping");
    let tcp = seen(stream(client, server, public.into())?);
    assert_eq!(tcp, both(DsLite::CLIENT, public), "{what}: TCP");
    for (kind, size) in [(Kind::Udp, 100), (Kind::Udp, 8192), (Kind::Protocol(253), 100)] {
        let there = exchange(client, server, public, kind, size)?;
        let there = there.seen_by_server.zip(there.seen_by_client);
        assert_eq!(there, both(DsLite::CLIENT, public), "{what}: {kind:?} of {size} bytes");
    }
    Ok(())
}

/// Connections to these ports of the public address.
fn port_arrives(what: &str, world: &DsLite, server: &Host, outer: u16, inner: u16) -> Result<(), LabError> {
    let target: SocketAddr = (DsLite::PUBLIC, outer).into();
    let tcp = seen(stream_at(&world.client, server, target, inner)?);
    assert_eq!(tcp, both(DsLite::CLIENT, DsLite::PUBLIC), "{what}: TCP {outer}");
    Ok(())
}

/// A datagram to a service that listens at this address; both addresses that were seen.
fn datagram(
    world: &DsLite,
    at: Ipv4Addr,
    target: SocketAddr,
    size: usize,
) -> Result<Option<(IpAddr, IpAddr)>, LabError> {
    let there = world.client.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?.unwrap();
    let here = world.cabin.inside(|| UdpSocket::bind((at, target.port())))?.unwrap();
    for socket in [&there, &here] {
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    }
    let (mut packet, payload) = (vec![0; 65_535], vec![0x5a; size]);
    there.send_to(&payload, target).unwrap();
    let Ok((length, from)) = here.recv_from(&mut packet) else { return Ok(None) };
    here.send_to(&packet[..length], from).unwrap();
    let answer = there.recv_from(&mut packet).ok().filter(|(length, _)| packet[..*length] == payload);
    Ok(answer.map(|(_, server)| (from.ip(), server.ip())))
}

/// The server has the carrier's end itself; its own line has IPv4, or has not.
fn itself(ports: &str, line: bool) -> Result<(), LabError> {
    let what = format!("a line with IPv4: {line}, {ports:?}");
    let world = DsLite::build()?;
    if !line {
        world.cabin.ip("route del default via 192.0.0.9\naddress del 192.0.0.10/29 dev eth0")?;
    }
    let states = [HostState::read(&world.vps)?, HostState::read(&world.cabin)?];
    let straddle = Straddle::within(world.directory(), exe(), &[VPS, CABIN, ports].concat())?;
    let running = straddle.up_on(&[&world.vps, &world.cabin])?;
    if ports.is_empty() {
        assert!(ping(&world.client, DsLite::PUBLIC.into(), 10)?.complete(), "{what}: ping");
    }
    port_arrives(&what, &world, &world.cabin, 443, 443)?;
    for size in [100, 8192] {
        let seen = datagram(&world, DsLite::CABIN, (DsLite::PUBLIC, 27_020).into(), size)?;
        assert_eq!(seen, both(DsLite::CLIENT, DsLite::PUBLIC), "{what}: UDP of {size} bytes");
        // By a line with IPv4 it leaves from the line's address: `plan` says so.
        let seen = datagram(&world, Ipv4Addr::UNSPECIFIED, (DsLite::PUBLIC, 27_020).into(), size)?;
        let right = seen == both(DsLite::CLIENT, DsLite::PUBLIC);
        assert_eq!(right, !line, "{what}: UDP of {size} bytes from no particular address: {seen:?}");
    }
    let beside = stream_at(&world.client, &world.cabin, (DsLite::PUBLIC, 444).into(), 444)?;
    assert_eq!(beside.is_some(), ports.is_empty(), "{what}: a port beside");
    let out = seen(stream(&world.cabin, &world.client, DsLite::CLIENT.into())?);
    let expected = match (line, ports.is_empty()) {
        (true, _) => both(DsLite::CGNAT, DsLite::CLIENT),
        (false, true) => both(DsLite::PUBLIC, DsLite::CLIENT),
        (false, false) => None,
    };
    assert_eq!(out, expected, "{what}: whoever calls from no particular address");
    if !line && ports.is_empty() {
        arrives(&what, &world, &world.cabin)?;
    }
    straddle.down_on(&[&world.vps, &world.cabin], running)?;
    same(&what, &states[0], &world.vps);
    same(&what, &states[1], &world.cabin);
    Ok(())
}

#[test]
fn a_server_may_have_the_carriers_end_itself() -> Result<(), LabError> {
    let Some(_turn) = turn("a_server_may_have_the_carriers_end_itself") else { return Ok(()) };
    for ports in ["", "ports = [\"tcp/443\", \"udp/27015-27030\"]\n"] {
        itself(ports, true)?;
        itself(ports, false)?;
    }
    Ok(())
}

pub(crate) const ROUTER: &str = r#"
[host.router]
uplink = "wan0"
ipv4 = "192.168.1.1/24"
ipv6 = "2001:db8:b0a8:fdd2::1"
mtu = 1492

[[publish]]
name = "home"
address = "203.0.113.144"
from = "vps"
to = "router"
target = "192.168.1.210"
"#;

#[test]
fn two_homes_share_an_address() -> Result<(), LabError> {
    let Some(_turn) = turn("two_homes_share_an_address") else { return Ok(()) };
    let world = DsLite::build()?;
    let file =
        [VPS, ROUTER, "ports = [\"tcp/443 -> 4430\"]\n", CABIN, "ports = [\"tcp/8443 -> 4430\"]\n"].concat();
    let straddle = Straddle::within(world.directory(), exe(), &file)?;
    let hosts = [&world.vps, &world.router, &world.cabin];
    let states = hosts.iter().map(|host| HostState::read(host)).collect::<Result<Vec<_>, _>>()?;
    let running = straddle.up_on(&hosts)?;
    port_arrives("the home", &world, &world.first, 443, 4430)?;
    port_arrives("the cabin", &world, &world.cabin, 8443, 4430)?;
    port_arrives("the VPS itself", &world, &world.vps, 22, 22)?;
    straddle.down_on(&hosts, running)?;
    for (host, state) in hosts.iter().zip(&states) {
        same("two homes", state, host);
    }
    Ok(())
}

/// A VPS that does other things besides: containers, a VPN's NAT, a firewall, addresses before the public one.
fn furnish_vps(vps: &Host) -> Result<(), LabError> {
    for dev in ["all", "default", "eth0"] {
        vps.sysctl(&format!("net/ipv4/conf/{dev}/rp_filter"), "1")?;
    }
    vps.sysctl("net/ipv4/ip_forward", "1")?;
    vps.ip("
        address del 203.0.113.144/24 dev eth0
        address add 203.0.113.140/24 dev eth0
        address add 203.0.113.144/24 dev eth0
        route add default via 203.0.113.1
        link add docker0 type bridge
        link set docker0 up
        address add 172.17.0.1/16 dev docker0
    ")?;
    vps.nft(
        r#"
        table ip nat {
            chain PREROUTING {
                type nat hook prerouting priority -100; policy accept;
                fib daddr type local tcp dport 8080 dnat to 172.17.0.2:80
            }
            chain POSTROUTING {
                type nat hook postrouting priority 100; policy accept;
                ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
                oifname "eth0" masquerade
            }
        }
        table ip filter {
            chain FORWARD {
                type filter hook forward priority 0; policy drop;
                ct state { established, related } accept
                iifname "docker0" accept
                iifname "st-home" accept
                oifname "st-home" accept
            }
        }
    "#,
    )
}

/// A router that hides whatever leaves the LAN, by whichever device, and filters strictly.
fn furnish_router(router: &Host) -> Result<(), LabError> {
    for dev in ["all", "default", "wan0", "lan0"] {
        router.sysctl(&format!("net/ipv4/conf/{dev}/rp_filter"), "1")?;
    }
    router.ip("rule add from 192.168.1.50 lookup 100 pref 100\nroute add default via 192.0.0.1 table 100")?;
    router.nft(
        "
        table ip old {
            chain POSTROUTING {
                type nat hook postrouting priority 100; policy accept;
                ip saddr 192.168.1.0/24 ip daddr != 192.168.1.0/24 masquerade
            }
        }
    ",
    )
}

#[test]
fn furnished_hosts_publish_and_get_everything_back() -> Result<(), LabError> {
    let Some(_turn) = turn("furnished_hosts_publish_and_get_everything_back") else { return Ok(()) };
    let world = DsLite::build()?;
    let (vps, router) = (&world.vps, &world.router);
    furnish_vps(vps)?;
    furnish_router(router)?;
    let states = [HostState::read(vps)?, HostState::read(router)?];
    let straddle = Straddle::within(world.directory(), exe(), &[VPS, ROUTER].concat())?;
    let running = straddle.up_on(&[vps, router])?;
    arrives("furnished", &world, &world.first)?;
    let target: SocketAddr = (DsLite::PUBLIC, 8080).into();
    let tcp = seen(stream_at(&world.client, &world.first, target, 8080)?);
    assert_eq!(tcp, both(DsLite::CLIENT, DsLite::PUBLIC), "all of the address, containers' ports too");
    let out = seen(stream(&world.first, &world.client, DsLite::CLIENT.into())?);
    assert_eq!(out, both(DsLite::PUBLIC, DsLite::CLIENT), "from the public address");
    let out = seen(stream(&world.laptop, &world.client, DsLite::CLIENT.into())?);
    assert_eq!(out, both(DsLite::CGNAT, DsLite::CLIENT), "the laptop as ever");
    let other: IpAddr = "203.0.113.140".parse().unwrap();
    assert!(stream(&world.client, vps, other)?.is_some(), "the VPS's other address is its own");
    straddle.down_on(&[vps, router], running)?;
    same("down", &states[0], vps);
    same("down", &states[1], router);
    Ok(())
}

/// A firewall that would drop what is published is named, and by what.
#[test]
fn a_barring_firewall_is_named() -> Result<(), LabError> {
    let Some(_turn) = turn("a_barring_firewall_is_named") else { return Ok(()) };
    let world = DsLite::build()?;
    let relay = "[[relay]]\nhost = \"vps\"\nlisten = \"tcp6/7000\"\nto = \"127.0.0.1:22\"\n";
    let straddle = Straddle::within(world.directory(), exe(), &[VPS, ROUTER, relay].concat())?;
    let plan = || Ok::<String, LabError>(straddle.on(&world.vps).verb(&["plan"])?.stdout);
    assert!(!plan()?.contains("DOCKER-ISH"), "nothing bars");
    world
        .vps
        .nft("table ip filter { chain DOCKER-ISH { type filter hook forward priority 0; policy drop; }; }")?;
    let shown = plan()?;
    assert!(shown.contains("DOCKER-ISH"), "{shown}");
    world.vps.nft("table inet own { chain INN { type filter hook input priority 0; policy drop; }; }")?;
    let shown = plan()?.split_whitespace().collect::<Vec<_>>().join(" ");
    let rules = ["ip6 saddr 2001:db8:b0a8:fdd2:203:0:113:144 meta l4proto 4", "tcp dport 7000"];
    for rule in rules.map(|rule| format!("insert rule inet own INN {rule} accept")) {
        assert!(shown.contains(&rule), "{rule}: {shown}");
        world.vps.run(&["nft", &rule])?;
    }
    Ok(())
}

/// The provider gives the home another prefix while a download runs. The file is told, and `up` on both hosts:
/// the carrier's ends move, and nothing else does.
#[test]
fn a_download_outlives_the_homes_prefix() -> Result<(), LabError> {
    let Some(_turn) = turn("a_download_outlives_the_homes_prefix") else { return Ok(()) };
    let world = DsLite::build()?;
    let state = HostState::read(&world.vps)?;
    let straddle = Straddle::within(world.directory(), exe(), &[VPS, ROUTER].concat())?;
    let hosts = [&world.vps, &world.router];
    let running = straddle.up_on(&hosts)?;
    let (meanwhile, got) =
        download_during(&world.client, &world.first, DsLite::PUBLIC.into(), world.directory(), || {
            world.renumber(0xfdd2, 0xfdd4)?;
            let moved = [VPS, &ROUTER.replace(":fdd2:", ":fdd4:")].concat();
            Straddle::within(world.directory(), exe(), &moved)?;
            hosts.iter().try_for_each(|host| straddle.on(host).up().map(drop))
        })?;
    assert!(meanwhile > 0 && meanwhile < got.bytes, "it was on its way: {meanwhile} bytes of {got:?}");
    assert!(got.intact, "{got:?}");
    arrives("renumbered", &world, &world.first)?;
    straddle.down_on(&hosts, running)?;
    same("down", &state, &world.vps);
    Ok(())
}

/// The home's side as it is where the provider changes the prefix; `KEY` stands for the file with the key.
pub(crate) const TELLS: &str = r#"
[host.router]
uplink = "wan0"
ipv4 = "192.168.1.1/24"
mtu = 1492

[[publish]]
name = "home"
address = "203.0.113.144"
from = "vps"
to = "router"
target = "192.168.1.210"
to-endpoint = "dynamic"
key-file = "KEY"
"#;

/// The home tells its new prefix by itself while a download runs, and others tell lies all the time.
#[test]
fn a_download_outlives_a_prefix_that_the_home_tells() -> Result<(), LabError> {
    let Some(_turn) = turn("a_download_outlives_a_prefix_that_the_home_tells") else { return Ok(()) };
    let world = DsLite::build()?;
    let hosts = [&world.vps, &world.router];
    let state = HostState::read(&world.vps)?;
    let key = world.directory().join("home.key").display().to_string();
    let straddle = Straddle::within(world.directory(), exe(), &[VPS, &TELLS.replace("KEY", &key)].concat())?;
    straddle.on(&world.vps).verb(&["key", &key])?;
    let heard = Heard::start(&world)?;
    let running = straddle.up_on(&hosts)?;
    wait::until("the VPS to know the home", Duration::from_secs(20), || {
        ping(&world.client, DsLite::PUBLIC.into(), 1).ok().filter(|ping| ping.received > 0)
    })?;
    let update = heard.update()?;
    let (begun, stop) = (Instant::now(), AtomicBool::new(false));
    let (lies, got) = thread::scope(|scope| {
        let liar = scope.spawn(|| lie(&world.client, &update, &stop));
        let got =
            download_during(&world.client, &world.first, DsLite::PUBLIC.into(), world.directory(), || {
                world.renumber(0xfdd2, 0xfdd4)?;
                wait::until("the new endpoint to be known", Duration::from_secs(20), || {
                    let status = straddle.on(&world.vps).json("status").ok()?;
                    (status["bridges"][0]["update"]["endpoint"] == RENUMBERED).then_some(())
                })
            });
        stop.store(true, Relaxed);
        (liar.join().unwrap(), got)
    });
    let (rate, (meanwhile, got)) = (f64::from(lies) / begun.elapsed().as_secs_f64(), got?);
    assert!(meanwhile > 0 && meanwhile < got.bytes, "it was on its way: {meanwhile} bytes of {got:?}");
    assert!(got.intact, "{got:?}");
    assert!(rate >= 1000.0, "{rate} lies in a second");
    let status = straddle.on(&world.vps).json("status")?;
    let update = &status["bridges"][0]["update"];
    assert_eq!(update["endpoint"], RENUMBERED, "{status}");
    let counts = update["messages"].as_array().unwrap().iter();
    let ignored = counts.filter(|count| IGNORED.iter().any(|name| count[0] == *name));
    let ignored: u64 = ignored.filter_map(|count| count[1].as_u64()).sum();
    assert!(ignored > 1000, "{ignored} of {lies} lies were counted: {update}");
    arrives("renumbered", &world, &world.first)?;
    straddle.down_on(&hosts, running)?;
    same("down", &state, &world.vps);
    Ok(())
}

/// Sends what the home has sent once, the same with another signature, and nothing that has one.
fn lie(client: &Host, update: &[u8], stop: &AtomicBool) -> u32 {
    let socket = client.inside(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))).unwrap().unwrap();
    socket.connect((DsLite::VPS6, UPDATE_PORT)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut forged = update.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let unkeyed: Vec<u8> = update.iter().take(update.len() - 16).copied().chain([0; 16]).collect();
    let mut sent = 0;
    while !stop.load(Relaxed) {
        for lie in [update, &forged, &unkeyed].into_iter().cycle().take(12) {
            sent += u32::from(socket.send(lie).is_ok());
        }
        // A challenge may come, or nothing.
        let _ = socket.recv(&mut [0; 1500]);
    }
    sent
}

/// What the provider sees of the home's updates.
struct Heard {
    file: PathBuf,
    _tcpdump: Process,
}

impl Heard {
    fn start(world: &DsLite) -> Result<Heard, LabError> {
        let file = world.directory().join("updates.pcap");
        let mut command = world.provider.command("tcpdump");
        command.args(["-U", "-i", "router", "-w"]).arg(&file).args(["udp", "dst", "port", "4646"]);
        let mut tcpdump = Process::start(command, &world.directory().join("tcpdump.log"))?;
        tcpdump.says("listening on", Duration::from_secs(10))?;
        Ok(Heard { file, _tcpdump: tcpdump })
    }

    /// The payload of the first: behind the headers of file (24 bytes) and packet (16), Ethernet, IPv6 and UDP.
    fn update(&self) -> Result<Vec<u8>, LabError> {
        wait::until("an update on the line", Duration::from_secs(5), || {
            let capture = fs::read(&self.file).ok()?;
            let length = u32::from_ne_bytes(capture.get(32..36)?.try_into().ok()?);
            let packet = capture.get(40..40 + usize::try_from(length).ok()?)?;
            packet.get(14 + 40 + 8..).map(<[u8]>::to_vec)
        })
    }
}

const UPDATE_PORT: u16 = 4646;
const RENUMBERED: &str = "2001:db8:b0a8:fdd4:203:0:113:144";
const IGNORED: [&str; 4] = ["unproven", "behind", "rate-limited", "forged"];

fn stage(pick: fn(&DsLite) -> &Host) -> Result<Stage, LabError> {
    let world = DsLite::build()?;
    let straddle = Straddle::within(world.directory(), exe(), &[VPS, ROUTER].concat())?;
    Ok(Stage { host: pick(&world).clone(), world: Box::new(world), straddle })
}

#[test]
fn a_vps_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_vps_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_survived(|| stage(|world| &world.vps))
}

#[test]
fn a_home_router_survives_kill_9_at_every_step() -> Result<(), LabError> {
    let Some(_turn) = turn("a_home_router_survives_kill_9_at_every_step") else { return Ok(()) };
    every_kill_is_survived(|| stage(|world| &world.router))
}
