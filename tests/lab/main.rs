//! Ring 4: stories in network namespaces, with the real binary on the real kernel.
//!
//! They need root. Without it each says loudly that it was skipped, and fails in CI.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

mod addresses;
mod before;
mod borrow;
mod carrier;
#[path = "../common/choice.rs"]
mod choice;
mod clat;
#[path = "../common/doctor.rs"]
mod common_doctor;
mod crash;
mod deal;
mod doctor;
mod fast;
mod fast_carrier;
mod fast_clients;
mod fast_direct;
mod fast_lender;
mod foreign;
mod guard;
#[path = "../common/idle.rs"]
mod idle;
mod invite;
mod keys;
#[path = "../common/pair.rs"]
mod pair;
mod path;
mod publish;
mod relay;
mod siit;
mod told;
mod trace_free;
mod tunnel6;
mod uplinks;
mod via6;

use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use straddle_lab::host::Host;
use straddle_lab::process::Process;
use straddle_lab::state::HostState;
use straddle_lab::straddle::Straddle;
use straddle_lab::world::{World, WorldOptions};
use straddle_lab::{Carrier, LabError, Report};

/// The binary under test.
fn exe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_straddle"))
}

/// One lab at a time, so that measurements do not disturb each other; `None` without root.
fn turn(test: &str) -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    if rustix::process::geteuid().is_root() {
        return Some(TURN.lock().unwrap_or_else(PoisonError::into_inner));
    }
    assert!(env::var_os("CI").is_none(), "{test} needs root, and CI must not skip it");
    // Not `eprintln`, which the test harness swallows; in one piece, since tests run side by side.
    std::io::stderr().write_all(format!("SKIPPED (needs root): {test}\n").as_bytes()).unwrap();
    None
}

/// A world in which the address has moved, served on both hosts.
struct Moved {
    world: World,
    straddle: Straddle,
    running: [Process; 2],
}

impl Moved {
    fn new(options: WorldOptions, carrier: Carrier) -> Result<Moved, LabError> {
        Moved::by(options, carrier, "auto")
    }

    /// With this word for `fast-path` at both ends.
    fn by(options: WorldOptions, carrier: Carrier, fast_path: &str) -> Result<Moved, LabError> {
        let world = World::build(options)?;
        let straddle = Straddle::borrow_by(&world, exe(), carrier, fast_path)?;
        let running = [straddle.on(&world.lender).run()?, straddle.on(&world.borrower).run()?];
        Ok(Moved { world, straddle, running })
    }

    fn down(self) -> Result<World, LabError> {
        self.straddle.on(&self.world.lender).down()?;
        self.straddle.on(&self.world.borrower).down()?;
        self.running.into_iter().try_for_each(|process| process.ends(Duration::from_secs(10)))?;
        Ok(self.world)
    }
}

/// Every check is good, and the page is as wide as a terminal.
#[track_caller]
fn good(report: &Report) {
    let bad: Vec<_> = report.checks.iter().filter(|check| !check.ok).collect();
    assert!(bad.is_empty(), "{bad:#?}\n{report}");
    for line in report.to_string().lines() {
        assert!(line.chars().count() <= 80, "wider than 80 columns: {line}");
    }
}

/// Nothing may differ.
#[track_caller]
fn same(when: &str, expected: &HostState, host: &Host) {
    let changes = expected.difference(&HostState::read(host).unwrap());
    assert!(changes.is_empty(), "{when}: {} has changed\n{}", host.name(), changes.join("\n"));
}

/// Nothing may differ but what depends on whether a carrier is served.
#[track_caller]
fn same_up(when: &str, expected: &HostState, host: &Host) {
    let changes = expected.difference(&HostState::read(host).unwrap().configured());
    assert!(changes.is_empty(), "{when}: {} has changed\n{}", host.name(), changes.join("\n"));
}

const CARRIERS: [Carrier; 2] = [Carrier::Ip6gre, Carrier::Ip4ip6];

/// The system's allocator, counted: the packet loops run in this process too.
struct Counted;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system allocator's own doing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// How often memory was asked for so far.
fn allocations() -> usize {
    ALLOCATIONS.load(Relaxed)
}
