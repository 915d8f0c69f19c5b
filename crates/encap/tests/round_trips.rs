//! There and back again: what goes in comes out, and every packet between is valid.

mod sample;

use proptest::collection::vec;
use proptest::prelude::*;
use straddle_encap::coalesce::{Group, aggregated};
use straddle_encap::fragment::fragments;
use straddle_encap::segment::{MAX_HEADER, Segment, segments};
use straddle_encap::{Kind, Reason, decapsulate, encapsulate};
use straddle_wire::vnet::{self, Gso};

const KINDS: [Kind; 4] = [Kind::Ip6gre { key: None }, Kind::Ip6gre { key: Some(7) }, Kind::Ip4ip6, Kind::Sit];

fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) }
}

/// All packets, each in one piece.
fn drain(packet: &[u8], mut next: impl FnMut(&mut [u8; MAX_HEADER]) -> Option<Segment>) -> Vec<Vec<u8>> {
    let mut header = [0xee; MAX_HEADER];
    std::iter::from_fn(|| {
        let segment = next(&mut header)?;
        Some([&header[..segment.header_len], &packet[segment.payload]].concat())
    })
    .collect()
}

fn split(offload: vnet::Header, packet: &[u8]) -> Result<Vec<Vec<u8>>, Reason> {
    let mut segments = segments(offload, packet)?;
    Ok(drain(packet, |header| segments.next(header)))
}

fn offload(packet: &mut [u8], gso: Gso, gso_size: u16) -> vnet::Header {
    let (csum_start, csum_offset) = sample::make_partial(packet);
    vnet::Header {
        flags: vnet::NEEDS_CSUM,
        gso,
        gso_size,
        csum_start,
        csum_offset,
        ..vnet::Header::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn through_the_tunnel(kind in prop::sample::select(&KINDS[..]), v6: bool, payload in vec(any::<u8>(), 0..200), padding in 0..20_usize) {
        let inner = sample::tcp(v6, |_| {}, &payload);
        match (encapsulate(kind, &inner), kind, v6) {
            (outcome, Kind::Ip4ip6, true) | (outcome, Kind::Sit, false) => {
                prop_assert_eq!(outcome, Err(Reason::InnerVersion));
            }
            (outcome, _, _) => {
                let outer = outcome.unwrap();
                let mut bytes = [outer.prefix.as_bytes(), &inner, &vec![0; padding]].concat();
                let range = decapsulate(kind, &mut bytes, outer.traffic_class).unwrap();
                prop_assert_eq!(&bytes[range], &inner[..]);
            }
        }
    }

    #[test]
    fn segments_are_valid_and_complete(v6: bool, udp: bool, size in 1..1500_u16, payload in vec(any::<u8>(), 0..9000)) {
        let (mut packet, gso) = match (udp, v6) {
            (true, _) => (sample::udp(v6, &payload), Gso::UdpL4),
            (false, false) => (sample::tcp(v6, |tcp| tcp.psh = true, &payload), Gso::TcpV4),
            (false, true) => (sample::tcp(v6, |tcp| tcp.psh = true, &payload), Gso::TcpV6),
        };
        let offload = offload(&mut packet, gso, size);
        let packets = split(offload, &packet).unwrap();
        prop_assert_eq!(packets.len(), payload.len().div_ceil(size.into()).max(1));
        let payloads: Vec<&[u8]> = packets.iter().map(|packet| sample::verify(packet)).collect();
        prop_assert!(payloads.iter().all(|part| part.len() <= size.into()));
        prop_assert_eq!(payloads.concat(), payload);
    }

    #[test]
    fn joined_segments_are_the_packet_that_was_split(v6: bool, psh: bool, size in 1..1500_u16, sequence: u32, payload in vec(any::<u8>(), 1..9000)) {
        let set = |tcp: &mut etherparse::TcpHeader| (tcp.psh, tcp.sequence_number) = (psh, sequence);
        let mut packet = sample::tcp(v6, set, &payload);
        let gso = if v6 { Gso::TcpV6 } else { Gso::TcpV4 };
        let offload = offload(&mut packet, gso, size);
        let packets = split(offload, &packet).unwrap();
        let mut group = Group::start(&packets[0]).unwrap();
        for packet in &packets[1..] {
            prop_assert!(group.same_flow(packet) && group.join(packet));
        }
        prop_assert_eq!(group.count(), packets.len());
        let mut header = [0xee; MAX_HEADER];
        let told = group.finish(&mut header);
        let head = &header[..group.header_len()];
        prop_assert_eq!(head, &packet[..head.len()]);
        let (gso, gso_size) = if packets.len() > 1 { (gso, size) } else { (Gso::None, 0) };
        prop_assert_eq!(told, vnet::Header { gso, gso_size, hdr_len: head.len() as u16, ..offload });
        prop_assert_eq!(split(told, &packet).unwrap(), packets);
    }

    #[test]
    fn an_aggregated_packet_can_be_split(v6: bool, payload in vec(any::<u8>(), 1..9000), mtu in 100..2000_u16) {
        let mut packet = sample::tcp(v6, |_| {}, &payload);
        prop_assert_eq!(aggregated(&packet, mtu), Ok(vnet::Header::default()));
        sample::make_partial(&mut packet);
        let offload = aggregated(&packet, mtu).unwrap();
        let packets = split(offload, &packet).unwrap();
        let payloads: Vec<&[u8]> = packets.iter().map(|packet| sample::verify(packet)).collect();
        prop_assert_eq!(payloads.concat(), payload);
        prop_assert!(packets.iter().all(|packet| packet.len() <= mtu.into()));
    }

    #[test]
    fn fragments_make_the_packet(payload in vec(any::<u8>(), 0..5000), mtu in 48..1500_u16, offset in 0..4000_u16, more: bool, options in 0..=3_usize) {
        let options = [0x94, 4, 0, 0, 7, 4, 4, 0, 1, 0x82, 3, 0][..options * 4].to_vec();
        let packet = sample::ip4(59.into(), |ip| {
            (ip.dont_fragment, ip.more_fragments) = (false, more);
            ip.fragment_offset = offset.try_into().unwrap();
            ip.options = options[..].try_into().unwrap();
        }, &payload);
        let mut pieces = fragments(&packet, mtu).unwrap();
        let pieces = drain(&packet, |header| pieces.next(header));
        let mut whole: Vec<u8> = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            prop_assert!(piece.len() <= mtu.into());
            let (ip, part) = etherparse::Ipv4Header::from_slice(piece).unwrap();
            prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            prop_assert_eq!(usize::from(ip.total_len), piece.len());
            prop_assert_eq!(usize::from(ip.fragment_offset.value()), usize::from(offset) + whole.len() / 8);
            prop_assert_eq!(ip.more_fragments, more || i + 1 < pieces.len());
            prop_assert!(i + 1 == pieces.len() || part.len() % 8 == 0);
            whole.extend(part);
        }
        prop_assert_eq!(whole, payload);
    }

    #[test]
    fn fragments_divided_again_make_the_packet(payload in vec(any::<u8>(), 0..3000), mtus in (600..1500_u16, 48..600_u16)) {
        let packet = sample::ip4(59.into(), |ip| ip.dont_fragment = false, &payload);
        let mut first = fragments(&packet, mtus.0).unwrap();
        let mut parts: Vec<(u16, Vec<u8>)> = Vec::new();
        for piece in drain(&packet, |header| first.next(header)) {
            let mut second = fragments(&piece, mtus.1).unwrap();
            for piece in drain(&piece, |header| second.next(header)) {
                let (ip, part) = etherparse::Ipv4Header::from_slice(&piece).unwrap();
                parts.push((ip.fragment_offset.value(), part.to_vec()));
            }
        }
        parts.sort();
        let whole: Vec<u8> = parts.into_iter().flat_map(|(_, part)| part).collect();
        prop_assert_eq!(whole, payload);
    }
}
