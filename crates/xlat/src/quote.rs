//! ICMP errors, with the packets that they quote: RFC 7915 §4.3, §5.3, RFC 4884.

use core::net::{Ipv4Addr, Ipv6Addr};

use straddle_wire::checksum::{self, Sum};
use straddle_wire::ext::{self, FRAGMENT, Fragment};
use straddle_wire::extension;
use straddle_wire::ip::{ICMPV4, ICMPV6, Version};
use straddle_wire::{icmpv4, icmpv6, ipv4, ipv6, vnet};

use crate::header::{check_protocol, other_number};
use crate::icmp::{self, Message, Word};
use crate::load::Load;
use crate::map::{self, By, Via, Whose};
use crate::pass::{End, Pass};
use crate::structure::{self, Structure};
use crate::{Out, Reason, Translator};

/// What the header around an ICMPv6 error says, and how the addresses in it are mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) class: u8,
    pub(crate) hops: u8,
    /// The destination of the quoted packet is to be in `pool6` (RFC 7757 §4.2.1).
    pub(crate) hairpin: bool,
}

/// An ICMPv4 message that was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// In bytes.
    pub(crate) length: usize,
    /// The source of the quoted packet, and what it was mapped by.
    pub(crate) source: Ipv4Addr,
    pub(crate) source_via: Via,
}

/// The translated start of a packet.
pub(crate) struct Quote<'a> {
    header: [u8; QUOTED_HEADER],
    header_len: usize,
    load: Load<'a>,
}

impl<'a> Quote<'a> {
    fn new(parts: [&[u8]; 2], load: Load<'a>) -> Self {
        let mut header = [0; QUOTED_HEADER];
        let mut header_len = 0;
        for part in parts {
            structure::put(&mut header, &mut header_len, part);
        }
        Self { header, header_len, load }
    }

    /// Its bytes, in order.
    pub(crate) fn parts(&self) -> [&[u8]; 3] {
        [self.header.get(..self.header_len).unwrap_or_default(), self.load.head(), self.load.rest]
    }

    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        self.header_len + self.load.len()
    }
}

/// Translates an ICMPv4 error, `message` being all behind the IP header, and sends it on.
pub(crate) fn error6(
    pass: &mut Pass<'_>,
    envelope: Envelope,
    message: &[u8],
    v6: (Ipv6Addr, Ipv6Addr),
) -> Result<(), End> {
    let translator = pass.translator;
    let header = icmpv4::Message::parse(message)?.header;
    let Message::Error { kind, code, word } = icmp::to6(header.kind, header.code, (header.rest >> 24) as u8)?
    else {
        return Err(Reason::IcmpType.into());
    };
    let payload = message.get(icmpv4::HEADER..).unwrap_or_default();
    let (datagram, extension) = extension::split(payload, usize::from((header.rest >> 16) as u8) * 4);
    let (quote, total_len) = quote6(translator, datagram, envelope.hairpin)?;
    let carries = matches!(kind, icmpv6::UNREACHABLE | icmpv6::TIME_EXCEEDED);
    let structure = if carries { Structure::of(extension) } else { Structure::of(&[]) };
    let mut out = [0; Out::HEAD];
    let (head, room) = out.split_first_chunk_mut::<{ ipv6::HEADER }>().ok_or(Reason::InnerMalformed)?;
    let (icmp, body) = room.split_first_chunk_mut::<{ icmpv6::HEADER }>().ok_or(Reason::InnerMalformed)?;
    let (length, units) = structure.write(&quote, 8, body);
    let rest = match word {
        Word::Unused => u32::from(units) << 24,
        Word::Pointer(pointer) => pointer.into(),
        Word::Mtu => icmp::mtu6(translator.config(), header.rest as u16, total_len),
    };
    let body = body.get(..length).unwrap_or_default();
    *icmp = icmpv6::emit(&icmpv6::Header { kind, code, checksum: 0, rest }, v6.0, v6.1, body);
    keep_wrong(icmp, Sum::of(message));
    let payload_len = icmpv6::HEADER + length;
    *head = ipv6::Header {
        traffic_class: envelope.class,
        flow_label: 0,
        payload_len: payload_len as u16,
        next_header: ICMPV6,
        hop_limit: envelope.hops,
        source: v6.0,
        destination: v6.1,
    }
    .emit();
    let whole = out.get(..ipv6::HEADER + payload_len).unwrap_or_default();
    pass.forward(Version::V6, vnet::Header::default(), whole, &[]);
    Ok(())
}

/// Translates an ICMPv6 error, `message` being all behind the IP headers, into `out`, behind room for the
/// IPv4 header. With `node`, an extension is to tell that address, where the error can have one
/// (draft-ietf-v6ops-icmpext-xlat-v6only-source §4.2).
pub(crate) fn error4(
    translator: &Translator,
    message: &[u8],
    v6: (Ipv6Addr, Ipv6Addr),
    node: Option<Ipv6Addr>,
    out: &mut [u8; icmpv4::MAX_ERROR],
) -> Result<Written, Reason> {
    let header = icmpv6::Message::parse(message)?.header;
    let Message::Error { kind, code, word } = icmp::to4(header.kind, header.code, header.rest)? else {
        return Err(Reason::IcmpType);
    };
    let has_length = matches!(header.kind, icmpv6::UNREACHABLE | icmpv6::TIME_EXCEEDED);
    let attribute = if has_length { (header.rest >> 24) as usize * 8 } else { 0 };
    let payload = message.get(icmpv6::HEADER..).unwrap_or_default();
    let (datagram, extension) = extension::split(payload, attribute);
    let inner = quote4(translator, datagram)?;
    let structure = match node {
        Some(address) => Structure::with_node(extension, address),
        None => Structure::of(extension),
    };
    let limit = icmpv4::MAX_ERROR.min(translator.config().mtu4.into());
    let room = out.get_mut(ipv4::HEADER..limit).unwrap_or_default();
    let (icmp, body) = room.split_first_chunk_mut::<{ icmpv4::HEADER }>().ok_or(Reason::TooBig)?;
    let (length, units) = structure.write(&inner.quote, 4, body);
    let rest = u32::from(units) << 16
        | match word {
            Word::Unused => 0,
            Word::Pointer(pointer) => u32::from(pointer) << 24,
            Word::Mtu => icmp::mtu4(translator.config(), header.rest, inner.has_fragment_header).into(),
        };
    *icmp = icmpv4::Header { kind, code, checksum: 0, rest }.emit(body.get(..length).unwrap_or_default());
    let pseudo = checksum::pseudo6(v6.0, v6.1, ICMPV6, message.len() as u32);
    keep_wrong(icmp, Sum::of(message).plus(pseudo));
    Ok(Written { length: icmpv4::HEADER + length, source: inner.source, source_via: inner.source_via })
}

/// Makes the checksum as wrong as that of the message whose sum is given, its checksum included.
fn keep_wrong(icmp: &mut [u8; icmpv4::HEADER], sum: Sum) {
    if !sum.is_valid() {
        let right = u16::from_be_bytes([icmp[2], icmp[3]]);
        let [c0, c1] = Sum::ZERO.word(right).plus(sum).value().to_be_bytes();
        (icmp[2], icmp[3]) = (c0, c1);
    }
}

/// Translates the start of an IPv4 packet that an error quotes; also tells its total length. The TTL stays
/// what it was, and nobody minds the header checksum: routers quote what they have made of it. What is behind
/// the packet goes along (RFC 7915 §4.2: opaque bit strings).
fn quote6<'a>(translator: &Translator, bytes: &'a [u8], hairpin: bool) -> Result<(Quote<'a>, u16), Reason> {
    let packet = ipv4::Packet::parse_cut(bytes).map_err(|_| Reason::InnerMalformed)?;
    let ip = &packet.header;
    check_protocol(ip.protocol, ICMPV6).map_err(|_| Reason::InnerProtocol)?;
    // The quoted packet went the other way: its source is the destination of the error.
    let by = if hairpin { By::Pool } else { translator.by(Whose::Ours) };
    let destination = inner_address6(translator, ip.destination, by)?;
    let source = inner_address6(translator, ip.source, translator.by(Whose::Theirs))?;
    let length = usize::from(ip.total_len) - packet.header_len();
    let behind = bytes.get(packet.header_len()..).unwrap_or_default();
    let mut load = Load::quoted(ip.protocol, ip.offset != 0, behind);
    if ip.protocol == ICMPV4 && ip.offset == 0 {
        let pseudo = checksum::pseudo6(source, destination, ICMPV6, length as u32);
        inner_echo(&mut load, |kind| icmp::to6(kind, 0, 0), Sum::ZERO, pseudo)?;
    } else {
        let old = checksum::addresses4(ip.source, ip.destination);
        load.readdress(ip.protocol, old, checksum::addresses6(source, destination));
    }
    let fragment = Fragment { offset: ip.offset, more: ip.more_fragments, id: ip.id.into() };
    let fragment = packet.is_fragment().then(|| fragment.emit(other_number(ip.protocol)));
    let fragment = fragment.as_ref().map_or(&[][..], |fragment| fragment);
    let header = ipv6::Header {
        traffic_class: translator.config().class(ip.tos),
        flow_label: 0,
        payload_len: (length + fragment.len()) as u16,
        next_header: if fragment.is_empty() { other_number(ip.protocol) } else { FRAGMENT },
        hop_limit: ip.ttl,
        source,
        destination,
    };
    Ok((Quote::new([&header.emit(), fragment], load), ip.total_len))
}

struct Inner4<'a> {
    quote: Quote<'a>,
    has_fragment_header: bool,
    source: Ipv4Addr,
    source_via: Via,
}

/// As [`quote6`], for an IPv6 packet.
fn quote4<'a>(translator: &Translator, bytes: &'a [u8]) -> Result<Inner4<'a>, Reason> {
    let packet = ipv6::Packet::parse_cut(bytes).map_err(|_| Reason::InnerMalformed)?;
    let ip = &packet.header;
    let skipped = ext::skip(&packet).map_err(|_| Reason::InnerMalformed)?;
    check_protocol(skipped.protocol, ICMPV4).map_err(|_| Reason::InnerProtocol)?;
    if skipped.fragment.is_some() && ext::is_extension(skipped.protocol) {
        return Err(Reason::InnerProtocol);
    }
    let (source, source_via) = inner_address4(translator, ip.source, Whose::Ours)?;
    let (destination, _) = inner_address4(translator, ip.destination, Whose::Theirs)?;
    let ext_len = packet.payload.len() - skipped.payload.len();
    let length = usize::from(ip.payload_len).checked_sub(ext_len).ok_or(Reason::InnerMalformed)?;
    let total = ipv4::HEADER + length;
    let total_len = u16::try_from(total).map_err(|_| Reason::InnerMalformed)?;
    let fragment = skipped.fragment.unwrap_or(Fragment { offset: 0, more: false, id: 0 });
    let behind = bytes.get(ipv6::HEADER + ext_len..).unwrap_or_default();
    let mut load = Load::quoted(skipped.protocol, fragment.offset != 0, behind);
    if skipped.protocol == ICMPV6 && fragment.offset == 0 {
        let pseudo = checksum::pseudo6(ip.source, ip.destination, ICMPV6, length as u32);
        inner_echo(&mut load, |kind| icmp::to4(kind, 0, 0), pseudo, Sum::ZERO)?;
    } else {
        let old = checksum::addresses6(ip.source, ip.destination);
        load.readdress(skipped.protocol, old, checksum::addresses4(source, destination));
    }
    let header = ipv4::Header {
        tos: translator.config().class(ip.traffic_class),
        total_len,
        id: fragment.id as u16,
        dont_fragment: skipped.fragment.is_none() && total > ALWAYS_FITS,
        more_fragments: fragment.more,
        offset: fragment.offset,
        ttl: ip.hop_limit,
        protocol: other_number(skipped.protocol),
        checksum: 0,
        source,
        destination,
    };
    let mut bytes = [0; ipv4::HEADER];
    header.emit(&[], &mut bytes);
    let quote = Quote::new([&bytes, &[]], load);
    Ok(Inner4 { quote, has_fragment_header: skipped.fragment.is_some(), source, source_via })
}

fn inner_address6(translator: &Translator, address: Ipv4Addr, by: By) -> Result<Ipv6Addr, Reason> {
    let legal = map::legal4(address).and_then(|()| translator.to6(address, by));
    legal.map_err(|_| Reason::InnerAddress)
}

fn inner_address4(
    translator: &Translator,
    address: Ipv6Addr,
    whose: Whose,
) -> Result<(Ipv4Addr, Via), Reason> {
    // The quoted packet went the other way.
    let found = translator.to4(address, translator.by(whose));
    found.and_then(|found| map::legal4(found.0).map(|()| found)).map_err(|_| Reason::InnerAddress)
}

/// An echo request or reply within an error; another error within one ends it (RFC 7915 §4.3, §5.3). That of a
/// first fragment counts the length at hand: the whole one is not known, and nobody verifies a quote.
fn inner_echo(
    load: &mut Load<'_>,
    to: impl FnOnce(u8) -> Result<Message, Reason>,
    old: Sum,
    new: Sum,
) -> Result<(), Reason> {
    match load.kind().map(to) {
        None => Ok(()),
        Some(Ok(Message::Echo(kind))) => {
            load.retype(kind, old, new);
            Ok(())
        }
        Some(Ok(Message::Error { .. }) | Err(_)) => Err(Reason::InnerIcmp),
    }
}

/// The longest header in a quote, in bytes.
const QUOTED_HEADER: usize = ipv6::HEADER + Fragment::HEADER;
/// The longest IPv4 packet without DF (RFC 7915 §5.1), in bytes.
const ALWAYS_FITS: usize = 1260;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A quote of these bytes.
    pub(crate) fn quote(bytes: &[u8]) -> Quote<'_> {
        Quote::new([&[], &[]], Load::quoted(59, false, bytes))
    }

    fn check(sum_of_message: u16, right: u16, expected: u16) {
        let mut icmp = [1, 0, 0, 0, 0, 0, 0, 0];
        icmp[2..4].copy_from_slice(&right.to_be_bytes());
        keep_wrong(&mut icmp, Sum::ZERO.word(sum_of_message));
        assert_eq!(icmp[2..4], expected.to_be_bytes());
    }

    #[test]
    fn a_wrong_checksum_stays_as_wrong() {
        check(0xffff, 0x1234, 0x1234);
        check(0xffff, 0, 0);
        check(1, 0x1234, 0x1235);
        check(0xfffe, 0x1234, 0x1233);
    }
}
