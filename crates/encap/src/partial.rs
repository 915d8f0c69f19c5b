//! Packets that a raw socket received with their checksum still to be done.

use straddle_wire::checksum::Sum;
use straddle_wire::ip::{self, Packet};
use straddle_wire::vnet::{self, Gso};
use straddle_wire::{tcp, udp};

use crate::Reason;

/// What the tun device is to be told about an inner packet that arrived, `mtu` being the carrier's
/// for inner packets.
///
/// Where the peer is on the same machine, or the kernel joined outer packets (GRO), a raw socket
/// sees packets whose transport checksum is only the pseudo-header's sum (`CHECKSUM_PARTIAL`), and
/// TCP super-packets. Any other packet passes as it is, with an empty header.
///
/// # Errors
/// [`Reason::AggregatedUdp`] for a UDP super-packet, whose datagrams can't be told apart;
/// [`Reason::OffloadHeader`] where `mtu` leaves no room behind the headers.
#[inline]
pub fn aggregated(packet: &[u8], mtu: u16) -> Result<vnet::Header, Reason> {
    match Packet::parse(packet) {
        Ok(ip) if ip.is_fragment() => Ok(vnet::Header::default()),
        Ok(ip) if ip.protocol() == ip::TCP => of_tcp(&ip, mtu),
        Ok(ip) if ip.protocol() == ip::UDP => of_udp(&ip, mtu),
        Ok(_) | Err(_) => Ok(vnet::Header::default()),
    }
}

fn of_tcp(ip: &Packet<'_>, mtu: u16) -> Result<vnet::Header, Reason> {
    let pseudo = ip.pseudo(ip::TCP, ip.payload().len() as u16);
    let Some(segment) =
        tcp::Segment::parse(ip.payload()).ok().filter(|segment| segment.header.checksum == pseudo.value())
    else {
        return Ok(vnet::Header::default());
    };
    let hdr_len = (ip.header_len() + segment.header_len()) as u16;
    let single = vnet::Header { hdr_len, csum_offset: tcp::at::CHECKSUM as u16, ..partial(ip) };
    if ip.total_len() <= usize::from(mtu) {
        return Ok(single);
    }
    let room = mtu.checked_sub(hdr_len).filter(|room| *room > 0);
    Ok(vnet::Header {
        gso: match ip {
            Packet::V4(_) => Gso::TcpV4,
            Packet::V6(_) => Gso::TcpV6,
        },
        ecn: segment.header.flags & tcp::CWR != 0,
        gso_size: room.ok_or(Reason::OffloadHeader)?,
        ..single
    })
}

fn of_udp(ip: &Packet<'_>, mtu: u16) -> Result<vnet::Header, Reason> {
    let pseudo = ip.pseudo(ip::UDP, ip.payload().len() as u16);
    let is_partial =
        udp::Datagram::parse(ip.payload()).is_ok_and(|datagram| datagram.header.checksum == pseudo.value());
    if !is_partial {
        return Ok(vnet::Header::default());
    }
    if ip.total_len() <= usize::from(mtu) {
        return Ok(vnet::Header {
            hdr_len: (ip.header_len() + udp::HEADER) as u16,
            csum_offset: udp::at::CHECKSUM as u16,
            ..partial(ip)
        });
    }
    // A complete checksum can happen to equal the pseudo-header's sum.
    if pseudo.plus(Sum::of(ip.payload())).is_valid() {
        return Ok(vnet::Header::default());
    }
    Err(Reason::AggregatedUdp)
}

fn partial(ip: &Packet<'_>) -> vnet::Header {
    vnet::Header { flags: vnet::NEEDS_CSUM, csum_start: ip.header_len() as u16, ..vnet::Header::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    const NONE: (u8, Gso, u16, u16) = (0, Gso::None, 0, 0);

    fn check(packet: &[u8], mtu: u16, expected: Result<(u8, Gso, u16, u16), Reason>) {
        let outcome = aggregated(packet, mtu);
        let outcome = outcome.map(|h| (h.flags, h.gso, h.gso_size, h.csum_start + h.csum_offset));
        assert_eq!(outcome, expected);
    }

    #[test]
    fn complete_packets_pass() {
        for v6 in [false, true] {
            check(&sample::tcp(v6, |_| {}, &[7; 3000]), 1456, Ok(NONE));
            check(&sample::udp(v6, &[7; 3000]), 1456, Ok(NONE));
            check(&sample::udp(v6, &[7; 30]), 1456, Ok(NONE));
        }
        check(b"", 1456, Ok(NONE));
        check(&[0x45; 2000], 1456, Ok(NONE));
        check(&sample::ip4(59.into(), |_| {}, &[7; 3000]), 1456, Ok(NONE));
    }

    #[test]
    fn partial_packets_that_fit() {
        for (v6, ip) in [(false, 20), (true, 40)] {
            let mut tcp = sample::tcp(v6, |_| {}, &[7; 100]);
            sample::make_partial(&mut tcp);
            check(&tcp, 1456, Ok((1, Gso::None, 0, ip + 16)));
            let mut udp = sample::udp(v6, &[7; 100]);
            sample::make_partial(&mut udp);
            check(&udp, 1456, Ok((1, Gso::None, 0, ip + 6)));
        }
    }

    #[test]
    fn partial_packets_that_do_not_fit() {
        for (v6, ip, gso) in [(false, 20, Gso::TcpV4), (true, 40, Gso::TcpV6)] {
            let mut tcp = sample::tcp(v6, |_| {}, &[7; 3000]);
            sample::make_partial(&mut tcp);
            check(&tcp, 1456, Ok((1, gso, 1456 - 32 - ip, ip + 16)));
            check(&tcp, ip + 32, Err(Reason::OffloadHeader));
            let mut udp = sample::udp(v6, &[7; 3000]);
            sample::make_partial(&mut udp);
            check(&udp, 1456, Err(Reason::AggregatedUdp));
        }
    }

    #[test]
    fn a_right_checksum_may_look_like_a_partial_one() {
        let alike = (0..=u16::MAX).map(|payload| sample::udp(false, &payload.to_be_bytes())).find(|udp| {
            let mut partial = udp.clone();
            sample::make_partial(&mut partial);
            partial == *udp
        });
        check(&alike.unwrap(), 25, Ok(NONE));
    }

    #[test]
    fn congestion_window_reduced_is_told() {
        let mut tcp = sample::tcp(false, |tcp| tcp.cwr = true, &[7; 3000]);
        sample::make_partial(&mut tcp);
        assert!(aggregated(&tcp, 1456).unwrap().ecn);
    }

    #[test]
    fn fragments_are_never_partial() {
        let mut tcp = sample::tcp4(|_| {}, |_| {}, &[7; 3000]);
        sample::make_partial(&mut tcp);
        tcp[6] = 0x20;
        check(&tcp, 1456, Ok(NONE));
    }
}
