use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{SendFlags, send};
use straddle_serve::relay::{Limit, Protocol, Reason, Rules, Target};

use super::world::{LIMIT, LOOPBACK, World, accepted, free, is_reset, server, turn, wait_until};

#[test]
pub(super) fn both_directions_close_by_themselves() {
    let _turn = turn();
    let (server, target) = server();
    let world = World::tcp(target, Rules::default());
    let mut client = world.connect();
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut served = accepted(&server);
    let mut question = String::new();
    served.read_to_string(&mut question).unwrap();
    // The other direction is still open.
    let answer = vec![7; 3_000_000];
    let sent = answer.clone();
    let sender = thread::spawn(move || served.write_all(&sent));
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    sender.join().unwrap().unwrap();
    assert!(question == "question" && got == answer, "{question}, {} bytes", got.len());
    world.ended(Reason::Finished, 1);
    let counted = world.counted();
    assert_eq!((counted.accepted, counted.open), (1, 0));
    assert_eq!((counted.to_target.bytes, counted.to_client.bytes), (8, 3_000_000));
}

/// splice(2) does not pass urgent data, nor does it tell it from the end.
#[test]
fn urgent_data_stays_in_its_place() {
    let _turn = turn();
    let (server, target) = server();
    let world = World::tcp(target, Rules::default());
    for (before, after) in [(3, 3), (300_000, 100), (300_000, 300_000), (3, 300_000)] {
        for ended in [true, false] {
            let mut client = world.connect();
            let mut served = accepted(&server);
            let mut got = vec![0; before + 1 + after];
            thread::scope(|scope| {
                // Not all of it need fit into what lies between.
                scope.spawn(|| {
                    client.write_all(&vec![1; before]).unwrap();
                    assert_eq!(send(&client, &[2], SendFlags::OOB), Ok(1));
                    client.write_all(&vec![3; after]).unwrap();
                    if ended {
                        client.shutdown(Shutdown::Write).unwrap();
                    }
                });
                served.read_exact(&mut got).unwrap();
            });
            let expected = [vec![1; before], vec![2], vec![3; after]].concat();
            assert!(got == expected, "{before} and {after} bytes");
        }
    }
}

#[test]
pub(super) fn a_reset_is_carried_on() {
    let _turn = turn();
    let (server, target) = server();
    let world = World::tcp(target, Rules::default());
    let client = world.connect();
    let served = accepted(&server);
    abort(client);
    is_reset(&served);
    world.ended(Reason::ClientReset, 1);

    let world = World::tcp(target, Rules::default());
    let mut client = world.connect();
    let mut served = accepted(&server);
    served.write_all(b"last words").unwrap();
    let mut words = [0; 10];
    client.read_exact(&mut words).unwrap();
    abort(served);
    is_reset(&client);
    world.ended(Reason::TargetReset, 1);
}

#[test]
pub(super) fn who_may_not_connect_is_told_at_once() {
    let _turn = turn();
    let (server, target) = server();
    let nobody = Rules { allow: vec!["192.0.2.0/24".parse().unwrap()], ..Rules::default() };
    let world = World::tcp(target, nobody);
    is_reset(&world.connect());
    world.ended(Reason::NotAllowed, 1);

    for (rules, reason) in [
        (Rules { max_connections: Some(2), ..Rules::default() }, Reason::TooMany),
        (Rules { max_per_source: Some(2), ..Rules::default() }, Reason::TooManyFromSource),
    ] {
        let world = World::tcp(target, rules);
        let held = [world.connect(), world.connect()];
        let served = [accepted(&server), accepted(&server)];
        is_reset(&world.connect());
        world.ended(reason, 1);
        let full = (reason == Reason::TooMany).then_some(Limit::MaxConnections);
        assert_eq!(world.counted().at_limit, full);
        drop((held, served));
        // Its place is free again.
        let deadline = Instant::now() + LIMIT;
        while world.counted().open > 0 {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        let client = world.connect();
        drop((accepted(&server), client));
    }
}

#[test]
pub(super) fn a_target_that_is_down_is_told_at_once() {
    let _turn = turn();
    let nobody = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), free(Protocol::Tcp));
    let world = World::tcp(nobody, Rules::default());
    let began = Instant::now();
    is_reset(&world.connect());
    assert!(began.elapsed() < Duration::from_secs(1));
    world.ended(Reason::TargetRefused, 1);

    // No connection leads to everybody.
    let world = World::tcp("255.255.255.255:9".parse().unwrap(), Rules::default());
    is_reset(&world.connect());
    world.ended(Reason::TargetUnreachable, 1);
}

/// The queue of a listener that accepts nobody fills up; whoever comes then gets no answer.
#[test]
pub(super) fn a_target_that_does_not_answer_has_its_time() {
    let _turn = turn();
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let deaf = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
    bind(&deaf, &SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0)).unwrap();
    listen(&deaf, 0).unwrap();
    let target = SocketAddr::try_from(getsockname(&deaf).unwrap()).unwrap();
    let _first = TcpStream::connect(target).unwrap();
    let rules = Rules { connect_timeout: Duration::from_millis(300), ..Rules::default() };
    let world = World::tcp(target, rules);
    is_reset(&world.connect());
    world.ended(Reason::TargetTimeout, 1);
}

#[test]
pub(super) fn names() {
    let _turn = turn();
    let (server, target) = server();
    let localhost = |port| Target::Name("localhost".into(), port);
    let private = || vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let with = |target, allow_private| {
        World::new(Protocol::Tcp, target, Rules { allow_private, ..Rules::default() })
    };
    let world = with(localhost(target.port()), Vec::new());
    is_reset(&world.connect());
    world.ended(Reason::NamePrivate, 1);

    // IPv4 refuses, or IPv6 is no address of the name: whichever is there is found.
    let four = TcpListener::bind((Ipv4Addr::LOCALHOST, target.port())).unwrap();
    let world = with(localhost(target.port()), private());
    let client = world.connect();
    four.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + LIMIT;
    let served = loop {
        match server.accept().or_else(|_| four.accept()) {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(Instant::now() < deadline),
        }
    };
    drop((client, served));
    world.ended(Reason::Finished, 1);

    let unknown = Target::Name("no-such-host.invalid".into(), 9);
    let connect_timeout = Duration::from_millis(500);
    let world = World::new(Protocol::Tcp, unknown, Rules { connect_timeout, ..Rules::default() });
    is_reset(&world.connect());
    world.ended(Reason::NameUnknown, 1);

    // A name that leads to the relay itself.
    let mut world = with(localhost(9), vec!["127.0.0.0/8".parse().unwrap()]);
    let port = world.address().port();
    world.relay.target = localhost(port);
    world.serving.change(vec![world.relay.clone()]).unwrap();
    is_reset(&world.connect());
    world.ended(Reason::Loop, 1);
}

#[test]
pub(super) fn proxy_headers() {
    let _turn = turn();
    let (server, target) = server();
    let rules = || Rules {
        accept_proxy: vec!["127.0.0.0/8".parse().unwrap()],
        allow: vec!["198.51.100.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        proxy_out: true,
        connect_timeout: Duration::from_millis(500),
        ..Rules::default()
    };
    let world = World::tcp(target, rules());
    let mut client = world.connect();
    // In pieces, and payload behind it.
    for piece in ["PROXY TCP4 198.51.1", "00.10 203.0.113.1 4000 443\r", "\nhello"] {
        client.write_all(piece.as_bytes()).unwrap();
        thread::yield_now();
    }
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    accepted(&server).read_to_end(&mut got).unwrap();
    let expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x0a\xcb\0\x71\x01\x0f\xa0\x01\xbbhello";
    assert_eq!(got, expected);
    world.ended(Reason::Finished, 1);

    for (bytes, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Reason::BadHeader),
        (b"PROXY TCP4 192.0.2.1 203.0.113.1 4000 443\r\n", Reason::NotAllowed),
        (b"PROXY TCP4", Reason::HeaderTimeout),
    ] {
        let world = World::tcp(target, rules());
        let mut client = world.connect();
        client.write_all(bytes).unwrap();
        is_reset(&client);
        world.ended(reason, 1);
    }
    // A client that says that it is IPv6 has no address to embed.
    let embed = Some("2001:db8:64::/96".parse().unwrap());
    let world = World::tcp(target, Rules { embed, ..rules() });
    let mut client = world.connect();
    client.write_all(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n").unwrap();
    is_reset(&client);
    world.ended(Reason::NotEmbeddable, 1);
}

#[test]
pub(super) fn silence_has_an_end() {
    let _turn = turn();
    let (server, target) = server();
    let short = Duration::from_millis(200);
    let world = World::tcp(target, Rules { idle_timeout: [short; 2], ..Rules::default() });
    let client = world.connect();
    let served = accepted(&server);
    is_reset(&client);
    is_reset(&served);
    world.ended(Reason::Idle, 1);

    let world = World::tcp(target, Rules { half_close_timeout: short, ..Rules::default() });
    let client = world.connect();
    let mut served = accepted(&server);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(served.read(&mut [0]).unwrap(), 0);
    is_reset(&client);
    world.ended(Reason::HalfClosed, 1);
}

#[test]
pub(super) fn draining() {
    let _turn = turn();
    let (server, target) = server();
    let mut world = World::tcp(target, Rules::default());
    let mut client = world.connect();
    let mut served = accepted(&server);
    world.serving.drain();
    client.write_all(b"still there").unwrap();
    served.read_exact(&mut [0; 11]).unwrap();
    drop((client, served));
    world.ended(Reason::Finished, 1);
    assert!(wait_until(|| world.serving.open() == 0));
    assert!(wait_until(|| TcpStream::connect(world.address()).is_err()), "it still listens");

    let rules = Rules { drain_time: Duration::from_millis(300), ..Rules::default() };
    let mut world = World::tcp(target, rules);
    let client = world.connect();
    let _served = accepted(&server);
    world.serving.drain();
    is_reset(&client);
    world.ended(Reason::Drained, 1);
}

/// What is open goes on, with the target that it began with; what comes later has the new one.
#[test]
fn a_change_leaves_what_is_open_alone() {
    let _turn = turn();
    let (one, target) = server();
    let (other, elsewhere) = server();
    let mut world = World::tcp(target, Rules::default());
    let mut client = world.connect();
    let mut served = accepted(&one);
    world.relay.target = Target::Address(elsewhere);
    world.serving.change(vec![world.relay.clone()]).unwrap();
    let mut later = world.connect();
    let mut served_later = accepted(&other);
    // Gone altogether.
    world.serving.change(Vec::new()).unwrap();
    assert!(TcpStream::connect(world.address()).is_err());
    for (client, served) in [(&mut client, &mut served), (&mut later, &mut served_later)] {
        let mut room = [0; 4];
        client.write_all(b"ping").unwrap();
        served.read_exact(&mut room).unwrap();
        served.write_all(b"pong").unwrap();
        client.read_exact(&mut room).unwrap();
        assert_eq!(&room, b"pong");
    }
    // The port is free at once, for another or again.
    world.serving.change(vec![world.relay.clone()]).unwrap();
    let third = world.connect();
    drop((accepted(&other), third));
}

#[test]
fn a_place_that_is_taken_is_told_and_tried_again() {
    let _turn = turn();
    let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let (server, target) = server();
    let mut world = World::tcp(target, Rules::default());
    world.relay.listens[0].first = port;
    world.relay.listens[0].last = port;
    let troubles = world.serving.change(vec![world.relay.clone()]).unwrap_err();
    let [trouble] = troubles else { panic!("{troubles:?}") };
    let expected = format!("can't listen at 127.0.0.1:{port} (here): Address already in use (os error 98)");
    assert_eq!(trouble.to_string(), expected);
    assert!(!trouble.lacks_files());
    assert!(world.counted().trouble.is_some() && world.serving.is_troubled());
    drop(taken);
    world.serving.change(vec![world.relay.clone()]).unwrap();
    assert!(world.counted().trouble.is_none());
    let client = world.connect();
    drop((accepted(&server), client));
}

/// A range keeps its offset.
#[test]
fn the_ports_of_a_range() {
    let _turn = turn();
    let (server, target) = server();
    let mut world = World::tcp(target, Rules::default());
    let first = free(Protocol::Tcp);
    world.relay.listens[0].first = first;
    world.relay.listens[0].last = first + 2;
    world.relay.target = Target::Address(SocketAddr::new(target.ip(), target.port() - 1));
    world.serving.change(vec![world.relay.clone()]).unwrap();
    let client = TcpStream::connect((LOOPBACK, first + 1)).unwrap();
    drop((accepted(&server), client));
    world.ended(Reason::Finished, 1);
}

/// Closes with a reset.
fn abort(stream: TcpStream) {
    set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
}
