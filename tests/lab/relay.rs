//! Relays with the real binary: headers read by others, bytes compared, and what a reload and an end leave alone.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use rustix::net::listen;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};
use straddle_lab::process::Process;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::Rented;
use straddle_lab::{LabError, RelayOptions, relay, wait};

use super::deal::{Deal, Manner, reset};
use super::{exe, good, idle, turn};

const LIMIT: Duration = Duration::from_secs(20);
const HOST: &str = "[host.vps]\nuplink = \"eth0\"\nipv6 = \"2001:db8:aefc::2\"\n\n";

#[test]
fn the_lab_is_good() {
    let Some(_turn) = turn("the_lab_is_good") else { return };
    good(&relay(&RelayOptions::default(), exe(), &mut |_| ()).unwrap());
}

fn one(listen: &str, port: u16, more: &str) -> String {
    format!(
        "[[relay]]\nhost = \"vps\"\nlisten = \"{listen}\"\nto = \"[{}]:{port}\"\n{more}\n\n",
        Rented::HOME
    )
}

/// HAProxy reads our header, and tells what it has read: addresses and ports of both families.
#[test]
fn headers_are_read_by_haproxy() -> Result<(), LabError> {
    let Some(_turn) = turn("headers_are_read_by_haproxy") else { return Ok(()) };
    let world = Rented::build()?;
    let text = "global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  \
                timeout server 5s\nfrontend told\n  bind [::]:8090 accept-proxy\n  http-request return status 200 \
                content-type text/plain lf-string \"%[src] %[src_port] %[dst] %[dst_port]\"\n";
    let file = world.directory().join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    let mut command = world.home.command("haproxy");
    command.args(["-db", "-f"]).arg(&file);
    let _haproxy = Process::start(command, &world.directory().join("haproxy.log"))?;
    let config = HOST.to_owned() + &one("tcp/8090", 8090, "proxy-protocol = \"v2\"");
    let straddle = Straddle::within(world.directory(), exe(), &config)?;
    let _running = straddle.on(&world.vps).run()?;
    for target in [SocketAddr::new(Rented::VPS.into(), 8090), SocketAddr::new(Rented::VPS6.into(), 8090)] {
        // HAProxy may not listen yet: then the relay resets.
        let (own, answer) = wait::until("HAProxy to answer", LIMIT, || {
            world.client.inside(|| asked(target)).ok()?.ok().filter(|(_, answer)| answer.contains("200 OK"))
        })?;
        let expected = format!("{} {} {} {}", own.ip(), own.port(), target.ip(), target.port());
        assert!(answer.ends_with(&expected), "{answer}, not {expected}");
    }
    Ok(())
}

fn asked(target: SocketAddr) -> std::io::Result<(SocketAddr, String)> {
    let mut stream = TcpStream::connect(target)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let own = stream.local_addr()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok((own, answer))
}

fn small(name: &str) -> Builder {
    Builder::new().name(name.into()).stack_size(128 * 1024)
}

/// A server at home that deals with so many connections at once, then ends. All of them must go well.
fn serve(listener: &TcpListener, count: usize) {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                let stream = listener.accept().unwrap().0;
                small("server").spawn_scoped(scope, || Deal::server(stream)).unwrap()
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// A thousand connections at once: closed on one side, reset, slow to read; every byte is compared.
#[test]
fn a_thousand_connections_byte_by_byte() -> Result<(), LabError> {
    const COUNT: usize = 1000;
    let Some(_turn) = turn("a_thousand_connections_byte_by_byte") else { return Ok(()) };
    let world = Rented::build()?;
    let straddle =
        Straddle::within(world.directory(), exe(), &(HOST.to_owned() + &one("tcp4/7000", 7000, "")))?;
    let vps = straddle.on(&world.vps);
    let _running = vps.run()?;
    let listener = world.home.inside(|| TcpListener::bind((Rented::HOME, 7000)))?.unwrap();
    // All come at once; whoever finds no room in the kernel's queue would be reset. And nobody is waited for in vain.
    listen(&listener, COUNT as i32).unwrap();
    set_socket_timeout(&listener, Timeout::Recv, Some(LIMIT)).unwrap();
    let target = SocketAddr::new(Rented::VPS.into(), 7000);
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, COUNT));
        let all = Barrier::new(COUNT);
        let made = world.client.inside(|| {
            thread::scope(|scope| {
                let threads: Vec<_> = (0..COUNT)
                    .map(|number| {
                        let all = &all;
                        let deal = Deal::new(number as u32);
                        let body = move || {
                            let stream = TcpStream::connect(target).unwrap();
                            // Nobody begins before everybody is connected.
                            all.wait();
                            deal.client(stream);
                        };
                        small("client").spawn_scoped(scope, body).unwrap()
                    })
                    .collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
        });
        server.join().unwrap();
        made
    })?;
    let counted = wait::until("everything to be closed", LIMIT, || {
        let counted = vps.json("status").ok()?["bridges"][0]["counters"]["listeners"][0].clone();
        (counted["open"] == 0).then_some(counted)
    })?;
    let (mut up, mut down) = (0u64, 0u64);
    let mut manners = [0u64; 6];
    for deal in (0..COUNT).map(|number| Deal::new(number as u32)) {
        up += u64::from(deal.up) + 16 + u64::from(deal.manner == Manner::ServerResets);
        down += u64::from(deal.down) + u64::from(deal.manner == Manner::ClientResets);
        manners[deal.manner as usize] += 1;
    }
    assert_eq!(counted["to_target"]["bytes"], up, "{counted}");
    assert_eq!(counted["to_client"]["bytes"], down, "{counted}");
    let [.., client, server] = manners;
    let ends = serde_json::json!([
        ["finished", COUNT as u64 - client - server],
        ["client-reset", client],
        ["target-reset", server]
    ]);
    assert_eq!(counted["ends"], ends);
    Ok(())
}

/// As many idle connections as descriptors allow, 20,000 at most, within their share of 200 MB. (`make test-guest` has
/// all of them.)
#[test]
fn idle_connections_cost_little() -> Result<(), LabError> {
    let Some(_turn) = turn("idle_connections_cost_little") else { return Ok(()) };
    // Both ends are this process's, and both sides the relay's, which holds 128 back.
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let count = 20_000.min((allowed as usize - 500) / 2);
    assert!(count >= 1000, "{allowed} descriptors are too few to tell");
    println!("{}", idle::cost_little(exe(), count)?);
    Ok(())
}

fn signal(process: &Process, signal: Signal) {
    kill_process(Pid::from_raw(process.id().cast_signed()).unwrap(), signal).unwrap();
}

/// The file is read anew again and again, with a relay more, one less, and another target, while connections go
/// through: none is broken, and none is refused.
#[test]
fn a_reload_drops_nothing() -> Result<(), LabError> {
    let Some(_turn) = turn("a_reload_drops_nothing") else { return Ok(()) };
    let world = Rented::build()?;
    let files = [
        HOST.to_owned() + &one("tcp4/7000", 7000, ""),
        HOST.to_owned() + &one("tcp4/7000", 7001, "idle-timeout = 1000") + &one("tcp4/7002", 7000, ""),
        HOST.to_owned()
            + &one("tcp4/7003-7090", 7000, "")
            + &one("tcp4/7000", 7000, "max-connections = 5000"),
    ];
    let straddle = Straddle::within(world.directory(), exe(), &files[0])?;
    let mut running = straddle.on(&world.vps).run()?;
    let listeners = [7000, 7001].map(|port| world.home.inside(|| TcpListener::bind((Rented::HOME, port))));
    let listeners: Vec<TcpListener> =
        listeners.into_iter().map(|listener| listener.unwrap().unwrap()).collect();
    let target = SocketAddr::new(Rented::VPS.into(), 7000);
    let (done, closed) = (AtomicBool::new(false), AtomicBool::new(false));
    let dealt = AtomicUsize::new(0);
    thread::scope(|scope| -> Result<(), LabError> {
        for listener in &listeners {
            listener.set_nonblocking(true).unwrap();
            scope.spawn(|| answer(listener, &closed));
        }
        let load = scope.spawn(|| {
            world.client.inside(|| {
                thread::scope(|scope| {
                    for first in 0..8 {
                        let (done, dealt) = (&done, &dealt);
                        scope.spawn(move || {
                            for number in (first..).step_by(8).take_while(|_| !done.load(Relaxed)) {
                                Deal::new(number).client(TcpStream::connect(target).unwrap());
                                dealt.fetch_add(1, Relaxed);
                            }
                        });
                    }
                });
            })
        });
        let reloaded = (1..=12usize).try_for_each(|round| {
            Straddle::within(world.directory(), exe(), &files[round % 3])?;
            let before = (dealt.load(Relaxed), running.log().matches("anew").count());
            signal(&running, Signal::HUP);
            wait::until("the file to be read anew, and connections to go on", LIMIT, || {
                let anew = running.log().matches("anew").count() > before.1;
                (anew && dealt.load(Relaxed) >= before.0 + 20).then_some(())
            })
        });
        done.store(true, Relaxed);
        let loaded = load.join();
        // Whoever is the last is answered too.
        closed.store(true, Relaxed);
        loaded.unwrap()?;
        reloaded
    })?;
    running.says("anew", LIMIT)?;
    assert!(dealt.load(Relaxed) >= 240);
    let log = running.log();
    assert!(!log.contains("error"), "{log}");
    Ok(())
}

/// Deals with whoever comes, until there is nobody left.
fn answer(listener: &TcpListener, closed: &AtomicBool) {
    thread::scope(|scope| {
        while !closed.load(Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    scope.spawn(|| Deal::server(stream));
                }
                Err(_) => thread::yield_now(),
            }
        }
    });
}

/// Told to end, it waits for what is open; told again, it does not.
#[test]
fn an_end_waits_for_what_is_open() -> Result<(), LabError> {
    let Some(_turn) = turn("an_end_waits_for_what_is_open") else { return Ok(()) };
    let world = Rented::build()?;
    let config = HOST.to_owned() + &one("tcp4/7000", 7000, "drain-time = 600");
    let straddle = Straddle::within(world.directory(), exe(), &config)?;
    let listener = world.home.inside(|| TcpListener::bind((Rented::HOME, 7000)))?.unwrap();
    let target = SocketAddr::new(Rented::VPS.into(), 7000);
    let pair = || -> Result<(TcpStream, TcpStream), LabError> {
        let client = world.client.inside(|| TcpStream::connect(target))?.unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        Ok((client, listener.accept().unwrap().0))
    };
    let mut running = straddle.on(&world.vps).run()?;
    let (mut client, mut served) = pair()?;
    signal(&running, Signal::TERM);
    running.says("ending: 1 connections", LIMIT)?;
    wait::until("nobody to listen", LIMIT, || {
        world.client.inside(|| TcpStream::connect(target).is_err()).ok()?.then_some(())
    })?;
    client.write_all(b"still").unwrap();
    served.read_exact(&mut [0; 5]).unwrap();
    drop((client, served));
    running.ends(LIMIT)?;

    let mut running = straddle.on(&world.vps).run()?;
    let (mut client, _served) = pair()?;
    signal(&running, Signal::TERM);
    running.says("ending: 1 connections", LIMIT)?;
    let began = Instant::now();
    signal(&running, Signal::TERM);
    running.ends(LIMIT)?;
    assert!(began.elapsed() < Duration::from_secs(5));
    // What is cut off is not taken for a good end.
    reset(&mut client);
    Ok(())
}

/// `down` gives what is open its `drain-time`, and a second one does not.
#[test]
fn down_waits_for_what_is_open() -> Result<(), LabError> {
    let Some(_turn) = turn("down_waits_for_what_is_open") else { return Ok(()) };
    let world = Rented::build()?;
    let config = HOST.to_owned() + &one("tcp4/7000", 7000, "drain-time = 600");
    let straddle = Straddle::within(world.directory(), exe(), &config)?;
    let vps = straddle.on(&world.vps);
    let mut running = vps.run()?;
    let listener = world.home.inside(|| TcpListener::bind((Rented::HOME, 7000)))?.unwrap();
    let target = SocketAddr::new(Rented::VPS.into(), 7000);
    let mut client = world.client.inside(|| TcpStream::connect(target))?.unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let mut served = listener.accept().unwrap().0;
    thread::scope(|scope| -> Result<(), LabError> {
        let first = scope.spawn(|| vps.down());
        running.says("ending: 1 connections", LIMIT)?;
        // More than it would have to wait for a straddle that is stuck.
        thread::sleep(Duration::from_secs(11));
        client.write_all(b"still").unwrap();
        served.read_exact(&mut [0; 5]).unwrap();
        assert!(!first.is_finished());
        let began = Instant::now();
        let second = vps.down()?;
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(second.stdout.contains("have up to 600 s left; a second"), "{}", second.stdout);
        first.join().unwrap()?;
        Ok(())
    })?;
    reset(&mut client);
    running.ends(LIMIT)
}

/// A flood takes the relays' descriptors and none of the keeper's: it answers, and says what is at its limit.
#[test]
fn a_flood_leaves_the_keeper_alone() -> Result<(), LabError> {
    let Some(_turn) = turn("a_flood_leaves_the_keeper_alone") else { return Ok(()) };
    let world = Rented::build()?;
    let config = HOST.to_owned() + &one("tcp4/7000", 7000, "") + &one("udp4/7000", 7000, "");
    let straddle = Straddle::within(world.directory(), exe(), &config)?;
    let vps = straddle.on(&world.vps);
    let mut command = world.vps.command("setpriv");
    // Without this capability the hard limit holds.
    command.args(["--bounding-set", "-sys_resource", "prlimit", "--nofile=400:400"]);
    command.args(vps.words()).arg("run");
    let mut running = Process::start(command, &world.directory().join("few-files.log"))?;
    running.says("ready:", LIMIT)?;
    let listener = world.home.inside(|| TcpListener::bind((Rented::HOME, 7000)))?.unwrap();
    let _silent = world.home.inside(|| UdpSocket::bind((Rented::HOME, 7000)))?.unwrap();
    listener.set_nonblocking(true).unwrap();
    let target = SocketAddr::new(Rented::VPS.into(), 7000);
    let mut held = Vec::new();
    let counted =
        || vps.json("status").map(|status| status["bridges"][0]["counters"]["listeners"][0].clone());
    world.client.inside(|| {
        for _ in 0..300 {
            held.extend(TcpStream::connect(target).ok());
            held.extend(listener.accept().map(|(served, _)| served));
            let datagrams = UdpSocket::bind((Rented::CLIENT, 0)).unwrap();
            datagrams.send_to(b"x", target).unwrap();
        }
    })?;
    running.says("may have open; new connections wait", LIMIT)?;
    wait::until("the listener to be at its limit", LIMIT, || {
        (counted().ok()?["at_limit"] == "open-files").then_some(())
    })?;
    let shown = vps.try_verb(&["status"])?.stdout;
    assert!(shown.contains("at its limit: relays have all the files open"), "{shown}");
    // The keeper still does what it is there for.
    signal(&running, Signal::HUP);
    running.says("anew", LIMIT)?;
    drop(held);
    drop(listener);
    vps.down()?;
    Ok(())
}

/// What can't be listened at, and what nobody can reach, stands where one looks for it; a range is one line.
#[test]
fn what_does_not_listen_is_not_in_step() -> Result<(), LabError> {
    let Some(_turn) = turn("what_does_not_listen_is_not_in_step") else { return Ok(()) };
    let world = Rented::build()?;
    let listens = "[\"tcp4/7000-7009\", \"tcp4/192.0.2.99:80\"]";
    let config = HOST.to_owned() + &one("LISTENS", 7000, "").replace("\"LISTENS\"", listens);
    let straddle = Straddle::within(world.directory(), exe(), &config)?;
    let vps = straddle.on(&world.vps);
    let nowhere = "nothing comes to `tcp4/192.0.2.99:80`: no device of this host has that address";
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&vps.verb(&["plan"])?.stdout).contains(nowhere));
    let taken: Vec<TcpListener> = world
        .vps
        .inside(|| [7001, 7002].map(|port| TcpListener::bind((Rented::VPS, port)).unwrap()).into())?;
    let running = vps.run()?;
    let shown = words(&vps.try_verb(&["status"])?.stdout);
    assert!(!shown.contains("in step") && shown.contains("listening in part"), "{shown}");
    let why = "can't listen at 2 ports of tcp4/7000-7009, the first 0.0.0.0:7001: Address already in use";
    assert!(shown.contains(why) && shown.contains(nowhere), "{shown}");
    let log = words(&running.log());
    assert_eq!((log.matches("can't listen").count(), log.matches("ss -tulpn").count()), (1, 1), "{log}");
    drop(taken);
    Ok(())
}

/// With `source = "embed"`, a datagram's client is seen within the prefix, and answers find back.
#[test]
fn datagrams_come_from_embedded_addresses() -> Result<(), LabError> {
    let Some(_turn) = turn("datagrams_come_from_embedded_addresses") else { return Ok(()) };
    let world = Rented::build()?;
    let embed = format!("source = \"embed\"\nembed = \"{}\"", Rented::EMBED);
    let config = HOST.to_owned() + &one("udp4/7000", 7000, &embed);
    let straddle = Straddle::within(world.directory(), exe(), &config)?;
    let _running = straddle.on(&world.vps).run()?;
    let server = world.home.inside(|| UdpSocket::bind((Rented::HOME, 7000)))?.unwrap();
    let client = world.client.inside(|| UdpSocket::bind((Rented::CLIENT, 0)))?.unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
    }
    client.send_to(b"question", (Rented::VPS, 7000)).unwrap();
    let mut room = [0; 16];
    let (length, from) = server.recv_from(&mut room).unwrap();
    assert_eq!((&room[..length], from.ip().to_string()), (&b"question"[..], "2001:db8:64::c633:640a".into()));
    server.send_to(b"answer", from).unwrap();
    let (length, from) = client.recv_from(&mut room).unwrap();
    assert_eq!((&room[..length], from), (&b"answer"[..], SocketAddr::new(Rented::VPS.into(), 7000)));
    Ok(())
}
