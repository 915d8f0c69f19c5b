//! What leaves a tunnel can enter it, and leaves it again the same.
//! Input: kind, outer class, payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use straddle_encap::{decapsulate, encapsulate, flow_hash};
use straddle_fuzz::{kind, take};

fuzz_target!(|input: &[u8]| {
    let Some(([choice, class], payload)) = take(input) else {
        return;
    };
    let kind = kind(choice);
    let mut bytes = payload.to_vec();
    let Ok(range) = decapsulate(kind, &mut bytes, class) else {
        assert_eq!(bytes, payload, "a refused packet is left alone");
        return;
    };
    let inner = &bytes[range.clone()];
    assert_eq!(bytes.len(), payload.len());
    // Only class and IPv4 header checksum may differ.
    let same = |from: usize, to: usize| bytes[range.clone()][from..to] == payload[range.clone()][from..to];
    assert!(same(2, 10) && same(12, inner.len()));

    let outer = encapsulate(kind, inner).expect("it came out of this kind");
    let mut again = [outer.prefix.as_bytes(), inner].concat();
    let range = decapsulate(kind, &mut again, outer.traffic_class).expect("we made it");
    assert_eq!(&again[range], inner);
    let _ = flow_hash(inner);
});
