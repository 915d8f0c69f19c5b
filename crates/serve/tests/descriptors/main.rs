//! Relays that have no descriptors left, in a process that no other test opens files in.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use straddle_serve::relay::{Alert, Limit, Reason, Rules, Serving};

use world::{World, accepted, is_reset, server, turn, wait_until};

#[path = "../relay/world.rs"]
mod world;

/// A limit that comes back, whatever becomes of the test.
struct Before(Rlimit);

impl Drop for Before {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

/// Loops of the test before end by themselves, and what they close then would be missed here.
fn all_are_closed() {
    static FIRST: OnceLock<usize> = OnceLock::new();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let first = *FIRST.get_or_init(open);
    assert!(wait_until(|| open() <= first), "{} descriptors, {first} at first", open());
}

#[test]
fn descriptors_run_out_and_come_back() {
    let _turn = turn();
    all_are_closed();
    let (server, target) = server();
    let world = World::tcp(target, Rules::default());
    // Both loops listen by now.
    drop((world.connect(), accepted(&server)));
    world.ended(Reason::Finished, 1);

    let before = Before(getrlimit(Resource::Nofile));
    let mut taken = vec![server.try_clone().unwrap()];
    let highest = taken[0].as_raw_fd() as u64;
    setrlimit(Resource::Nofile, Rlimit { current: Some(highest + 10), maximum: before.0.maximum }).unwrap();
    // What somebody has open for a moment is taken too.
    for _ in 0..3 {
        taken.extend(std::iter::from_fn(|| server.try_clone().ok()));
        thread::sleep(Duration::from_millis(110));
    }
    // One descriptor for a client, none for whoever accepts it: it waits.
    taken.pop();
    let waiting = world.connect();
    assert!(wait_until(|| world.serving.alerts() == [Alert::NoDescriptors]));
    assert_eq!(world.counted().accepted, 1);
    // One for it, none for the way on.
    taken.pop();
    is_reset(&waiting);
    assert!(wait_until(|| world.counted().ends.contains(&(Reason::NoDescriptor.name(), 1))));
    taken.clear();
    drop(before);
    // All is as before, and it was told once.
    let mut client = world.connect();
    client.write_all(b"x").unwrap();
    assert_eq!(accepted(&server).read(&mut [0]).unwrap(), 1);
    assert!(world.serving.alerts().is_empty());
}

/// Relays leave what lies beyond their line to the rest of the process, and say that they are at it.
#[test]
fn descriptors_are_held_back() {
    let _turn = turn();
    all_are_closed();
    let (server, target) = server();
    let line = server.as_raw_fd() as u64 + 40;
    let mut relay = World::tcp(target, Rules::default()).relay;
    // None of a range's ports is had beyond it, and that is one sentence.
    let first = relay.listens[0].first;
    (relay.listens[0].first, relay.listens[0].last) = (20_000, 20_099);
    let mut serving = Serving::begin(2, line).unwrap();
    let troubles = serving.change(vec![relay.clone()]).unwrap_err();
    let [trouble] = troubles else { panic!("{troubles:?}") };
    assert!(trouble.lacks_files() && trouble.ports > 50, "{trouble}");
    assert!(trouble.to_string().ends_with(": Too many open files (os error 24)"), "{trouble}");
    drop(serving);

    (relay.listens[0].first, relay.listens[0].last) = (first, first);
    let world = World::within(relay, line);
    let (mut held, mut clients) = (Vec::new(), 0);
    // These are beyond the line themselves, so that all below it are the relay's.
    let high = |stream: TcpStream| rustix::io::fcntl_dupfd_cloexec(&stream, line as i32 + 100).unwrap();
    while world.counted().at_limit.is_none() {
        assert!(clients < 40, "{:?}", world.counted());
        held.push(high(world.connect()));
        clients += 1;
        assert!(wait_until(|| {
            let counted = world.counted();
            counted.at_limit.is_some() || counted.accepted >= clients
        }));
        server.set_nonblocking(true).unwrap();
        held.extend(server.accept().map(|(served, _)| high(served)));
    }
    assert_eq!(world.serving.alerts(), [Alert::NoDescriptors]);
    // What connecting took below the line for a moment, and what the relay gives back, is taken for good.
    let mut others = Vec::new();
    let mut beyond = 0;
    while beyond < 3 {
        let other: TcpListener = server.try_clone().unwrap();
        if other.as_raw_fd() as u64 >= line {
            beyond += 1;
            thread::sleep(Duration::from_millis(110));
        } else {
            beyond = 0;
        }
        others.push(other);
    }
    // A loop that looked before one was taken goes on until somebody comes.
    assert!(wait_until(|| {
        let limited = world.counted().at_limit == Some(Limit::OpenFiles);
        if !limited {
            held.push(high(world.connect()));
            thread::sleep(Duration::from_millis(20));
        }
        limited
    }));
    // Whoever comes waits, and the rest of the process is not at its end.
    let accepted_before = world.counted().accepted;
    let mut waiting = world.connect();
    waiting.write_all(b"x").unwrap();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(world.counted().accepted, accepted_before);
    drop((others, held));
    server.set_nonblocking(false).unwrap();
    while accepted(&server).read(&mut [0]).unwrap_or(0) == 0 {}
    assert!(wait_until(|| world.counted().at_limit.is_none()));
}
