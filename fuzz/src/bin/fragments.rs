//! Fragments fit, are valid, and make the packet that they came from.
//! Input: mtu, packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use straddle_encap::fragment::fragments;
use straddle_fuzz::{drain, take};
use straddle_wire::ipv4::Packet;

fuzz_target!(|input: &[u8]| {
    let Some((mtu, packet)) = take(input) else {
        return;
    };
    let mtu = u16::from_be_bytes(mtu);
    let Ok(mut pieces) = fragments(packet, mtu) else {
        return;
    };
    let pieces = drain(packet, |header| pieces.next(header));
    let whole = Packet::parse(packet).expect("it was divided");
    let mut payload: Vec<u8> = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let part = Packet::parse(piece).expect("a fragment is a packet");
        let last = i + 1 == pieces.len();
        assert!(piece.len() <= mtu.into());
        assert_eq!(usize::from(part.header.total_len), piece.len());
        assert!(part.checksum_is_valid() || pieces.len() == 1);
        assert_eq!(part.header.id, whole.header.id);
        assert_eq!(usize::from(part.header.offset) * 8, usize::from(whole.header.offset) * 8 + payload.len());
        assert_eq!(part.header.more_fragments, !last || whole.header.more_fragments);
        assert!(last || part.payload.len().is_multiple_of(8));
        payload.extend(part.payload);
    }
    assert_eq!(payload, whole.payload);
});
