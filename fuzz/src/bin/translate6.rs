//! IPv6 to IPv4: whatever comes out has right lengths, and right checksums where it came with right ones.
//! Input: choices, three MTUs, offload header, packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use straddle_fuzz::{judge, setup};

fuzz_target!(|input: &[u8]| {
    let mut input = input.to_vec();
    if let Some(first) = input.get_mut(19) {
        *first = 0x60 | *first & 15;
    }
    if let Some(outcome) = setup::run(&input) {
        judge::check(&outcome);
    }
});
