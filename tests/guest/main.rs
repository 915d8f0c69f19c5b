//! Ring 5: on Debian's stock kernel in an emulated machine, where the kernel's own tunnel devices
//! are. `make test-guest` builds this outside and runs it inside; elsewhere each test fails and says so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

mod borrow;
#[path = "../common/choice.rs"]
mod choice;
#[path = "../common/doctor.rs"]
mod common_doctor;
mod doctor;
mod fast;
mod hand;
#[path = "../common/idle.rs"]
mod idle;
mod interop;
mod invite;
mod jool;
mod mtu;
#[path = "../common/pair.rs"]
mod pair;
mod publish;
mod relay;
mod tunnel6;
mod uplinks;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use straddle_lab::world::{World, WorldOptions};

/// The binary under test.
fn exe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_straddle"))
}

/// One at a time, on a kernel that has the devices.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::build(WorldOptions::default()).expect("the guest can build a world");
    let add =
        ["ip", "link", "add", "asked", "type", "ip6gre", "local", "2001:db8::1", "remote", "2001:db8::2"];
    world.borrower.run(&add).expect("this kernel has no ip6gre: run these tests with `make test-guest`");
    turn
}
