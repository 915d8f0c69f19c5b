//! Super-packets that do not fit: smaller segments, divided datagrams, or word to the sender.

#![allow(clippy::unwrap_used, reason = "a packet that can not be made fails its test")]

use etherparse::{Ipv4Header, PacketBuilder};
use straddle_wire::checksum::Sum;
use straddle_wire::ext::{self, Fragment};
use straddle_wire::ip::{self, Packet};
use straddle_wire::vnet::{Gso, Header, NEEDS_CSUM};
use straddle_xlat::{Config, Reason, State, Translator, Verdict, rfc6052};

const V4: [[u8; 4]; 2] = [[198, 51, 100, 2], [192, 0, 2, 33]];
/// Of a datagram that needs no fragments.
const WHOLE: Fragment = Fragment { offset: 0, more: false, id: u32::MAX };
const TCP: bool = true;
const UDP: bool = false;

/// A super-packet with the sum of its pseudo-header.
fn packet(v6: bool, tcp: bool, dont_fragment: bool, size: u16, length: usize) -> (Header, Vec<u8>) {
    let mut bytes = Vec::new();
    let payload = vec![7; length];
    let [from, to] = V4.map(|address| rfc6052::Prefix::WELL_KNOWN.embed(address.into()).octets());
    let builder = if v6 { PacketBuilder::ipv6(from, to, 64) } else { PacketBuilder::ipv4(V4[0], V4[1], 64) };
    let written = match tcp {
        TCP => builder.tcp(80, 5000, 1, 512).write(&mut bytes, &payload),
        UDP => builder.udp(80, 5000).write(&mut bytes, &payload),
    };
    written.unwrap();
    if !v6 {
        let mut header = Ipv4Header::from_slice(&bytes).unwrap().0;
        (header.dont_fragment, header.identification) = (dont_fragment, 70);
        header.header_checksum = header.calc_header_checksum();
        bytes[..20].copy_from_slice(&header.to_bytes());
    }
    let (gso, offset) = match (tcp, v6) {
        (TCP, false) => (Gso::TcpV4, 16),
        (TCP, true) => (Gso::TcpV6, 16),
        (UDP, _) => (Gso::UdpL4, 6),
    };
    let ip = Packet::parse(&bytes).unwrap();
    let (start, protocol) = (ip.header_len() as u16, ip.protocol());
    let sum = ip.pseudo(protocol, ip.payload().len() as u16).value();
    let field = usize::from(start + offset);
    bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    let offload = Header {
        flags: NEEDS_CSUM,
        gso,
        gso_size: size,
        csum_start: start,
        csum_offset: offset,
        ..Header::default()
    };
    (offload, bytes)
}

fn translate(mtu4: u16, (offload, packet): (Header, Vec<u8>)) -> (Verdict, Vec<(Header, Vec<u8>)>) {
    let pool6 = vec![rfc6052::Prefix::WELL_KNOWN];
    let translator = Translator::new(Config { pool6, mtu4, ..Config::default() });
    let mut sent = Vec::new();
    let verdict = translator.translate(&mut State::new(1), 0, &offload, &packet, &mut |out| {
        sent.push((out.offload, [out.head, out.payload].concat()));
    });
    (verdict, sent)
}

fn check_tcp(mtu4: u16, packet: (Header, Vec<u8>), gso: Gso, size: u16, start: u16) {
    let (verdict, sent) = translate(mtu4, packet);
    let expected = Header {
        flags: NEEDS_CSUM,
        gso,
        ecn: false,
        hdr_len: start + 20,
        gso_size: size,
        csum_start: start,
        csum_offset: 16,
    };
    assert_eq!(verdict, Verdict::Forward);
    assert_eq!(sent.iter().map(|sent| sent.0).collect::<Vec<_>>(), [expected]);
    let ip = Packet::parse(&sent[0].1).unwrap();
    let pseudo = ip.pseudo(ip::TCP, ip.payload().len() as u16).value();
    assert_eq!(ip.payload()[16..18], pseudo.to_be_bytes());
}

#[test]
fn segments_become_as_small_as_they_must() {
    check_tcp(1500, packet(false, TCP, true, 1400, 60_000), Gso::TcpV6, 1400, 40);
    check_tcp(1500, packet(false, TCP, false, 1220, 60_000), Gso::TcpV6, 1220, 40);
    check_tcp(1500, packet(false, TCP, false, 1221, 60_000), Gso::TcpV6, 1220, 40);
    check_tcp(1500, packet(false, TCP, false, 1440, 60_000), Gso::TcpV6, 1220, 40);
    check_tcp(1500, packet(true, TCP, false, 1440, 60_000), Gso::TcpV4, 1440, 20);
    check_tcp(600, packet(true, TCP, false, 1220, 60_000), Gso::TcpV4, 560, 20);
}

/// Reassembles and verifies; counts packets and datagrams.
fn check_udp(mtu4: u16, packet: (Header, Vec<u8>), limit: usize, expected: (usize, usize)) {
    let (verdict, sent) = translate(mtu4, packet);
    assert_eq!(verdict, Verdict::Forward);
    let (mut datagrams, mut ids, mut payload) = (0, Vec::new(), Vec::new());
    for (offload, bytes) in &sent {
        assert_eq!(*offload, Header::default());
        assert!(bytes.len() <= limit);
        let ip = Packet::parse(bytes).unwrap();
        let (part, transport) = match &ip {
            Packet::V4(v4) => {
                let (offset, more, id) = (v4.header.offset, v4.header.more_fragments, v4.header.id.into());
                (Fragment { offset, more, id }, v4.payload)
            }
            Packet::V6(v6) => {
                let upper = ext::upper(v6).unwrap();
                (upper.fragment.unwrap_or(WHOLE), upper.payload)
            }
        };
        assert_eq!(usize::from(part.offset) * 8, payload.len());
        payload.extend(transport);
        if !part.more {
            let sum = ip.pseudo(ip::UDP, payload.len() as u16).plus(Sum::of(&payload));
            assert!(sum.is_valid());
            (datagrams, payload) = (datagrams + 1, Vec::new());
            ids.push(part.id);
        }
    }
    ids.dedup();
    assert_eq!((sent.len(), datagrams, ids.len()), (expected.0, expected.1, expected.1));
}

#[test]
fn datagrams_are_divided_each_for_itself() {
    check_udp(1500, packet(false, UDP, false, 1400, 4200), 1280, (6, 3));
    check_udp(1500, packet(false, UDP, false, 1400, 4300), 1280, (7, 4));
    check_udp(600, packet(true, UDP, false, 1000, 3000), 600, (6, 3));
}

fn check_end(mtu4: u16, packet: (Header, Vec<u8>), expected: Verdict) {
    let (verdict, sent) = translate(mtu4, packet);
    assert_eq!(verdict, expected);
    assert_eq!(sent.len(), usize::from(matches!(verdict, Verdict::Reply(_))));
}

#[test]
fn senders_that_want_to_know_are_told() {
    check_end(1500, packet(false, TCP, true, 1441, 60_000), Verdict::Reply(Reason::TooBig));
    check_end(1500, packet(false, UDP, true, 1453, 60_000), Verdict::Reply(Reason::TooBig));
    check_end(1400, packet(true, TCP, false, 1400, 60_000), Verdict::Reply(Reason::TooBig));
    check_end(1400, packet(true, UDP, false, 1400, 60_000), Verdict::Reply(Reason::TooBig));
    check_end(1500, packet(true, TCP, false, 1400, 65_500), Verdict::Drop(Reason::TooLong));
}
