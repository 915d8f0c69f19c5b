//! Segments that joined come out of the super-packet as they went in.
//! Input: how to repair the packet, payload length of the second one, packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use straddle_encap::coalesce::Group;
use straddle_encap::segment::{MAX_HEADER, segments};
use straddle_fuzz::{drain, take};
use straddle_wire::checksum::Sum;
use straddle_wire::ip::{self, Packet};
use straddle_wire::{field, ipv4, ipv6, tcp};

fuzz_target!(|input: &[u8]| {
    let Some(([repair, length], packet)) = take(input) else {
        return;
    };
    let mut first = packet.to_vec();
    if repair & 1 != 0 {
        make_checksums_right(&mut first);
    }
    let Some(mut group) = Group::start(&first) else {
        return;
    };
    assert!(group.same_flow(&first));
    let mut packets = vec![first.clone()];
    let second = successor(&first, group.header_len(), length.into(), repair & 2 != 0);
    if group.join(&second) {
        packets.push(second);
    }
    assert!(!group.join(&first), "a packet does not follow itself");
    assert_eq!(group.count(), packets.len());

    let mut header = [0; MAX_HEADER];
    let told = group.finish(&mut header);
    let mut whole = header[..group.header_len()].to_vec();
    for packet in &packets {
        whole.extend(&packet[group.header_len()..]);
    }
    let mut parts = segments(told, &whole).expect("what we tell the tun device is consistent");
    let mut again = drain(&whole, |header| parts.next(header));
    // An identification that stands still under DF is counted upwards; a checksum's zero has two
    // forms, of which we write one.
    for packet in packets.iter_mut().chain(&mut again) {
        if packet[0] >> 4 == 4 {
            packet[4..6].fill(0);
            // The reserved bit is not kept.
            packet[6] &= 0x7f;
        }
        make_checksums_right(packet);
    }
    assert_eq!(again, packets);
});

/// The packet that would follow, with `length` bytes of payload at most.
fn successor(first: &[u8], head: usize, length: usize, push: bool) -> Vec<u8> {
    let mut packet = first.to_vec();
    let payload = packet.len() - head;
    packet.truncate(head + length.min(payload));
    let l4 = transport(first);
    let total = packet.len() as u16;
    if first[0] >> 4 == 4 {
        field::set16(&mut packet, ipv4::at::TOTAL_LEN, total);
        let id = field::get16(first, ipv4::at::ID).unwrap_or(0);
        field::set16(&mut packet, ipv4::at::ID, id.wrapping_add(1));
    } else {
        field::set16(&mut packet, ipv6::at::PAYLOAD_LEN, total - ipv6::HEADER as u16);
    }
    let sequence = field::get32(first, l4 + tcp::at::SEQUENCE).unwrap_or(0);
    field::set32(&mut packet, l4 + tcp::at::SEQUENCE, sequence.wrapping_add(payload as u32));
    if push {
        packet[l4 + 13] |= tcp::PSH as u8;
    }
    make_checksums_right(&mut packet);
    packet
}

fn transport(packet: &[u8]) -> usize {
    match packet[0] >> 4 {
        4 => usize::from(packet[0] & 0xf) * 4,
        _ => ipv6::HEADER,
    }
}

fn make_checksums_right(bytes: &mut [u8]) {
    let Ok(packet) = Packet::parse(bytes) else {
        return;
    };
    let l4 = packet.header_len();
    let field = l4 + tcp::at::CHECKSUM;
    let old = field::get16(bytes, field).unwrap_or(0);
    let sum = packet.pseudo(ip::TCP, packet.payload().len() as u16);
    let sum = sum.plus(Sum::of(packet.payload())).word(!old);
    let v4 = packet.version() == ip::Version::V4;
    field::set16(bytes, field, sum.checksum());
    if v4 {
        field::set16(bytes, ipv4::at::CHECKSUM, 0);
        let checksum = Sum::of(&bytes[..l4]).checksum();
        field::set16(bytes, ipv4::at::CHECKSUM, checksum);
    }
}
