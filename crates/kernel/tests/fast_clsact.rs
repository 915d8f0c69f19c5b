//! Programs behind somebody else's device on a kernel without the tcx hook: filters of a qdisc that may be there, or may
//! have to be made. Tried in a network namespace, whatever the kernel has.
//!
//! Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "fast/root.rs"]
mod root;

use std::process::Command;

use straddle_intent::object::{FastPath, Hook, Object};
use straddle_intent::step::Step;
use straddle_kernel::{Kernel as _, Live};
use straddle_xlat::Config;

use root::root;

fn run(line: &str) -> String {
    told(&line.split(' ').collect::<Vec<_>>())
}

fn told(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Somebody else's filter, which matches nothing.
fn add_filter(hook: &str) {
    let line = format!("tc filter add dev eth0 {hook} protocol ip bpf bytecode");
    told(&line.split(' ').chain(["1,6 0 0 0"]).collect::<Vec<_>>());
}

/// What filters stand at the device, and at which qdisc.
fn shown() -> String {
    ["qdisc show dev eth0", "filter show dev eth0 ingress", "filter show dev eth0 egress"]
        .map(|question| run(&format!("tc {question}")))
        .concat()
}

/// A namespace for this thread with a device of somebody else's, and two of ours.
struct World {
    live: Live,
}

impl World {
    fn new() -> World {
        // SAFETY: only this thread leaves the namespace, and it has opened nothing in the former one.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        run("ip link add eth0 type veth peer name other");
        run("ip tuntap add mode tun name st-a");
        run("ip tuntap add mode tun name st-b");
        World { live: Live::open().unwrap() }
    }

    fn put(&mut self, program: &FastPath) {
        self.live.execute(&Step::Create(Object::FastPath(program.clone()))).unwrap();
    }

    fn remove(&mut self, program: &FastPath) {
        self.live.execute(&Step::Remove(Object::FastPath(program.clone()))).unwrap();
    }

    /// The programs that are seen, all of which are told what these say.
    #[track_caller]
    fn has(&mut self, expected: &[&FastPath]) {
        let found = self.live.observe(&[]).unwrap().fast;
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for program in expected {
            assert!(found.iter().any(|other| other.agrees(program)), "{program:?} is not in {found:?}");
        }
    }
}

fn program(into: &str, mtu6: u16) -> FastPath {
    FastPath::direct("eth0", Hook::Clsact(into.into()), &Config { mtu6, ..Config::default() })
}

#[test]
fn a_qdisc_that_was_made_goes_with_the_last_filter() {
    if !root("a_qdisc_that_was_made_goes_with_the_last_filter") {
        return;
    }
    let mut world = World::new();
    let before = shown();
    let [a, b, other] = [program("st-a", 1500), program("st-b", 1500), program("st-a", 1400)];
    world.put(&a);
    world.has(&[&a]);
    world.put(&b);
    world.has(&[&a, &b]);
    // In the place of the former.
    world.put(&other);
    world.has(&[&other, &b]);
    // What leads into a device that was made anew leads nowhere.
    run("ip link del st-b");
    run("ip tuntap add mode tun name st-b");
    let found = world.live.observe(&[]).unwrap().fast;
    assert!(!found.iter().any(|other| other.agrees(&b)), "{found:?}");
    world.put(&b);
    world.has(&[&other, &b]);
    world.remove(&other);
    world.has(&[&b]);
    world.remove(&b);
    world.has(&[]);
    assert_eq!(shown(), before);
    // What is gone already is as good as removed.
    world.remove(&b);
}

#[test]
fn what_somebody_else_has_there_stays() {
    if !root("what_somebody_else_has_there_stays") {
        return;
    }
    let mut world = World::new();
    let (a, b) = (program("st-a", 1500), program("st-b", 1500));
    for kind in ["clsact", "ingress"] {
        run(&format!("tc qdisc add dev eth0 {kind}"));
        for filters in [false, true] {
            if filters {
                add_filter("ingress");
            }
            let before = shown();
            world.put(&a);
            world.put(&b);
            world.has(&[&a, &b]);
            world.remove(&a);
            world.remove(&b);
            assert_eq!(shown(), before, "{kind}, filters: {filters}");
        }
        run(&format!("tc qdisc del dev eth0 {kind}"));
    }
    // Whoever comes later stands at a qdisc of ours.
    for hook in ["ingress", "egress"] {
        world.put(&a);
        add_filter(hook);
        world.remove(&a);
        let after = shown();
        assert!(after.contains("bytecode") && after.contains("clsact"), "{after}");
        assert!(!after.contains("straddle"), "{after}");
        run("tc qdisc del dev eth0 clsact");
    }
}
