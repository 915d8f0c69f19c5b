//! What etherparse writes and reads, against ours; and bytes that nobody wrote.

use etherparse::{Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder, TcpHeader, UdpHeader};
use proptest::collection::vec;
use proptest::prelude::*;
use straddle_wire::checksum::{self, Sum};
use straddle_wire::{ext, gre, icmpv4, ip, ipv4, ipv6, tcp, udp, vnet};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn sums_of_parts_are_the_sum_of_the_whole(bytes in vec(any::<u8>(), 0..300), cut in 0..150_usize) {
        let (head, tail) = bytes.split_at((cut * 2).min(bytes.len() & !1));
        prop_assert_eq!(Sum::of(head).plus(Sum::of(tail)), Sum::of(&bytes));
    }

    #[test]
    fn an_update_is_a_recomputation(mut bytes in vec(any::<u8>(), 4..64), new: u16) {
        let before = Sum::of(&bytes).checksum();
        let old = u16::from_be_bytes([bytes[2], bytes[3]]);
        bytes[2..4].copy_from_slice(&new.to_be_bytes());
        let after = checksum::update(before, old, new);
        // Zero has two forms, of which only the data as a whole tells the right one: RFC 1624 §3.
        let same = after == Sum::of(&bytes).checksum() || after == !Sum::of(&bytes).checksum() && (after == 0 || after == 0xffff);
        prop_assert!(same);
    }

    #[test]
    fn ipv4_and_udp(source: [u8; 4], destination: [u8; 4], ttl: u8, ports: (u16, u16), payload in vec(any::<u8>(), 0..80)) {
        let mut bytes = Vec::new();
        PacketBuilder::ipv4(source, destination, ttl)
            .udp(ports.0, ports.1)
            .write(&mut bytes, &payload)
            .unwrap();
        let packet = ipv4::Packet::parse(&bytes).unwrap();
        prop_assert!(packet.checksum_is_valid());
        prop_assert_eq!((packet.header.ttl, packet.header.source.octets()), (ttl, source));
        let datagram = udp::Datagram::parse(packet.payload).unwrap();
        prop_assert_eq!((datagram.header.source_port, datagram.header.destination_port), ports);
        prop_assert_eq!(datagram.payload, &payload);
        let length = packet.payload.len() as u16;
        let sum = ip::Packet::V4(packet).pseudo(ip::UDP, length).plus(Sum::of(packet.payload));
        prop_assert!(sum.is_valid());
    }

    #[test]
    fn ipv6_and_tcp(source: [u8; 16], destination: [u8; 16], hop: u8, sequence: u32, window: u16, payload in vec(any::<u8>(), 0..80)) {
        let mut bytes = Vec::new();
        PacketBuilder::ipv6(source, destination, hop)
            .tcp(1, 2, sequence, window)
            .psh()
            .write(&mut bytes, &payload)
            .unwrap();
        let packet = ipv6::Packet::parse(&bytes).unwrap();
        let segment = tcp::Segment::parse(packet.payload).unwrap();
        prop_assert_eq!((segment.header.sequence, segment.header.window), (sequence, window));
        prop_assert_eq!(segment.header.flags, tcp::PSH);
        prop_assert_eq!(segment.payload, &payload);
        let length = packet.payload.len() as u16;
        let sum = ip::Packet::V6(packet).pseudo(ip::TCP, length).plus(Sum::of(packet.payload));
        prop_assert!(sum.is_valid());
    }

    #[test]
    fn etherparse_reads_our_headers(words: [u32; 4], small: [u16; 6], bytes: [u8; 4], flags: [bool; 2], options in vec(any::<u8>(), 0..=10)) {
        let options: Vec<u8> = options.iter().flat_map(|byte| [*byte; 4]).collect();
        let v4 = ipv4::Header {
            tos: bytes[0], total_len: 60 + small[0] % 1000, id: small[1], dont_fragment: flags[0], more_fragments: flags[1],
            offset: small[2] & 0x1fff, ttl: bytes[1], protocol: bytes[2], checksum: 0,
            source: words[0].into(), destination: words[1].into(),
        };
        let mut out = [0; 60];
        let length = v4.emit(&options, &mut out).unwrap();
        let (read, _) = Ipv4Header::from_slice(&out[..length]).unwrap();
        prop_assert_eq!(read.header_checksum, read.calc_header_checksum());
        prop_assert_eq!((read.total_len, read.identification, read.fragment_offset.value()), (v4.total_len, v4.id, v4.offset));
        prop_assert_eq!((read.dont_fragment, read.more_fragments, read.options.as_slice()), (flags[0], flags[1], &options[..]));
        prop_assert_eq!((read.source, read.destination), (v4.source.octets(), v4.destination.octets()));

        let v6 = ipv6::Header {
            traffic_class: bytes[0], flow_label: words[0] & 0xf_ffff, payload_len: small[0], next_header: bytes[1], hop_limit: bytes[2],
            source: u128::from(words[1]).into(), destination: (u128::from(words[2]) << 96).into(),
        };
        let emitted = v6.emit();
        let (read, _) = Ipv6Header::from_slice(&emitted).unwrap();
        prop_assert_eq!((read.traffic_class, read.flow_label), (bytes[0], Ipv6FlowLabel::try_new(v6.flow_label).unwrap()));
        prop_assert_eq!((read.payload_length, read.next_header.0, read.hop_limit), (small[0], bytes[1], bytes[2]));
        prop_assert_eq!((read.source, read.destination), (v6.source.octets(), v6.destination.octets()));

        let tcp = tcp::Header {
            source_port: small[0], destination_port: small[1], sequence: words[0], acknowledgment: words[1],
            flags: tcp::ACK | tcp::FIN, window: small[2], checksum: small[3], urgent: small[4],
        };
        let length = tcp.emit(&options, &mut out).unwrap();
        let (read, _) = TcpHeader::from_slice(&out[..length]).unwrap();
        prop_assert_eq!((read.sequence_number, read.acknowledgment_number, read.window_size), (words[0], words[1], small[2]));
        prop_assert!(read.ack && read.fin && !read.psh && !read.syn);
        prop_assert_eq!((read.checksum, read.urgent_pointer, read.options.as_slice()), (small[3], small[4], &options[..]));

        let udp = udp::Header { source_port: small[0], destination_port: small[1], length: small[2], checksum: small[3] };
        let (read, _) = UdpHeader::from_slice(&udp.emit()).unwrap();
        prop_assert_eq!((read.source_port, read.destination_port, read.length, read.checksum), (small[0], small[1], small[2], small[3]));
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..140), first in prop::sample::select(vec![0x45_u8, 0x46, 0x4f, 0x60, 0x00, 0xb0])) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        if let Ok(packet) = ip::Packet::parse(&bytes) {
            prop_assert_eq!(packet.total_len(), packet.header_len() + packet.payload().len());
            prop_assert!(packet.total_len() <= bytes.len());
        }
        if let Ok(packet) = ipv6::Packet::parse_cut(&bytes)
            && let Ok(upper) = ext::upper(&packet)
        {
            prop_assert_eq!(upper.ext_len + upper.payload.len(), packet.payload.len());
        }
        if let Ok(packet) = gre::Packet::parse(&bytes) {
            prop_assert_eq!(packet.header_len() + packet.payload.len(), bytes.len());
        }
        let _ = (tcp::Segment::parse(&bytes), udp::Datagram::parse(&bytes), icmpv4::Message::parse(&bytes));
        if let Some(header) = bytes.first_chunk() {
            prop_assert_eq!(&vnet::Header::parse(header).emit(), header);
        }
    }
}
