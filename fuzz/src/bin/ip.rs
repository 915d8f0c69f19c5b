//! IP and transport headers that are read are written back as they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use straddle_wire::checksum::Sum;
use straddle_wire::ip::{self, Packet};
use straddle_wire::{ext, icmpv4, ipv4, tcp, udp};

fuzz_target!(|bytes: &[u8]| {
    let Ok(packet) = Packet::parse(bytes) else {
        let cut = Packet::parse_cut(bytes);
        assert!(cut.is_err() || bytes.len() < 65_576);
        return;
    };
    assert_eq!(packet.header_len() + packet.payload().len(), packet.total_len());
    let head = &bytes[..packet.header_len()];
    match &packet {
        Packet::V4(v4) => check_v4(v4, head),
        Packet::V6(v6) => {
            assert_eq!(v6.header.emit(), head);
            if let Ok(upper) = ext::upper(v6) {
                assert_eq!(upper.ext_len + upper.payload.len(), v6.payload.len());
            }
        }
    }
    check_transport(packet.payload());
    check_class(bytes);
});

fn check_v4(packet: &ipv4::Packet<'_>, head: &[u8]) {
    let mut out = [0; 60];
    let length = packet.header.emit(packet.options, &mut out);
    assert_eq!(length, Some(head.len()));
    assert!(Sum::of(&out).is_valid());
    // The reserved bit and a wrong checksum are not kept.
    if packet.checksum_is_valid() && head[6] & 0x80 == 0 && packet.header.checksum != 0xffff {
        assert_eq!(&out[..head.len()], head);
    }
}

fn check_transport(bytes: &[u8]) {
    if let Ok(tcp) = tcp::Segment::parse(bytes) {
        let mut out = [0; 60];
        let length = tcp.header.emit(tcp.options, &mut out);
        assert_eq!(length, Some(tcp.header_len()));
        assert_eq!(out[..tcp.header_len()], bytes[..tcp.header_len()]);
    }
    if let Ok(udp) = udp::Datagram::parse(bytes) {
        assert_eq!(udp.header.emit(), bytes[..udp::HEADER]);
    }
    if let Ok(icmp) = icmpv4::Message::parse(bytes) {
        let head = icmp.header.emit(icmp.payload);
        assert!(Sum::of(&head).plus(Sum::of(icmp.payload)).is_valid());
    }
}

fn check_class(bytes: &[u8]) {
    let (version, class) = ip::class(bytes).expect("a whole packet has a class");
    let mut copy = bytes.to_vec();
    ip::set_class(&mut copy, !class);
    assert_eq!(ip::class(&copy), Ok((version, !class)));
    ip::set_class(&mut copy, class);
    assert_eq!(ip::class(&copy), Ok((version, class)));
}
