//! IPv4 to IPv6: RFC 7915 §4.

use core::net::{Ipv4Addr, Ipv6Addr};

use straddle_wire::checksum::{self, Sum};
use straddle_wire::ext::{FRAGMENT, Fragment};
use straddle_wire::ip::{ICMPV4, ICMPV6, UDP, Version};
use straddle_wire::{icmpv4, ipv4, ipv6, vnet};

use crate::header::{Datagram, check_protocol, other_number};
use crate::icmp::{self, GROWTH, Message};
use crate::load::Load;
use crate::map::{self, By, Whose};
use crate::offload::{Found, Offload, Super};
use crate::own;
use crate::pass::{End, Pass, Trouble};
use crate::quote;
use crate::{Hairpin, Mode, Reason, Translator, UdpZeroChecksum};

/// Source and destination in each network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) v4: (Ipv4Addr, Ipv4Addr),
    pub(crate) v6: (Ipv6Addr, Ipv6Addr),
}

/// Translates what is an IPv4 packet by its first byte.
#[inline]
pub(crate) fn translate(pass: &mut Pass<'_>, offload: &vnet::Header) -> Result<(), End> {
    let packet = ipv4::Packet::parse(pass.packet)?;
    let header = &packet.header;
    if !packet.checksum_is_valid() {
        return Err(Reason::HeaderChecksum.into());
    }
    map::legal4(header.destination)?;
    if pass.translator.config().own4 == Some(header.destination) {
        map::legal4(header.source)?;
        return own::receive4(pass, &packet);
    }
    let error = quoted_by_error(&packet);
    let v6 = addresses(pass.translator, header, error)?;
    if header.ttl <= 1 {
        return Err(End::Tell(Reason::TimeExceeded, Trouble::TimeExceeded));
    }
    if !packet.options.is_empty() && ipv4::source_route_is_unexpired(packet.options) {
        return Err(End::Tell(Reason::SourceRoute, Trouble::SourceRoute));
    }
    check_protocol(header.protocol, ICMPV6)?;
    let mut datagram = read(pass.translator, &packet, offload)?;
    carry(pass, &mut datagram, &Addresses { v4: (header.source, header.destination), v6 })
}

/// The fields that RFC 7915 §4.1 translates, addresses aside.
#[inline]
fn read<'a>(
    translator: &Translator,
    packet: &ipv4::Packet<'a>,
    offload: &vnet::Header,
) -> Result<Datagram<'a>, Reason> {
    let header = &packet.header;
    let found = Found {
        version: Version::V4,
        at: packet.header_len(),
        protocol: header.protocol,
        is_fragment: packet.is_fragment(),
        transport: packet.payload,
    };
    let fragment = Fragment { offset: header.offset, more: header.more_fragments, id: header.id.into() };
    let datagram = Datagram {
        class: translator.config().class(header.tos),
        hops: header.ttl - 1,
        protocol: header.protocol,
        dont_fragment: header.dont_fragment,
        id: header.id,
        fragment: packet.is_fragment().then_some(fragment),
        bytes: packet.payload,
        load: Load::new(header.protocol, header.offset != 0, packet.payload)?,
        offload: Offload::new(offload, &found)?,
    };
    datagram.check_fragment()?;
    Ok(datagram)
}

/// The packet that an ICMPv4 error quotes, with what is behind it.
#[inline]
fn quoted_by_error<'a>(packet: &ipv4::Packet<'a>) -> Option<&'a [u8]> {
    if packet.header.protocol != ICMPV4 || packet.is_fragment() {
        return None;
    }
    let message = icmpv4::Message::parse(packet.payload).ok()?;
    icmpv4::is_error(message.header.kind).then_some(message.payload)
}

/// RFC 7915 §4.1, source and destination address.
#[inline]
fn addresses(
    translator: &Translator,
    header: &ipv4::Header,
    error: Option<&[u8]>,
) -> Result<(Ipv6Addr, Ipv6Addr), End> {
    let legal = if error.is_some() { map::legal_error_source4 } else { map::legal4 };
    legal(header.source)?;
    let config = translator.config();
    if config.mode == Mode::Clat && config.pool6.is_empty() {
        // The prefix is yet to be discovered. Whoever could have taken another way shall not wait for it.
        return Err(End::Tell(Reason::NoPrefix, Trouble::Network));
    }
    let destination =
        translator.to6(header.destination, translator.by(Whose::Theirs)).map_err(End::of_destination)?;
    let by = source_by(translator, header.source, error, is_simple(translator));
    match (translator.to6(header.source, by), error) {
        (Ok(source), _) => Ok((source, destination)),
        (Err(_), Some(_)) => Ok((translator.config().stand_in6(header.source)?, destination)),
        (Err(Reason::NotOurs), None) => Err(End::Tell(Reason::SourceNotMapped, Trouble::Prohibited)),
        (Err(reason), None) => Err(reason.into()),
    }
}

fn is_simple(translator: &Translator) -> bool {
    let config = translator.config();
    config.hairpin == Hairpin::Simple && config.mode == Mode::Siit && !config.pool6.is_empty()
}

/// What the source is mapped by. Where packets may come back that were meant for another mapped host,
/// sources go into `pool6` (RFC 7757 §4.2.1), so that answers come back as well; in an ICMP error
/// only where its source is the host that the quoted packet went to.
#[inline]
fn source_by(translator: &Translator, source: Ipv4Addr, error: Option<&[u8]>, hairpin: bool) -> By {
    if !hairpin {
        return translator.by(Whose::Ours);
    }
    let by_destination = error.is_none_or(|quoted| {
        ipv4::Packet::parse_cut(quoted).is_ok_and(|quoted| quoted.header.destination == source)
    });
    if by_destination { By::Pool } else { By::Either }
}

/// The second half of a hairpin: takes what was just translated to IPv4 back to IPv6 (RFC 7757 §4.2.2).
pub(crate) fn turn(
    pass: &mut Pass<'_>,
    datagram: &mut Datagram<'_>,
    v4: (Ipv4Addr, Ipv4Addr),
) -> Result<(), End> {
    let translator = pass.translator;
    let destination = translator.to6(v4.1, By::Either)?;
    let source = translator.to6(v4.0, By::Pool)?;
    carry(pass, datagram, &Addresses { v4, v6: (source, destination) })
}

/// As [`turn`] for an ICMPv4 error, `message` being all behind the IP header.
pub(crate) fn turn_error(
    pass: &mut Pass<'_>,
    class: u8,
    hops: u8,
    message: &[u8],
    v4: (Ipv4Addr, Ipv4Addr),
) -> Result<(), End> {
    let translator = pass.translator;
    let quoted = icmpv4::Message::parse(message)?.payload;
    let destination = translator.to6(v4.1, By::Either)?;
    let by = source_by(translator, v4.0, Some(quoted), true);
    let source = translator.to6(v4.0, by).or_else(|_| translator.config().stand_in6(v4.0))?;
    let envelope = quote::Envelope { class, hops, hairpin: true };
    quote::error6(pass, envelope, message, (source, destination))
}

/// Translates what is behind the header: RFC 7915 §4.2, §4.5.
#[inline]
fn carry(pass: &mut Pass<'_>, datagram: &mut Datagram<'_>, addresses: &Addresses) -> Result<(), End> {
    if datagram.protocol == ICMPV4 {
        return icmp(pass, datagram, addresses);
    }
    let new = checksum::addresses6(addresses.v6.0, addresses.v6.1);
    if datagram.protocol == UDP && datagram.load.has_no_udp_checksum() {
        without_checksum(pass.translator.config().udp_zero_checksum, datagram, new)?;
    } else {
        datagram.readdress(checksum::addresses4(addresses.v4.0, addresses.v4.1), new);
    }
    send(pass, datagram, addresses.v6)
}

/// RFC 7915 §4.5: a datagram without checksum.
fn without_checksum(policy: UdpZeroChecksum, datagram: &mut Datagram<'_>, new: Sum) -> Result<(), Reason> {
    match (policy, datagram.offload) {
        (_, Offload::Checksum(_) | Offload::Super(_)) => {
            datagram.readdress(Sum::ZERO, new);
            Ok(())
        }
        (UdpZeroChecksum::Drop, _) => Err(Reason::UdpZeroChecksum),
        (UdpZeroChecksum::Pass, _) => Ok(()),
        (UdpZeroChecksum::Compute, _) if datagram.is_partial() => Err(Reason::UdpZeroChecksumFragment),
        (UdpZeroChecksum::Compute, Offload::Within { .. }) => Err(Reason::OffloadHeader),
        (UdpZeroChecksum::Compute, Offload::None) => datagram.load.compute_udp_checksum(new.word(UDP.into())),
    }
}

/// RFC 7915 §4.2.
#[inline]
fn icmp(pass: &mut Pass<'_>, datagram: &mut Datagram<'_>, addresses: &Addresses) -> Result<(), End> {
    if datagram.is_partial() {
        return Err(Reason::FragmentedIcmp.into());
    }
    let header = icmpv4::Message::parse(datagram.bytes)?.header;
    let kind = datagram.load.kind().unwrap_or(header.kind);
    match icmp::to6(kind, header.code, (header.rest >> 24) as u8)? {
        Message::Echo(kind) => {
            datagram.complete();
            let length = datagram.load.len() as u32;
            let (source, destination) = addresses.v6;
            let pseudo = checksum::pseudo6(source, destination, ICMPV6, length);
            datagram.load.retype(kind, Sum::ZERO, pseudo);
            send(pass, datagram, addresses.v6)
        }
        Message::Error { .. } if datagram.offload != Offload::None => Err(Reason::OffloadHeader.into()),
        Message::Error { .. } => {
            let hairpin = is_simple(pass.translator);
            let envelope = quote::Envelope { class: datagram.class, hops: datagram.hops, hairpin };
            quote::error6(pass, envelope, datagram.bytes, addresses.v6)
        }
    }
}

/// RFC 7915 §4.1, first paragraphs: sees to the size.
#[inline]
fn send(pass: &mut Pass<'_>, datagram: &mut Datagram<'_>, v6: (Ipv6Addr, Ipv6Addr)) -> Result<(), End> {
    let config = pass.translator.config();
    let header_len = header_len(datagram);
    let mtu = u32::from(config.mtu6).max(ipv6::MIN_MTU) as usize;
    let limit = if datagram.dont_fragment { mtu } else { mtu.min(config.lowest_ipv6_mtu.into()) };
    let longest = match datagram.offload {
        Offload::Super(packet) => packet.longest(datagram.load.len()),
        Offload::None | Offload::Checksum(_) | Offload::Within { .. } => datagram.load.len(),
    };
    if header_len + longest <= limit {
        let (front, back) = (datagram.load.head(), datagram.load.rest);
        write(pass, datagram, v6, datagram.fragment, (front, back));
        return Ok(());
    }
    if datagram.dont_fragment {
        let mtu = (mtu + ipv6::HEADER - header_len) as u32 - GROWTH;
        return Err(End::Tell(Reason::TooBig, Trouble::TooBig(mtu)));
    }
    send_smaller(pass, datagram, v6, limit.max(ipv6::MIN_MTU as usize))
}

/// Makes packets of at most `limit` bytes out of one: smaller TCP segments of a super-packet, else fragments.
fn send_smaller(
    pass: &mut Pass<'_>,
    datagram: &mut Datagram<'_>,
    v6: (Ipv6Addr, Ipv6Addr),
    limit: usize,
) -> Result<(), End> {
    match datagram.offload {
        Offload::Super(packet) if packet.tcp => {
            let size = limit - ipv6::HEADER - packet.header_len;
            datagram.offload = Offload::Super(Super { size: size as u16, ..packet });
            let (front, back) = (datagram.load.head(), datagram.load.rest);
            write(pass, datagram, v6, datagram.fragment, (front, back));
            Ok(())
        }
        Offload::Super(packet) => {
            let pseudo = checksum::addresses6(v6.0, v6.1).word(UDP.into());
            for payload in datagram.load.rest.chunks(packet.size.into()) {
                let load = datagram.load.datagram(payload, pseudo);
                let mut part = Datagram { load, offload: Offload::None, ..*datagram };
                send(pass, &mut part, v6)?;
                // Linux numbers the datagrams of a super-packet so.
                datagram.id = datagram.id.wrapping_add(1);
            }
            Ok(())
        }
        Offload::None | Offload::Checksum(_) | Offload::Within { .. } => {
            let room = limit - ipv6::HEADER - Fragment::HEADER;
            let at = Datagram { offload: Offload::None, ..*datagram };
            datagram
                .pieces(room, |fragment, front, back| write(pass, &at, v6, Some(fragment), (front, back)))?;
            Ok(())
        }
    }
}

#[inline]
fn header_len(datagram: &Datagram<'_>) -> usize {
    ipv6::HEADER + if datagram.fragment.is_some() { Fragment::HEADER } else { 0 }
}

/// RFC 7915 §4.1: the IPv6 header, and the fragment header where there is one.
#[inline]
fn write(
    pass: &mut Pass<'_>,
    datagram: &Datagram<'_>,
    v6: (Ipv6Addr, Ipv6Addr),
    fragment: Option<Fragment>,
    (front, back): (&[u8], &[u8]),
) {
    let mut head = [0; ipv6::HEADER + Fragment::HEADER + Load::HEAD];
    let next_header = other_number(datagram.protocol);
    let extra = fragment.map(|fragment| fragment.emit(next_header));
    let extra = extra.as_ref().map_or(&[][..], |extra| extra);
    let header = ipv6::Header {
        traffic_class: datagram.class,
        flow_label: 0,
        payload_len: (extra.len() + front.len() + back.len()) as u16,
        next_header: if extra.is_empty() { next_header } else { FRAGMENT },
        hop_limit: datagram.hops,
        source: v6.0,
        destination: v6.1,
    };
    let at = ipv6::HEADER + extra.len();
    let end = at + front.len();
    for (place, bytes) in [(0, &header.emit()[..]), (ipv6::HEADER, extra), (at, front)] {
        if let Some(to) = head.get_mut(place..place + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    }
    let offload = datagram.offload.emit(Version::V6, at);
    pass.forward(Version::V6, offload, head.get(..end).unwrap_or_default(), back);
}
