//! IPv6 to IPv4: RFC 7915 §5.

use core::net::{Ipv4Addr, Ipv6Addr};

use straddle_wire::checksum::{self, Sum};
use straddle_wire::ext::{self, Fragment, Skipped};
use straddle_wire::ip::{ICMPV4, ICMPV6, UDP, Version};
use straddle_wire::{icmpv4, icmpv6, ipv4, ipv6, vnet};

use crate::header::{Datagram, check_protocol, other_number};
use crate::icmp::{self, FRAGMENT_HEADER, GROWTH, Message};
use crate::load::Load;
use crate::map::{self, Via, Whose};
use crate::offload::{Found, Offload, Super};
use crate::own;
use crate::pass::{End, Pass, Trouble};
use crate::quote;
use crate::v4_to_v6;
use crate::{Hairpin, Mode, Reason, Translator};

/// Where a packet goes.
#[derive(Clone, Copy, Debug)]
struct Way {
    v6: (Ipv6Addr, Ipv6Addr),
    v4: (Ipv4Addr, Ipv4Addr),
    /// The source has no IPv4 address: 192.0.0.8 stands in, and an extension is to tell whom.
    nameless: bool,
    /// It is for a mapped host (RFC 7757 §4.2.2).
    hairpin: bool,
}

/// Translates what is an IPv6 packet by its first byte.
#[inline]
pub(crate) fn translate(pass: &mut Pass<'_>, offload: &vnet::Header) -> Result<(), End> {
    let packet = ipv6::Packet::parse(pass.packet)?;
    let header = &packet.header;
    map::legal6(header.destination)?;
    map::legal6(header.source)?;
    if pass.translator.config().own6 == Some(header.destination) {
        return own::receive6(pass, &packet);
    }
    let translator = pass.translator;
    let (destination, via) = destination(translator, header.destination)?;
    let skipped = ext::skip(&packet)?;
    let is_error = is_error(&skipped);
    let (source, nameless) = source(translator, header.source, is_error)?;
    let hairpin = via == Via::Pool && !is_error && may_turn(translator) && translator.has_eam(destination);
    if header.hop_limit <= 1 || hairpin && header.hop_limit <= 2 {
        return Err(End::Tell(Reason::TimeExceeded, Trouble::TimeExceeded));
    }
    if let Some(at) = skipped.segments_left_at {
        return Err(End::Tell(Reason::SegmentsLeft, Trouble::HeaderField(at as u32)));
    }
    if skipped.fragment.is_some() && ext::is_extension(skipped.protocol) {
        return Err(Reason::ExtensionAfterFragment.into());
    }
    check_protocol(skipped.protocol, ICMPV4)?;
    let mut datagram = read(translator, &packet, &skipped, offload)?;
    let v6 = (header.source, header.destination);
    carry(pass, &mut datagram, &Way { v6, v4: (source, destination), nameless, hairpin })
}

/// The fields that RFC 7915 §5.1 translates, addresses aside.
#[inline]
fn read<'a>(
    translator: &Translator,
    packet: &ipv6::Packet<'a>,
    skipped: &Skipped<'a>,
    offload: &vnet::Header,
) -> Result<Datagram<'a>, Reason> {
    let found = Found {
        version: Version::V6,
        at: ipv6::HEADER + packet.payload.len() - skipped.payload.len(),
        protocol: skipped.protocol,
        is_fragment: skipped.fragment.is_some(),
        transport: skipped.payload,
    };
    let later = skipped.fragment.is_some_and(|fragment| fragment.offset != 0);
    let datagram = Datagram {
        class: translator.config().class(packet.header.traffic_class),
        hops: packet.header.hop_limit - 1,
        protocol: skipped.protocol,
        dont_fragment: false,
        id: skipped.fragment.map_or(0, |fragment| fragment.id as u16),
        fragment: skipped.fragment,
        bytes: skipped.payload,
        load: Load::new(skipped.protocol, later, skipped.payload)?,
        offload: Offload::new(offload, &found)?,
    };
    datagram.check_fragment()?;
    Ok(datagram)
}

#[inline]
fn destination(translator: &Translator, address: Ipv6Addr) -> Result<(Ipv4Addr, Via), End> {
    let found = translator.to4(address, translator.by(Whose::Ours)).map_err(End::of_destination)?;
    map::legal4(found.0)?;
    Ok(found)
}

/// The source, and whether it is one that stands in.
#[inline]
fn source(translator: &Translator, address: Ipv6Addr, is_error: bool) -> Result<(Ipv4Addr, bool), End> {
    match translator.to4(address, translator.by(Whose::Theirs)) {
        Ok((found, _)) => {
            map::legal4(found)?;
            Ok((found, false))
        }
        Err(Reason::NotOurs) if is_error => match translator.config().stand_in4(address) {
            Some(found) => Ok((found, false)),
            None => Ok((ipv4::DUMMY, true)),
        },
        Err(Reason::NotOurs) => Err(End::Tell(Reason::SourceNotMapped, Trouble::Prohibited)),
        Err(reason) => Err(reason.into()),
    }
}

fn is_error(skipped: &Skipped<'_>) -> bool {
    let later = skipped.fragment.is_some_and(|fragment| fragment.offset != 0);
    skipped.protocol == ICMPV6 && !later && skipped.payload.first().is_some_and(|kind| *kind < INFORMATIONAL)
}

/// Whether packets for mapped hosts are turned here.
#[inline]
fn may_turn(translator: &Translator) -> bool {
    let config = translator.config();
    config.hairpin == Hairpin::Intrinsic && config.mode == Mode::Siit
}

/// Translates what is behind the header: RFC 7915 §5.2, §5.5.
#[inline]
fn carry(pass: &mut Pass<'_>, datagram: &mut Datagram<'_>, way: &Way) -> Result<(), End> {
    if datagram.protocol == ICMPV6 {
        return icmp(pass, datagram, way);
    }
    let old = checksum::addresses6(way.v6.0, way.v6.1);
    datagram.readdress(old, checksum::addresses4(way.v4.0, way.v4.1));
    send(pass, datagram, way)
}

/// RFC 7915 §5.2.
#[inline]
fn icmp(pass: &mut Pass<'_>, datagram: &mut Datagram<'_>, way: &Way) -> Result<(), End> {
    if datagram.is_partial() {
        return Err(Reason::FragmentedIcmp.into());
    }
    let header = icmpv6::Message::parse(datagram.bytes)?.header;
    match icmp::to4(header.kind, header.code, header.rest)? {
        Message::Echo(kind) => {
            datagram.complete();
            let length = datagram.load.len() as u32;
            let pseudo = checksum::pseudo6(way.v6.0, way.v6.1, ICMPV6, length);
            datagram.load.retype(kind, pseudo, Sum::ZERO);
            send(pass, datagram, way)
        }
        Message::Error { .. } if datagram.offload != Offload::None => Err(Reason::OffloadHeader.into()),
        Message::Error { .. } => error(pass, datagram, way),
    }
}

/// RFC 7915 §5.3: an error goes out whole.
fn error(pass: &mut Pass<'_>, datagram: &Datagram<'_>, way: &Way) -> Result<(), End> {
    let translator = pass.translator;
    let mut out = [0; icmpv4::MAX_ERROR];
    let node = way.nameless.then_some(way.v6.0);
    let written = quote::error4(translator, datagram.bytes, way.v6, node, &mut out)?;
    let (head, message) = out.split_at_mut_checked(ipv4::HEADER).unwrap_or_default();
    let message = message.get(..written.length).unwrap_or_default();
    let turned =
        may_turn(translator) && written.source_via == Via::Pool && translator.has_eam(written.source);
    if turned {
        if datagram.hops <= 1 {
            return Err(End::Tell(Reason::TimeExceeded, Trouble::TimeExceeded));
        }
        return v4_to_v6::turn_error(pass, datagram.class, datagram.hops - 1, message, way.v4);
    }
    let total = ipv4::HEADER + message.len();
    let id = match datagram.fragment {
        Some(fragment) => fragment.id as u16,
        None => pass.state.identification(),
    };
    let header = ipv4::Header {
        total_len: total as u16,
        ..header(datagram, way.v4, Fragment { offset: 0, more: false, id: id.into() })
    };
    header.emit(&[], head);
    pass.forward(Version::V4, vnet::Header::default(), out.get(..total).unwrap_or_default(), &[]);
    Ok(())
}

/// RFC 7915 §5.1: sees to the size, and to the identification.
#[inline]
fn send(pass: &mut Pass<'_>, datagram: &mut Datagram<'_>, way: &Way) -> Result<(), End> {
    let longest = match datagram.offload {
        Offload::Super(packet) => packet.longest(datagram.load.len()),
        Offload::None | Offload::Checksum(_) | Offload::Within { .. } => datagram.load.len(),
    };
    datagram.dont_fragment = datagram.fragment.is_none() && ipv4::HEADER + longest > ALWAYS_FITS;
    if datagram.fragment.is_none() && !datagram.dont_fragment {
        datagram.id = pass.state.identification();
    }
    if way.hairpin {
        return turn(pass, datagram, way);
    }
    let mtu = usize::from(pass.translator.config().mtu4);
    if ipv4::HEADER + longest <= mtu {
        return send_whole(pass, datagram, way);
    }
    // An IPv6 node sends no smaller packets than that, whatever it is told.
    let growth = growth(datagram);
    if ipv4::HEADER + longest + growth > ipv6::MIN_MTU as usize {
        return Err(End::Tell(Reason::TooBig, Trouble::TooBig((mtu + growth) as u32)));
    }
    send_smaller(pass, datagram, way, mtu)
}

/// # Errors
/// [`Reason::TooLong`] for a super-packet that IPv4 has no length for.
#[inline]
fn send_whole(pass: &mut Pass<'_>, datagram: &mut Datagram<'_>, way: &Way) -> Result<(), End> {
    if ipv4::HEADER + datagram.load.len() > u16::MAX.into() {
        return Err(Reason::TooLong.into());
    }
    write(pass, datagram, way.v4, None, (datagram.load.head(), datagram.load.rest));
    Ok(())
}

/// By how much the packet was longer in IPv6, extension headers that mean nothing in IPv4 aside.
#[inline]
fn growth(datagram: &Datagram<'_>) -> usize {
    let more = if datagram.fragment.is_some() { FRAGMENT_HEADER } else { 0 };
    (GROWTH + more) as usize
}

/// Hands the packet back to the IPv6 network.
fn turn(pass: &mut Pass<'_>, datagram: &mut Datagram<'_>, way: &Way) -> Result<(), End> {
    let growth = growth(datagram) as u32;
    let mut turned = Datagram {
        protocol: other_number(datagram.protocol),
        hops: datagram.hops - 1,
        fragment: datagram
            .fragment
            .filter(|_| datagram.is_partial())
            .map(|fragment| Fragment { id: fragment.id & 0xffff, ..fragment }),
        ..*datagram
    };
    v4_to_v6::turn(pass, &mut turned, way.v4).map_err(|end| {
        if let End::Tell(reason, Trouble::TooBig(mtu)) = end {
            return End::Tell(reason, Trouble::TooBig(mtu + growth));
        }
        end
    })
}

/// Makes packets of at most `mtu` bytes out of one, as an IPv4 router would: smaller TCP segments of a
/// super-packet, else fragments.
fn send_smaller(pass: &mut Pass<'_>, datagram: &mut Datagram<'_>, way: &Way, mtu: usize) -> Result<(), End> {
    let room = mtu.checked_sub(ipv4::HEADER).ok_or(Reason::TooBig)?;
    match datagram.offload {
        Offload::Super(packet) if packet.tcp => {
            let size = room.checked_sub(packet.header_len).filter(|size| *size > 0).ok_or(Reason::TooBig)?;
            datagram.offload = Offload::Super(Super { size: size as u16, ..packet });
            send_whole(pass, datagram, way)
        }
        Offload::Super(packet) => {
            let pseudo = checksum::addresses4(way.v4.0, way.v4.1).word(UDP.into());
            for payload in datagram.load.rest.chunks(packet.size.into()) {
                let load = datagram.load.datagram(payload, pseudo);
                let mut part = Datagram { load, offload: Offload::None, ..*datagram };
                send(pass, &mut part, way)?;
            }
            Ok(())
        }
        Offload::None | Offload::Checksum(_) | Offload::Within { .. } => {
            let at = Datagram { offload: Offload::None, ..*datagram };
            datagram.pieces(room, |fragment, front, back| {
                write(pass, &at, way.v4, Some(fragment), (front, back));
            })?;
            Ok(())
        }
    }
}

/// RFC 7915 §5.1, and §5.1.1 where there is a fragment header.
#[inline]
fn header(datagram: &Datagram<'_>, v4: (Ipv4Addr, Ipv4Addr), fragment: Fragment) -> ipv4::Header {
    ipv4::Header {
        tos: datagram.class,
        total_len: 0,
        id: fragment.id as u16,
        dont_fragment: datagram.dont_fragment,
        more_fragments: fragment.more,
        offset: fragment.offset,
        ttl: datagram.hops,
        protocol: other_number(datagram.protocol),
        checksum: 0,
        source: v4.0,
        destination: v4.1,
    }
}

#[inline]
fn write(
    pass: &mut Pass<'_>,
    datagram: &Datagram<'_>,
    v4: (Ipv4Addr, Ipv4Addr),
    piece: Option<Fragment>,
    (front, back): (&[u8], &[u8]),
) {
    let whole = Fragment { offset: 0, more: false, id: datagram.id.into() };
    let fragment = piece.or(datagram.fragment).unwrap_or(whole);
    let total_len = (ipv4::HEADER + front.len() + back.len()) as u16;
    let header = ipv4::Header { total_len, ..header(datagram, v4, fragment) };
    let mut head = [0; ipv4::HEADER + Load::HEAD];
    header.emit(&[], &mut head);
    let end = ipv4::HEADER + front.len();
    if let Some(to) = head.get_mut(ipv4::HEADER..end) {
        to.copy_from_slice(front);
    }
    let offload = datagram.offload.emit(Version::V4, ipv4::HEADER);
    pass.forward(Version::V4, offload, head.get(..end).unwrap_or_default(), back);
}

/// The longest IPv4 packet that goes out with DF clear (RFC 7915 §5.1), in bytes: what every IPv6 path takes.
const ALWAYS_FITS: usize = 1260;
/// The first ICMPv6 type that is no error (RFC 4443 §2.1).
const INFORMATIONAL: u8 = icmpv6::ECHO_REQUEST;
const _: () = assert!(icmpv4::HEADER == icmpv6::HEADER);
