//! Bytes that nobody sane sent: everything public is called with them and must only refuse.

mod sample;

use core::net::Ipv6Addr;

use proptest::collection::vec;
use proptest::prelude::*;
use straddle_encap::coalesce::{Group, aggregated};
use straddle_encap::errors::{DUMMY4, MAX_ERROR, OuterError, Sources, inward, is_no_tunnel, too_big};
use straddle_encap::fragment::fragments;
use straddle_encap::segment::{MAX_HEADER, segments};
use straddle_encap::{Kind, decapsulate, encapsulate, flow_hash};
use straddle_wire::vnet;

const FROM: Sources = Sources { v4: DUMMY4, v6: Ipv6Addr::LOCALHOST };

const KINDS: [Kind; 4] = [Kind::Ip6gre { key: None }, Kind::Ip6gre { key: Some(7) }, Kind::Ip4ip6, Kind::Sit];

/// Calls everything; whatever is handed back must lie within the bytes.
fn call_everything(bytes: &[u8], offload: [u8; vnet::HEADER], mtu: u16, icmp: (u8, u8, u32)) {
    let mut header = [0; MAX_HEADER];
    let mut out = [0; MAX_ERROR];
    let (kind, code, info) = icmp;
    let errors = [OuterError::V4 { kind, code, info }, OuterError::V6 { kind, code, info }];
    for carrier in KINDS {
        let _ = encapsulate(carrier, bytes);
        let mut copy = bytes.to_vec();
        if let Ok(range) = decapsulate(carrier, &mut copy, code) {
            assert!(encapsulate(carrier, &copy[range]).is_ok());
        }
        for error in errors {
            if let Ok(length) = inward(carrier, error, bytes, FROM, &mut out) {
                sample::verify(&out[..length]);
            }
            let _ = is_no_tunnel(error);
        }
    }
    if let Ok(mut segments) = segments(vnet::Header::parse(&offload), bytes) {
        while let Some(segment) = segments.next(&mut header) {
            assert!(segment.header_len <= MAX_HEADER && bytes.get(segment.payload).is_some());
        }
    }
    if let Ok(mut pieces) = fragments(bytes, mtu) {
        while let Some(piece) = pieces.next(&mut header) {
            assert!(piece.header_len + piece.payload.len() <= mtu.into());
            assert!(bytes.get(piece.payload).is_some());
        }
    }
    if let Some(mut group) = Group::start(bytes) {
        assert!(!group.join(bytes) && group.same_flow(bytes));
        let _ = group.finish(&mut header);
    }
    let _ = (aggregated(bytes, mtu), flow_hash(bytes));
    if let Ok(length) = too_big(bytes, mtu, FROM, &mut out) {
        sample::verify(&out[..length]);
    }
}

fn samples() -> Vec<Vec<u8>> {
    let options = |ip: &mut etherparse::Ipv4Header| ip.options = [7, 3, 4, 0].into();
    let destination_options = [6, 0, 1, 4, 0, 0, 0, 0];
    vec![
        sample::tcp(false, |_| {}, &[7; 60]),
        sample::tcp(true, |_| {}, &[7; 60]),
        sample::udp(false, &[7; 60]),
        sample::udp(true, &[7; 60]),
        sample::tcp4(options, |_| {}, &[7; 60]),
        sample::ip6(60.into(), |_| {}, &[&destination_options[..], &[7; 60]].concat()),
        sample::ip4(1.into(), |_| {}, &[8; 60]),
    ]
}

const OFFLOADS: [[u8; vnet::HEADER]; 6] = [
    [0; vnet::HEADER],
    [1, 0, 0, 0, 0, 0, 20, 0, 16, 0],
    [1, 0, 0, 0, 0, 0, 40, 0, 6, 0],
    [1, 1, 0, 0, 20, 0, 20, 0, 16, 0],
    [0, 4, 0, 0, 20, 0, 0, 0, 0, 0],
    [0, 5, 0, 0, 20, 0, 0, 0, 0, 0],
];

#[test]
fn every_truncation() {
    for packet in samples() {
        for prefix in [&[][..], &[0, 0, 8, 0], &[0, 0, 0x86, 0xdd], &[0x20, 0, 8, 0, 0, 0, 0, 7]] {
            let bytes = [prefix, &packet].concat();
            for length in 0..=bytes.len() {
                for offload in OFFLOADS {
                    call_everything(&bytes[..length], offload, 60, (3, 4, 1400));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..300), offload: [u8; vnet::HEADER], mtu: u16, icmp: (u8, u8, u32)) {
        call_everything(&bytes, offload, mtu, icmp);
    }

    #[test]
    fn valid_packets_with_some_bytes_changed(
        packet in prop::sample::select(samples()),
        changes in vec((0..80_usize, any::<u8>()), 1..4),
        offload in prop::sample::select(&OFFLOADS[..]),
        mtu in 0..200_u16,
        icmp in (1..13_u8, 0..6_u8, 0..1600_u32),
    ) {
        let mut bytes = packet;
        for (at, value) in changes {
            bytes[at] = value;
        }
        call_everything(&bytes, offload, mtu, icmp);
    }
}
