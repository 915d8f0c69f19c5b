//! Nothing is allocated per packet. Alone in its process, whose allocator is counted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

mod device;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use device::{Device, TCP, UDP, message};

/// What comes out of the large message, in bytes.
const WRITTEN: usize = straddle_wire::vnet::HEADER + 40 + 60_000;
/// How often each message goes through.
const TIMES: usize = 2_000;

#[test]
fn nothing_is_allocated_per_packet() {
    let large: Vec<u8> = message(TCP, 7, 1440, &[0; 60_000]);
    let mut last_hop = message(UDP, 7, 0, b"answered or not, by the rate limit");
    last_hop[straddle_wire::vnet::HEADER + 7] = 1;
    let others = [message(UDP, 7, 0, &[1; 64]), message(UDP, 8, 400, &[2; 4000]), last_hop, vec![0; 60]];
    let device = Device::after(&[]);
    let mut room = vec![0; 70_000];
    let mut round = |times: usize| {
        for _ in 0..times {
            device.give(&large);
            others.iter().for_each(|message| device.give(message));
            // Whatever there is: answers are limited, and datagrams may have gone together.
            while rustix::io::read(&device.kernel, &mut *room).unwrap() != WRITTEN {}
        }
    };
    round(100);
    let before = ALLOCATIONS.load(Relaxed);
    round(TIMES);
    let made = ALLOCATIONS.load(Relaxed) - before;
    let passes = device.report().to4.passes;
    assert!(passes > 2 * TIMES as u64, "{passes} passes");
    assert_eq!(made, 0, "allocations for {} packets", 5 * TIMES);
}

/// The system's allocator, counted for all threads.
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
