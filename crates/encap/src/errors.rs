//! ICMP errors about inner packets, sent back inwards.

use core::net::{Ipv4Addr, Ipv6Addr};

use straddle_wire::ip::{ICMPV4, ICMPV6, Packet};
use straddle_wire::{ext, icmpv4, icmpv6, ipv4, ipv6};

use crate::Reason;

mod inward;

pub use inward::{OuterError, inward, is_no_tunnel};

pub use straddle_wire::ipv4::DUMMY as DUMMY4;

/// The length that is enough for every error, in bytes.
pub const MAX_ERROR: usize = icmpv6::MAX_ERROR;

/// Whom our errors come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sources {
    /// About IPv4 packets; [`DUMMY4`] where there is no better one.
    pub v4: Ipv4Addr,
    /// About IPv6 packets.
    pub v6: Ipv6Addr,
}

/// Writes the IP packet that tells the sender of `inner` that the tunnel takes `mtu` bytes: ICMPv4
/// 3/4 (RFC 1191) or ICMPv6 2/0 (RFC 4443 §3.2; below 1280 it says 1280). Returns its length, at most
/// [`MAX_ERROR`].
///
/// # Errors
/// [`Reason::ErrorAboutError`] or [`Reason::ErrorNotWanted`] where none may be sent, also where
/// `inner` fits or may be fragmented; what is wrong with `inner`; [`Reason::ErrorUnusable`] where
/// `out` is too short for the headers.
pub fn too_big(inner: &[u8], mtu: u16, from: Sources, out: &mut [u8]) -> Result<usize, Reason> {
    let packet = Packet::parse_cut(inner).map_err(Reason::of_inner)?;
    answer(&packet, inner, Message::TooBig(mtu.into()), from, out)
}

/// What an error says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Message {
    Unreachable,
    /// The largest inner packet that passes, in bytes.
    TooBig(u32),
}

/// Writes the error about `packet`, which lies at the start of `bytes`.
fn answer(
    packet: &Packet<'_>,
    bytes: &[u8],
    message: Message,
    from: Sources,
    out: &mut [u8],
) -> Result<usize, Reason> {
    let quote = bytes.get(..packet.total_len()).unwrap_or(bytes);
    let written = match packet {
        Packet::V4(v4) => {
            wanted4(v4)?;
            let message = message4(v4, message)?;
            write4(message, from.v4, v4.header.source, quote, out)
        }
        Packet::V6(v6) => {
            wanted6(v6, message)?;
            let message = message6(v6, message)?;
            write6(message, from.v6, v6.header.source, quote, out)
        }
    };
    written.ok_or(Reason::ErrorUnusable)
}

/// RFC 1122 §3.2.2. An ICMP message whose type was cut off counts as an error.
fn wanted4(packet: &ipv4::Packet<'_>) -> Result<(), Reason> {
    let (source, destination) = (packet.header.source, packet.header.destination);
    let [network, ..] = source.octets();
    let one_host = network != 0
        && !source.is_loopback()
        && !source.is_multicast()
        && !source.is_broadcast()
        && !destination.is_multicast()
        && !destination.is_broadcast();
    if packet.header.offset != 0 || !one_host {
        return Err(Reason::ErrorNotWanted);
    }
    let kind = packet.payload.first();
    if packet.header.protocol == ICMPV4 && kind.is_none_or(|kind| icmpv4::is_error(*kind)) {
        return Err(Reason::ErrorAboutError);
    }
    Ok(())
}

/// RFC 4443 §2.4 (e), with its exception for Packet Too Big about multicast. A later fragment gets
/// no error either: the first one, which is no smaller, does.
fn wanted6(packet: &ipv6::Packet<'_>, message: Message) -> Result<(), Reason> {
    let (source, destination) = (packet.header.source, packet.header.destination);
    let one_host = !source.is_unspecified() && !source.is_loopback() && !source.is_multicast();
    let to_many = destination.is_multicast() && message == Message::Unreachable;
    let upper = ext::upper(packet).map_err(|_| Reason::ErrorNotWanted)?;
    if upper.is_later_fragment() || !one_host || to_many {
        return Err(Reason::ErrorNotWanted);
    }
    let kind = upper.payload.first();
    if upper.protocol == ICMPV6 && kind.is_none_or(|kind| icmpv6::is_error(*kind)) {
        return Err(Reason::ErrorAboutError);
    }
    Ok(())
}

fn message4(packet: &ipv4::Packet<'_>, message: Message) -> Result<icmpv4::Header, Reason> {
    let (code, rest) = match message {
        Message::Unreachable => (icmpv4::HOST, 0),
        Message::TooBig(mtu) => {
            let fits = u32::from(packet.header.total_len) <= mtu;
            if fits || !packet.header.dont_fragment {
                return Err(Reason::ErrorNotWanted);
            }
            let mtu = mtu.clamp(MIN_MTU4, u16::MAX.into());
            (icmpv4::FRAGMENTATION_NEEDED, mtu)
        }
    };
    Ok(icmpv4::Header { kind: icmpv4::UNREACHABLE, code, checksum: 0, rest })
}

fn message6(packet: &ipv6::Packet<'_>, message: Message) -> Result<icmpv4::Header, Reason> {
    let (kind, code, rest) = match message {
        Message::Unreachable => (icmpv6::UNREACHABLE, icmpv6::ADDRESS, 0),
        Message::TooBig(mtu) => {
            let mtu = mtu.max(ipv6::MIN_MTU);
            if ipv6::HEADER as u32 + u32::from(packet.header.payload_len) <= mtu {
                return Err(Reason::ErrorNotWanted);
            }
            (icmpv6::TOO_BIG, 0, mtu)
        }
    };
    Ok(icmpv6::Header { kind, code, checksum: 0, rest })
}

/// `None` where `out` is too short for the headers.
fn write4(
    message: icmpv4::Header,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    quote: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let (head, rest) = out.split_first_chunk_mut::<{ ipv4::HEADER }>()?;
    let (icmp, room) = rest.split_first_chunk_mut::<{ icmpv4::HEADER }>()?;
    let quote = copy(quote, room, icmpv4::MAX_ERROR - ipv4::HEADER - icmpv4::HEADER);
    *icmp = message.emit(quote);
    let length = icmpv4::HEADER + quote.len();
    icmpv4::error_ip(source, destination, length).emit(&[], head)?;
    Some(ipv4::HEADER + length)
}

/// `None` where `out` is too short for the headers.
fn write6(
    message: icmpv6::Header,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    quote: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let (head, rest) = out.split_first_chunk_mut::<{ ipv6::HEADER }>()?;
    let (icmp, room) = rest.split_first_chunk_mut::<{ icmpv6::HEADER }>()?;
    let quote = copy(quote, room, icmpv6::MAX_ERROR - ipv6::HEADER - icmpv6::HEADER);
    *icmp = icmpv6::emit(&message, source, destination, quote);
    let length = icmpv6::HEADER + quote.len();
    *head = icmpv6::error_ip(source, destination, length).emit();
    Some(ipv6::HEADER + length)
}

/// As much of `quote` as `room` and `limit` allow.
fn copy<'a>(quote: &[u8], room: &'a mut [u8], limit: usize) -> &'a [u8] {
    let length = quote.len().min(room.len()).min(limit);
    let (room, _) = room.split_at_mut_checked(length).unwrap_or_default();
    room.copy_from_slice(quote.get(..length).unwrap_or_default());
    room
}

/// RFC 791 §3.2: every link takes it, in bytes.
const MIN_MTU4: u32 = 68;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use etherparse::{IpNumber, Ipv4Header, Ipv6Header};
    use std::vec::Vec;

    pub(super) const FROM: Sources = Sources { v4: DUMMY4, v6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1) };

    /// Type, code, second word and length of an error that goes from us to the source, and quotes.
    pub(super) fn read(error: &[u8], inner: &[u8]) -> (u8, u8, u32, usize) {
        let packet = Packet::parse(error).unwrap();
        let icmp = icmpv4::Message::parse(packet.payload()).unwrap();
        match &packet {
            Packet::V4(v4) => {
                assert_eq!(v4.header.source, FROM.v4);
                assert_eq!(v4.header.destination.octets(), sample::SOURCE4);
            }
            Packet::V6(v6) => {
                assert_eq!(v6.header.source, FROM.v6);
                assert_eq!(v6.header.destination.octets(), sample::SOURCE6);
            }
        }
        sample::verify(error);
        assert!(inner.starts_with(icmp.payload));
        (icmp.header.kind, icmp.header.code, icmp.header.rest, error.len())
    }

    fn check(inner: &[u8], mtu: u16, expected: Result<(u8, u8, u32, usize), Reason>) {
        let mut out = [0xee; 1500];
        let outcome = too_big(inner, mtu, FROM, &mut out);
        assert_eq!(outcome.map(|length| read(&out[..length], inner)), expected);
    }

    #[test]
    fn too_big_for_the_tunnel() {
        check(&sample::udp(false, &[7; 1473]), 1456, Ok((3, 4, 1456, 576)));
        check(&sample::udp(true, &[7; 1453]), 1456, Ok((2, 0, 1456, 1280)));
        check(&sample::udp(true, &[7; 1453]), 1000, Ok((2, 0, 1280, 1280)));
        check(&sample::udp(false, &[7; 60]), 30, Ok((3, 4, 68, 28 + 88)));
        check(&sample::udp(false, &[7; 60]), 88, Err(Reason::ErrorNotWanted));
        check(&sample::udp(true, &[7; 1232]), 1000, Err(Reason::ErrorNotWanted));
        check(&[], 1456, Err(Reason::Truncated));
        check(&[0x50; 60], 1456, Err(Reason::InnerVersion));
    }

    #[test]
    fn padding_is_not_quoted() {
        let packet = sample::udp(false, &[7; 60]);
        let padded = [packet, std::vec![0; 9]].concat();
        check(&padded, 70, Ok((3, 4, 70, 28 + 88)));
    }

    #[test]
    fn a_short_buffer_gets_a_short_error() {
        let inner = sample::udp(true, &[7; 1453]);
        let mut out = [0; 100];
        assert_eq!(too_big(&inner, 1280, FROM, &mut out), Ok(100));
        read(&out, &inner);
        let outcome = too_big(&inner, 1280, FROM, &mut out[..47]);
        assert_eq!(outcome, Err(Reason::ErrorUnusable));
    }

    fn check4(set: fn(&mut Ipv4Header), protocol: IpNumber, first: u8, expected: Option<Reason>) {
        let mut payload = [7; 1400];
        payload[0] = first;
        refused(&sample::ip4(protocol, set, &payload), expected);
    }

    fn check6(set: fn(&mut Ipv6Header), protocol: IpNumber, first: &[u8], expected: Option<Reason>) {
        let payload: Vec<u8> = [first, &[7; 1400]].concat();
        refused(&sample::ip6(protocol, set, &payload), expected);
    }

    fn refused(packet: &[u8], expected: Option<Reason>) {
        let outcome = too_big(packet, 1300, FROM, &mut [0; MAX_ERROR]);
        assert_eq!(outcome.err(), expected);
    }

    #[test]
    fn about_which_ipv4_packets_no_error_is_sent() {
        let wanted = |set| check4(set, IpNumber::UDP, 0, None);
        let unwanted = |set| check4(set, IpNumber::UDP, 0, Some(Reason::ErrorNotWanted));
        wanted(|_| {});
        wanted(|ip| ip.more_fragments = true);
        unwanted(|ip| ip.dont_fragment = false);
        unwanted(|ip| ip.fragment_offset = 1.try_into().unwrap());
        unwanted(|ip| ip.source = [0, 0, 0, 0]);
        unwanted(|ip| ip.source = [127, 0, 0, 1]);
        unwanted(|ip| ip.source = [224, 0, 0, 1]);
        unwanted(|ip| ip.source = [255; 4]);
        unwanted(|ip| ip.destination = [239, 1, 2, 3]);
        unwanted(|ip| ip.destination = [255; 4]);
        for (kind, expected) in [
            (0, None),
            (8, None),
            (3, Some(Reason::ErrorAboutError)),
            (5, Some(Reason::ErrorAboutError)),
            (11, Some(Reason::ErrorAboutError)),
            (12, Some(Reason::ErrorAboutError)),
        ] {
            check4(|_| {}, IpNumber::ICMP, kind, expected);
        }
    }

    #[test]
    fn about_which_ipv6_packets_no_error_is_sent() {
        let udp = |set| check6(set, IpNumber::UDP, &[], None);
        let unwanted = |set| check6(set, IpNumber::UDP, &[], Some(Reason::ErrorNotWanted));
        udp(|_| {});
        // RFC 4443 §2.4 (e.3), exception 1
        udp(|ip| ip.destination[0] = 0xff);
        unwanted(|ip| ip.source = [0; 16]);
        unwanted(|ip| ip.source = 1_u128.to_be_bytes());
        unwanted(|ip| ip.source[0] = 0xff);
        let icmp = IpNumber::IPV6_ICMP;
        check6(|_| {}, icmp, &[128], None);
        check6(|_| {}, icmp, &[129], None);
        check6(|_| {}, icmp, &[1], Some(Reason::ErrorAboutError));
        check6(|_| {}, icmp, &[2], Some(Reason::ErrorAboutError));
        check6(|_| {}, icmp, &[137], Some(Reason::ErrorAboutError));
        let options = IpNumber::IPV6_DESTINATION_OPTIONS;
        check6(|_| {}, options, &[58, 0, 0, 0, 0, 0, 0, 0, 1], Some(Reason::ErrorAboutError));
        let fragment = IpNumber::IPV6_FRAGMENTATION_HEADER;
        check6(|_| {}, fragment, &[17, 0, 0, 1, 0, 0, 0, 0], None);
        check6(|_| {}, fragment, &[17, 0, 0, 8, 0, 0, 0, 0], Some(Reason::ErrorNotWanted));
    }
}
