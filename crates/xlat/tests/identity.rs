//! What goes through two translators is what came, where translation loses nothing: 4→6→4 and 6→4→6.

#![allow(clippy::unwrap_used, reason = "a packet that can not be made fails its test")]

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    IcmpEchoHeader, Icmpv4Type, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6FragmentHeader, Ipv6Header,
    PacketBuilder, TcpHeader,
};
use proptest::prelude::*;
use straddle_wire::vnet::{Gso, Header, NEEDS_CSUM};
use straddle_xlat::{Config, State, Translator, Verdict, eam, rfc6052};

/// Both prefixes hold the same addresses, so that the way back knows them.
fn translator(prefix: &str, mappings: &[(&str, &str)]) -> Translator {
    let mappings: Vec<_> = mappings
        .iter()
        .map(|(v6, v4)| eam::Mapping { v6: v6.parse().unwrap(), v4: v4.parse().unwrap() })
        .collect();
    Translator::new(Config {
        pool6: vec![rfc6052::Prefix::new(prefix.parse().unwrap()).unwrap()],
        eam: eam::Table::new(&mappings).unwrap(),
        lowest_ipv6_mtu: 65_535,
        mtu4: 65_535,
        mtu6: 65_535,
        ..Config::default()
    })
}

const PREFIXES: [&str; 6] = [
    "2001:db8::/32",
    "2001:db8:100::/40",
    "2001:db8:122::/48",
    "2001:db8:122:300::/56",
    "2001:db8:122:344::/64",
    "64:ff9b::/96",
];
const MAPPINGS: [(&str, &str); 2] =
    [("2001:db8:ffff:c::/120", "192.0.2.0/24"), ("2001:db8:ffff:d::7/128", "203.0.113.7/32")];

/// One packet in, one packet out.
fn through(translator: &Translator, offload: Header, packet: &[u8]) -> (Header, Vec<u8>) {
    let mut sent = Vec::new();
    let verdict = translator.translate(&mut State::new(1), 0, &offload, packet, &mut |out| {
        sent.push((out.offload, [out.head, out.payload].concat()));
    });
    assert_eq!((verdict, sent.len()), (Verdict::Forward, 1));
    sent.remove(0)
}

/// Sets what routers change and what translation can't keep, and the header checksum.
fn normal4(packet: &[u8], hops: u8) -> Vec<u8> {
    let (mut header, _) = Ipv4Header::from_slice(packet).unwrap();
    header.time_to_live -= hops;
    if !header.is_fragmenting_payload() {
        header.identification = 0;
        header.dont_fragment = false;
    }
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], &packet[20..]].concat()
}

fn normal6(packet: &[u8], hops: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[7] -= hops;
    packet
}

/// DF survives on what may be longer than the shortest path's MTU, and nowhere else (RFC 7915 §5.1).
fn check4(prefix: &str, packet: &[u8], offload: Header) {
    let translator = translator(prefix, &MAPPINGS);
    let (there, six) = through(&translator, offload, packet);
    let (back, four) = through(&translator, there, &six);
    assert_eq!(normal4(&four, 0), normal4(packet, 2));
    let header = Ipv4Header::from_slice(&four).unwrap().0;
    let single = offload.gso == Gso::None && !header.is_fragmenting_payload();
    assert!(!single || header.dont_fragment == (four.len() > 1260));
    assert_eq!((back.gso, back.gso_size), (offload.gso, offload.gso_size));
    assert_eq!((back.csum_start, back.csum_offset), (offload.csum_start, offload.csum_offset));
}

fn check6(prefix: &str, packet: &[u8]) {
    let translator = translator(prefix, &MAPPINGS);
    let (_, four) = through(&translator, Header::default(), packet);
    let (_, six) = through(&translator, Header::default(), &four);
    assert_eq!(six, normal6(packet, 2));
}

fn ip4(
    protocol: IpNumber,
    class: u8,
    hops: u8,
    destination: Ipv4Addr,
    payload: &[u8],
) -> (Ipv4Header, Vec<u8>) {
    let length = payload.len() as u16;
    let destination = destination.octets();
    let mut header = Ipv4Header::new(length, hops, protocol, [198, 51, 100, 2], destination).unwrap();
    header.dscp = (class >> 2).try_into().unwrap();
    header.ecn = (class & 3).try_into().unwrap();
    header.header_checksum = header.calc_header_checksum();
    (header, payload.to_vec())
}

fn whole4((mut header, payload): (Ipv4Header, Vec<u8>)) -> Vec<u8> {
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], &payload].concat()
}

fn whole6(class: u8, hops: u8, next_header: IpNumber, ends: (Ipv6Addr, Ipv6Addr), payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        traffic_class: class,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: payload.len() as u16,
        next_header,
        hop_limit: hops,
        source: ends.0.octets(),
        destination: ends.1.octets(),
    };
    [&header.to_bytes()[..], payload].concat()
}

/// A host without mapping and one with.
fn ends(prefix: &str, host: u8) -> (Ipv6Addr, Ipv6Addr) {
    let prefix = rfc6052::Prefix::new(prefix.parse().unwrap()).unwrap();
    let mapped: Ipv6Addr = "2001:db8:ffff:c::".parse().unwrap();
    (prefix.embed([198, 51, 100, 2].into()), Ipv6Addr::from_bits(mapped.to_bits() | u128::from(host)))
}

fn destinations() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        any::<u8>().prop_map(|host| Ipv4Addr::new(192, 0, 2, host)),
        Just(Ipv4Addr::new(203, 0, 113, 7)),
        any::<u8>().prop_map(|host| Ipv4Addr::new(203, 0, 114, host)),
    ]
}

fn prefixes() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&PREFIXES[..])
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => prop::collection::vec(any::<u8>(), 0..200), 1 => prop::collection::vec(any::<u8>(), 1200..1500)]
}

proptest! {
    #[test]
    fn udp_4_6_4(prefix in prefixes(), class: u8, hops in 3_u8.., to in destinations(), payload in payloads()) {
        let builder = PacketBuilder::ipv4([198, 51, 100, 2], to.octets(), hops).udp(7, 53);
        let mut packet = Vec::new();
        builder.write(&mut packet, &payload).unwrap();
        packet[1] = class;
        let header = Ipv4Header::from_slice(&packet).unwrap().0;
        check4(prefix, &whole4((header, packet[20..].to_vec())), Header::default());
    }

    /// A wrong checksum is as wrong behind two translators.
    #[test]
    fn tcp_4_6_4(prefix in prefixes(), hops in 3_u8.., to in destinations(), checksum: u16, payload in payloads()) {
        let mut tcp = TcpHeader::new(80, 5000, 1, 512);
        tcp.checksum = checksum;
        let bytes = [&tcp.to_bytes()[..], &payload].concat();
        let packet = whole4(ip4(IpNumber::TCP, 0, hops, to, &bytes));
        let translator = translator(prefix, &MAPPINGS);
        let (_, six) = through(&translator, Header::default(), &packet);
        let (_, four) = through(&translator, Header::default(), &six);
        let there = u16::from_be_bytes([four[36], four[37]]);
        prop_assert!(there == checksum || [there, checksum] == [0, 0xffff] || [there, checksum] == [0xffff, 0]);
    }

    #[test]
    fn ping_4_6_4(prefix in prefixes(), hops in 3_u8.., to in destinations(), id: u16, reply: bool, payload in payloads()) {
        let echo = IcmpEchoHeader { id, seq: 1 };
        let kind = if reply { Icmpv4Type::EchoReply(echo) } else { Icmpv4Type::EchoRequest(echo) };
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4([198, 51, 100, 2], to.octets(), hops).icmpv4(kind);
        builder.write(&mut packet, &payload).unwrap();
        check4(prefix, &packet, Header::default());
    }

    #[test]
    fn any_protocol_4_6_4(prefix in prefixes(), protocol in 61_u8..=130, class: u8, to in destinations(), payload in payloads()) {
        check4(prefix, &whole4(ip4(protocol.into(), class, 64, to, &payload)), Header::default());
    }

    #[test]
    fn fragments_4_6_4(prefix in prefixes(), id: u16, offset in 1_u16..8000, more: bool, to in destinations(), units in 1_usize..20) {
        let (mut header, payload) = ip4(IpNumber::UDP, 0, 64, to, &vec![7; units * 8]);
        header.identification = id;
        header.fragment_offset = offset.try_into().unwrap();
        header.more_fragments = more;
        header.dont_fragment = false;
        check4(prefix, &whole4((header, payload)), Header::default());
    }

    #[test]
    fn super_packets_4_6_4(prefix in prefixes(), to in destinations(), size in 500_u16..1400, length in 2000_usize..60_000, partial: bool) {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4([198, 51, 100, 2], to.octets(), 64).tcp(80, 5000, 1, 512);
        builder.write(&mut packet, &vec![7; length]).unwrap();
        let l4 = (packet.len() - 20) as u32;
        let ends = [&packet[12..20], &[0, 6], &l4.to_be_bytes()[2..]].concat();
        let sum = !etherparse::checksum::Sum16BitWords::new().add_slice(&ends).ones_complement();
        packet[36..38].copy_from_slice(&sum.to_ne_bytes());
        let checksum = Header { flags: NEEDS_CSUM, csum_start: 20, csum_offset: 16, ..Header::default() };
        let offload = if partial { checksum } else { Header { gso: Gso::TcpV4, gso_size: size, ..checksum } };
        check4(prefix, &packet, offload);
    }

    #[test]
    fn any_protocol_6_4_6(prefix in prefixes(), protocol in 61_u8..=130, class: u8, hops in 3_u8.., host: u8, payload in payloads()) {
        check6(prefix, &whole6(class, hops, protocol.into(), ends(prefix, host), &payload));
    }

    #[test]
    fn udp_6_4_6(prefix in prefixes(), host: u8, payload in payloads()) {
        let (from, to) = ends(prefix, host);
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv6(from.octets(), to.octets(), 64).udp(7, 53);
        builder.write(&mut packet, &payload).unwrap();
        check6(prefix, &packet);
    }

    #[test]
    fn ping_6_4_6(prefix in prefixes(), host: u8, id: u16, payload in payloads()) {
        let (from, to) = ends(prefix, host);
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv6(from.octets(), to.octets(), 64).icmpv6_echo_request(id, 1);
        builder.write(&mut packet, &payload).unwrap();
        check6(prefix, &packet);
    }

    #[test]
    fn fragments_6_4_6(prefix in prefixes(), host: u8, id: u16, offset in 1_u16..8000, more: bool, units in 1_usize..20) {
        let identification = id.into();
        let fragment = Ipv6FragmentHeader::new(IpNumber::TCP, offset.try_into().unwrap(), more, identification);
        let payload = [&fragment.to_bytes()[..], &vec![7; units * 8]].concat();
        let header = IpNumber::IPV6_FRAGMENTATION_HEADER;
        check6(prefix, &whole6(0, 64, header, ends(prefix, host), &payload));
    }
}
