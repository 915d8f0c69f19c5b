//! Packets made and read by etherparse: what ours are held against.

#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a sample that can not be made fails its test")]

use std::vec::Vec;

use etherparse::{
    IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, NetHeaders, PacketHeaders, TcpHeader, TransportHeader,
    UdpHeader,
};

pub const SOURCE4: [u8; 4] = [192, 0, 2, 1];
pub const DESTINATION4: [u8; 4] = [198, 51, 100, 2];
pub const SOURCE6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub const DESTINATION6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// DF, identification 1, TTL 64; `set` before lengths and checksums are made.
pub fn ip4(protocol: IpNumber, set: impl FnOnce(&mut Ipv4Header), payload: &[u8]) -> Vec<u8> {
    let mut ip = Ipv4Header::new(0, 64, protocol, SOURCE4, DESTINATION4).unwrap();
    ip.identification = 1;
    ip.dont_fragment = true;
    set(&mut ip);
    ip.set_payload_len(payload.len()).unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    let mut bytes = Vec::new();
    ip.write(&mut bytes).unwrap();
    bytes.extend(payload);
    bytes
}

pub fn ip6(protocol: IpNumber, set: impl FnOnce(&mut Ipv6Header), payload: &[u8]) -> Vec<u8> {
    let mut ip = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::try_new(0x12345).unwrap(),
        payload_length: payload.len().try_into().unwrap(),
        next_header: protocol,
        hop_limit: 64,
        source: SOURCE6,
        destination: DESTINATION6,
    };
    set(&mut ip);
    let mut bytes = Vec::new();
    ip.write(&mut bytes).unwrap();
    bytes.extend(payload);
    bytes
}

fn tcp_header(set: impl FnOnce(&mut TcpHeader)) -> TcpHeader {
    let mut tcp = TcpHeader::new(443, 50_000, 1000, 500);
    tcp.ack = true;
    tcp.acknowledgment_number = 77;
    tcp.set_options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]).unwrap();
    set(&mut tcp);
    tcp
}

/// ACK, sequence number 1000, timestamps.
pub fn tcp4(
    set_ip: impl Fn(&mut Ipv4Header),
    set_tcp: impl FnOnce(&mut TcpHeader),
    payload: &[u8],
) -> Vec<u8> {
    let mut tcp = tcp_header(set_tcp);
    let mut ip = Ipv4Header::new(0, 64, IpNumber::TCP, SOURCE4, DESTINATION4).unwrap();
    set_ip(&mut ip);
    tcp.checksum = tcp.calc_checksum_ipv4(&ip, payload).unwrap();
    let mut bytes = Vec::new();
    tcp.write(&mut bytes).unwrap();
    bytes.extend(payload);
    ip4(IpNumber::TCP, set_ip, &bytes)
}

pub fn tcp6(
    set_ip: impl Fn(&mut Ipv6Header),
    set_tcp: impl FnOnce(&mut TcpHeader),
    payload: &[u8],
) -> Vec<u8> {
    let mut tcp = tcp_header(set_tcp);
    let mut ip = Ipv6Header { source: SOURCE6, destination: DESTINATION6, ..Ipv6Header::default() };
    set_ip(&mut ip);
    tcp.checksum = tcp.calc_checksum_ipv6(&ip, payload).unwrap();
    let mut bytes = Vec::new();
    tcp.write(&mut bytes).unwrap();
    bytes.extend(payload);
    ip6(IpNumber::TCP, set_ip, &bytes)
}

pub fn tcp(v6: bool, set: impl FnOnce(&mut TcpHeader), payload: &[u8]) -> Vec<u8> {
    if v6 { tcp6(|_| {}, set, payload) } else { tcp4(|_| {}, set, payload) }
}

pub fn udp(v6: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if v6 {
        let udp = UdpHeader::with_ipv6_checksum(53, 50_000, &v6_addresses(), payload).unwrap();
        udp.write(&mut bytes).unwrap();
        bytes.extend(payload);
        ip6(IpNumber::UDP, |_| {}, &bytes)
    } else {
        let ip = Ipv4Header::new(0, 64, IpNumber::UDP, SOURCE4, DESTINATION4).unwrap();
        let udp = UdpHeader::with_ipv4_checksum(53, 50_000, &ip, payload).unwrap();
        udp.write(&mut bytes).unwrap();
        bytes.extend(payload);
        ip4(IpNumber::UDP, |_| {}, &bytes)
    }
}

fn v6_addresses() -> Ipv6Header {
    Ipv6Header { source: SOURCE6, destination: DESTINATION6, ..Ipv6Header::default() }
}

/// Puts the bare sum of the pseudo-header where the transport checksum is, as the kernel does for
/// an offload, and says where that is.
pub fn make_partial(packet: &mut [u8]) -> (u16, u16) {
    let v6 = packet[0] >> 4 == 6;
    let start = if v6 { 40 } else { usize::from(packet[0] & 0xf) * 4 };
    let (addresses, protocol) = if v6 { (8..40, packet[6]) } else { (12..20, packet[9]) };
    let field = start + if protocol == 6 { 16 } else { 6 };
    let length = packet.len() - start;
    let mut sum = usize::from(protocol) + length;
    for pair in packet[addresses].chunks(2) {
        sum += usize::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[field..field + 2].copy_from_slice(&u16::try_from(sum).unwrap().to_be_bytes());
    (start as u16, (field - start) as u16)
}

/// Every length and every checksum is right. Returns the transport's payload.
pub fn verify(packet: &[u8]) -> &[u8] {
    let headers = PacketHeaders::from_ip_slice(packet).unwrap();
    let payload = headers.payload.slice();
    let net = headers.net.unwrap();
    match (&net, &headers.transport) {
        (NetHeaders::Ipv4(ip, _), transport) => {
            assert_eq!(usize::from(ip.total_len), packet.len());
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            match transport {
                Some(TransportHeader::Tcp(tcp)) => {
                    assert_eq!(tcp.checksum, tcp.calc_checksum_ipv4(ip, payload).unwrap());
                }
                Some(TransportHeader::Udp(udp)) => {
                    assert_eq!(usize::from(udp.length), payload.len() + 8);
                    assert_eq!(udp.checksum, udp.calc_checksum_ipv4(ip, payload).unwrap());
                }
                Some(TransportHeader::Icmpv4(icmp)) => {
                    assert_eq!(icmp.checksum, icmp.icmp_type.calc_checksum(payload));
                }
                Some(TransportHeader::Icmpv6(_) | TransportHeader::Igmp(_)) => panic!("unexpected"),
                None => assert!(ip.is_fragmenting_payload()),
            }
        }
        (NetHeaders::Ipv6(ip, _), transport) => {
            assert_eq!(usize::from(ip.payload_length) + 40, packet.len());
            match transport {
                Some(TransportHeader::Tcp(tcp)) => {
                    assert_eq!(tcp.checksum, tcp.calc_checksum_ipv6(ip, payload).unwrap());
                }
                Some(TransportHeader::Udp(udp)) => {
                    assert_eq!(usize::from(udp.length), payload.len() + 8);
                    assert_eq!(udp.checksum, udp.calc_checksum_ipv6(ip, payload).unwrap());
                }
                Some(TransportHeader::Icmpv6(icmp)) => {
                    let checksum = icmp.icmp_type.calc_checksum(ip.source, ip.destination, payload);
                    assert_eq!(icmp.checksum, checksum.unwrap());
                }
                Some(TransportHeader::Icmpv4(_) | TransportHeader::Igmp(_)) | None => panic!("unexpected"),
            }
        }
        (NetHeaders::Arp(_), _) => panic!("ARP"),
    }
    payload
}
