//! A GRE header that is read is written back with the same bytes, but for bits to be ignored.
#![no_main]

use libfuzzer_sys::fuzz_target;
use straddle_wire::gre::Packet;

/// The flags that mean something: C, K, S.
const MEANING: u8 = 0xb0;

fuzz_target!(|bytes: &[u8]| {
    let Ok(packet) = Packet::parse(bytes) else {
        return;
    };
    assert_eq!(packet.header_len() + packet.payload.len(), bytes.len());
    let emitted = packet.header.emit();
    let mut expected = bytes[..packet.header_len()].to_vec();
    expected[0] &= MEANING;
    expected[1] = 0;
    if packet.header.checksum.is_some() {
        expected[6..8].fill(0);
    }
    assert_eq!(emitted.as_bytes(), expected);
    if packet.header.checksum.is_some() {
        let right = packet.header.with_checksum(packet.payload).emit();
        let bytes = [right.as_bytes(), packet.payload].concat();
        assert!(Packet::parse(&bytes).is_ok_and(|packet| packet.checksum_is_valid()));
    }
});
