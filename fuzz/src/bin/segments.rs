//! The segments of a super-packet carry its payload, each with right checksums and lengths.
//! Input: offload header, packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use straddle_encap::coalesce::aggregated;
use straddle_encap::segment::segments;
use straddle_fuzz::{drain, take};
use straddle_wire::checksum::Sum;
use straddle_wire::ip::{self, Packet};
use straddle_wire::vnet::{Gso, HEADER, Header};
use straddle_wire::{ext, ipv6};

fuzz_target!(|input: &[u8]| {
    let Some((offload, packet)) = take::<HEADER>(input) else {
        return;
    };
    let offload = Header::parse(&offload);
    if let Ok(told) = aggregated(packet, offload.gso_size) {
        assert!(segments(told, packet).is_ok(), "what we tell the tun device is consistent");
    }
    let Ok(mut parts) = segments(offload, packet) else {
        return;
    };
    let packets = drain(packet, |header| parts.next(header));
    match offload.gso {
        Gso::None => assert_eq!(packets.concat().len(), packet.len()),
        Gso::TcpV4 | Gso::TcpV6 | Gso::UdpL4 => check(packet, &packets, offload.gso_size.into()),
        Gso::Udp | Gso::Other(_) => panic!("an offload that was not offered"),
    }
});

fn check(packet: &[u8], packets: &[Vec<u8>], size: usize) {
    let mut sent = 0;
    for segment in packets {
        let ip = Packet::parse(segment).expect("a segment is a packet");
        assert_eq!(ip.total_len(), segment.len());
        let (protocol, l4) = match &ip {
            Packet::V4(v4) => {
                assert!(v4.checksum_is_valid());
                (v4.header.protocol, v4.payload)
            }
            Packet::V6(v6) => {
                let upper = ext::upper(v6).expect("the chain was readable before");
                (upper.protocol, upper.payload)
            }
        };
        assert!(ip.pseudo(protocol, l4.len() as u16).plus(Sum::of(l4)).is_valid());
        let header_len = match protocol {
            ip::UDP => 8,
            _ => usize::from(l4[12] >> 4) * 4,
        };
        assert!(l4.len() - header_len <= size);
        let head = segment.len() - (l4.len() - header_len);
        let payload = &segment[head..];
        assert_eq!(payload, &packet[head + sent..head + sent + payload.len()]);
        sent += payload.len();
        assert!(head >= ipv6::HEADER.min(28));
    }
}
