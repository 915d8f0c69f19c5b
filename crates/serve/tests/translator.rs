//! A translator's loops, and every end of a packet in them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected fails")]

mod device;

use straddle_serve::translator::Traffic;
use straddle_wire::checksum::Sum;
use straddle_wire::ip::Packet;
use straddle_wire::vnet::{Gso, HEADER};

use device::{Device, TCP, UDP, Written, message, translator};

/// Finds what came out right for IPv4: lengths, header checksum, begun transport checksum.
#[track_caller]
fn right(written: &Written, payload: &[u8]) {
    let (virtio, bytes) = written;
    let packet = Packet::parse(bytes).unwrap();
    assert_eq!((packet.total_len(), packet.header_len()), (bytes.len(), 20));
    assert!(Sum::of(&bytes[..20]).is_valid());
    let length = (bytes.len() - 20) as u16;
    assert!(virtio.needs_checksum() && virtio.csum_start == 20);
    let at = 20 + usize::from(virtio.csum_offset);
    assert_eq!(bytes[at..at + 2], packet.pseudo(packet.protocol(), length).value().to_be_bytes());
    assert!(bytes.ends_with(payload));
}

#[test]
fn a_packet_comes_out_as_the_other_version() {
    let device = Device::after(&[]);
    device.give(&message(UDP, 7, 0, b"payload"));
    let written = device.take();
    right(&written, b"payload");
    assert_eq!(written.1[12..20], [198, 51, 100, 10, 203, 0, 113, 10]);
    let report = device.until(|report| report.to4.packets == 1);
    assert_eq!(report.to4, Traffic { packets: 1, bytes: 35, passes: 1 });
    assert_eq!((report.to6, report.answers, report.drops), (Traffic::default(), 0, vec![]));
}

#[test]
fn a_super_packet_is_translated_once() {
    let check = |protocol: u8, size: usize, gso: Gso, count: u64| {
        let device = Device::after(&[]);
        let payload: Vec<u8> = (0..64_000_u32).map(|byte| byte as u8).collect();
        device.give(&message(protocol, 7, size, &payload));
        let written = device.take();
        right(&written, &payload);
        assert_eq!((written.0.gso, usize::from(written.0.gso_size)), (gso, size));
        let report = device.until(|report| report.to4.passes == 1);
        assert_eq!((report.to4.packets, report.drops), (count, vec![]));
    };
    check(TCP, 1440, Gso::TcpV4, 45);
    check(UDP, 1000, Gso::UdpL4, 64);
}

#[test]
fn datagrams_that_wait_together_go_together() {
    let waiting: Vec<_> = (0..10).map(|index| message(UDP, 7, 0, &[index; 64])).collect();
    let device = Device::after(&waiting);
    let written = device.take();
    right(&written, &[9; 64]);
    assert_eq!((written.0.gso, written.0.gso_size, written.1.len()), (Gso::UdpL4, 64, 28 + 640));
    let report = device.until(|report| report.to4.passes == 1);
    assert_eq!(report.to4, Traffic { packets: 10, bytes: 668, passes: 1 });
}

/// Three flows, then ten, more than are put together at the same time, and TCP between: each keeps its
/// order.
#[test]
fn a_flow_keeps_its_order() {
    let mut waiting = Vec::new();
    for index in 0..50_u8 {
        // A larger one, and one that is a super-packet already, can't go with those before.
        let (length, size) = match index % 7 {
            0 => (30, 0),
            1 => (40, 40),
            _ => (20, 0),
        };
        let flows = if index < 25 { 3 } else { 10 };
        waiting.push(message(UDP, 7 + u16::from(index) % flows, size, &vec![index; length]));
        if index % 11 == 0 {
            waiting.push(message(TCP, 99, 0, &[index]));
        }
    }
    let device = Device::after(&waiting);
    device.until(|report| report.to4.packets == waiting.len() as u64);
    let mut last = [None; 100];
    let mut seen = 0;
    while seen < waiting.len() {
        let (_, packet) = device.take();
        let header = if packet[9] == TCP { 40 } else { 28 };
        let port = usize::from(packet[21]);
        for payload in packet[header..].chunk_by(|one, other| one == other) {
            assert!(last[port] < Some(payload[0]), "{} after {:?}", payload[0], last[port]);
            last[port] = Some(payload[0]);
            seen += 1;
        }
    }
}

#[test]
fn every_end_is_counted() {
    let device = Device::after(&[]);
    let check = |message: &[u8], name: &str| {
        device.give(message);
        device.until(|report| report.drops.contains(&(name, 1)));
    };
    check(&[0; HEADER - 1], "tun-short");
    check(&[0; HEADER], "truncated");
    let mut foreign = message(UDP, 7, 0, b"foreign");
    foreign[HEADER + 24] ^= 1;
    check(&foreign, "not-ours");
    assert_eq!(device.report().to4, Traffic::default());
}

/// The translator's own answer goes back by the same way.
#[test]
fn an_error_is_an_answer() {
    let device = Device::after(&[]);
    let mut last_hop = message(UDP, 7, 0, b"last");
    last_hop[HEADER + 7] = 1;
    device.give(&last_hop);
    let (_, answer) = device.take();
    assert_eq!((answer[0] >> 4, answer[6], answer[40]), (6, 58, 3), "an ICMPv6 time exceeded");
    let report = device.until(|report| report.answers == 1);
    assert_eq!((report.to6, report.drops), (Traffic::default(), vec![("time-exceeded", 1)]));
}

/// Nobody takes what is written, until the socket is full.
#[test]
fn what_the_device_refuses_is_counted_and_the_loop_goes_on() {
    let device = Device::after(&[]);
    let large = message(TCP, 7, 1440, &[0; 60_000]);
    for _ in 0..40 {
        device.give(&large);
    }
    device.until(|report| report.drops.iter().any(|(name, _)| *name == "tun-refused"));
    let taken = device.until(|report| {
        let refused: u64 = report.drops.iter().map(|(_, count)| count).sum();
        report.to4.packets + refused == 40 * 42
    });
    (0..taken.to4.passes).for_each(|_| right(&device.take(), &[0; 9]));
    device.give(&message(UDP, 7, 0, b"later"));
    right(&device.take(), b"later");
}

#[test]
fn a_translator_is_exchanged_while_it_serves() {
    let device = Device::after(&[]);
    let source = |of: &[u8]| -> [u8; 4] { of[12..16].try_into().unwrap() };
    device.give(&message(UDP, 7, 0, b"before"));
    assert_eq!(source(&device.take().1), [198, 51, 100, 10]);
    assert!(device.serving.exchange("test", translator("198.51.100.77")));
    assert!(!device.serving.exchange("other", translator("198.51.100.78")));
    // A batch that has begun is finished with the former one; nothing is lost in either case.
    let mut sources = Vec::new();
    while sources.last() != Some(&[198, 51, 100, 77]) {
        assert!(sources.len() < 1_000, "{sources:?}");
        device.give(&message(UDP, 7, 0, b"after"));
        sources.push(source(&device.take().1));
    }
    assert!(sources.iter().rev().skip(1).all(|former| *former == [198, 51, 100, 10]));
}
