//! What the translator says and hears itself: RFC 7915 §4.4, §5.4.

use straddle_wire::checksum::{self, Sum};
use straddle_wire::ip::{HOP_LIMIT, ICMPV4, ICMPV6, TCP, UDP, Version};
use straddle_wire::{ext, icmpv4, icmpv6, ipv4, ipv6};

use crate::load::Load;
use crate::pass::{End, Pass, Trouble};
use crate::structure::put;
use crate::{Out, Reason, Verdict};

/// Tells the sender of the packet what the trouble is.
pub(crate) fn tell(pass: &mut Pass<'_>, reason: Reason, trouble: Trouble) -> Verdict {
    let sent = match straddle_wire::ip::version(pass.packet) {
        Ok(Version::V4) => tell4(pass, trouble),
        Ok(Version::V6) => tell6(pass, trouble),
        Err(malformed) => Err(malformed.into()),
    };
    match sent {
        Ok(()) => Verdict::Reply(reason),
        Err(silence) => Verdict::Drop(silence),
    }
}

/// RFC 1122 §3.2.2, RFC 1812 §4.3.2. That the addresses are hosts' was seen to before.
fn tell4(pass: &mut Pass<'_>, trouble: Trouble) -> Result<(), Reason> {
    let packet = ipv4::Packet::parse(pass.packet)?;
    let ip = &packet.header;
    if ip.offset != 0 {
        return Err(Reason::ErrorNotWanted);
    }
    if ip.protocol == ICMPV4 && packet.payload.first().is_none_or(|kind| icmpv4::is_error(*kind)) {
        return Err(Reason::ErrorAboutError);
    }
    let (kind, code, rest) = match trouble {
        Trouble::TimeExceeded => (icmpv4::TIME_EXCEEDED, 0, 0),
        Trouble::TooBig(mtu) => (icmpv4::UNREACHABLE, icmpv4::FRAGMENTATION_NEEDED, mtu & 0xffff),
        Trouble::Network => (icmpv4::UNREACHABLE, icmpv4::NETWORK, 0),
        Trouble::SourceRoute => (icmpv4::UNREACHABLE, icmpv4::SOURCE_ROUTE_FAILED, 0),
        Trouble::HeaderField(at) => (icmpv4::PARAMETER_PROBLEM, 0, at << 24),
        Trouble::Prohibited => (icmpv4::UNREACHABLE, icmpv4::PROHIBITED, 0),
        Trouble::Port => (icmpv4::UNREACHABLE, icmpv4::PORT, 0),
        Trouble::Protocol(_) => (icmpv4::UNREACHABLE, icmpv4::PROTOCOL, 0),
    };
    limit(pass)?;
    let quote = pass.packet.get(..ip.total_len.into()).unwrap_or(pass.packet);
    let quote = quote.get(..icmpv4::MAX_ERROR - ipv4::HEADER - icmpv4::HEADER).unwrap_or(quote);
    let message = icmpv4::Header { kind, code, checksum: 0, rest }.emit(quote);
    let source = pass.translator.config().source4();
    let header = icmpv4::error_ip(source, ip.source, message.len() + quote.len());
    let mut head = [0; ipv4::HEADER];
    header.emit(&[], &mut head);
    send(pass, Version::V4, [&head, &message, quote]);
    Ok(())
}

/// RFC 4443 §2.4 (e).
fn tell6(pass: &mut Pass<'_>, trouble: Trouble) -> Result<(), Reason> {
    let packet = ipv6::Packet::parse(pass.packet)?;
    let ip = &packet.header;
    let upper = ext::upper(&packet)?;
    if upper.is_later_fragment() {
        return Err(Reason::ErrorNotWanted);
    }
    if upper.protocol == ICMPV6 && upper.payload.first().is_none_or(|kind| icmpv6::is_error(*kind)) {
        return Err(Reason::ErrorAboutError);
    }
    let (kind, code, rest) = match trouble {
        Trouble::TimeExceeded => (icmpv6::TIME_EXCEEDED, 0, 0),
        Trouble::TooBig(mtu) => (icmpv6::TOO_BIG, 0, mtu.max(ipv6::MIN_MTU)),
        Trouble::Network => (icmpv6::UNREACHABLE, icmpv6::NO_ROUTE, 0),
        Trouble::SourceRoute | Trouble::Prohibited => (icmpv6::UNREACHABLE, icmpv6::PROHIBITED, 0),
        Trouble::HeaderField(at) => (icmpv6::PARAMETER_PROBLEM, 0, at),
        Trouble::Port => (icmpv6::UNREACHABLE, icmpv6::PORT, 0),
        Trouble::Protocol(at) => (icmpv6::PARAMETER_PROBLEM, icmpv6::NEXT_HEADER, at),
    };
    let source = pass.translator.config().source6()?;
    limit(pass)?;
    let length = ipv6::HEADER + usize::from(ip.payload_len);
    let quote = pass.packet.get(..length).unwrap_or(pass.packet);
    let quote = quote.get(..icmpv6::MAX_ERROR - ipv6::HEADER - icmpv6::HEADER).unwrap_or(quote);
    let message = icmpv6::Header { kind, code, checksum: 0, rest };
    let message = icmpv6::emit(&message, source, ip.source, quote);
    let header = icmpv6::error_ip(source, ip.source, message.len() + quote.len());
    send(pass, Version::V6, [&header.emit(), &message, quote]);
    Ok(())
}

fn limit(pass: &mut Pass<'_>) -> Result<(), Reason> {
    pass.state.may_tell(pass.now).then_some(()).ok_or(Reason::ErrorRateLimited)
}

fn send(pass: &mut Pass<'_>, side: Version, parts: [&[u8]; 3]) {
    let mut out = [0; Out::HEAD];
    let mut end = 0;
    for part in parts {
        put(&mut out, &mut end, part);
    }
    pass.reply(side, out.get(..end).unwrap_or_default(), &[]);
}

/// A packet for the translator itself: it answers a ping, and nobody listens to anything else.
pub(crate) fn receive4(pass: &mut Pass<'_>, packet: &ipv4::Packet<'_>) -> Result<(), End> {
    let ip = &packet.header;
    if packet.is_fragment() {
        return Err(Reason::ForUs.into());
    }
    // On its way to somebody else.
    if ipv4::source_route_is_unexpired(packet.options) {
        return Err(End::Tell(Reason::SourceRoute, Trouble::SourceRoute));
    }
    match ip.protocol {
        ICMPV4 => {}
        TCP | UDP => return Err(End::Tell(Reason::PortUnreachable, Trouble::Port)),
        _ => return Err(End::Tell(Reason::ProtocolUnreachable, Trouble::Protocol(0))),
    }
    let reply = echo(packet.payload, icmpv4::ECHO_REQUEST, icmpv4::ECHO_REPLY, Sum::ZERO)?;
    let header = ipv4::Header {
        id: pass.state.identification(),
        dont_fragment: false,
        ttl: HOP_LIMIT,
        total_len: (ipv4::HEADER + reply.len()) as u16,
        source: ip.destination,
        destination: ip.source,
        ..*ip
    };
    let mut head = [0; ipv4::HEADER + Load::HEAD];
    header.emit(&[], &mut head);
    let mut end = ipv4::HEADER;
    put(&mut head, &mut end, reply.head());
    pass.reply(Version::V4, head.get(..end).unwrap_or_default(), reply.rest);
    Err(End::Answered(Reason::EchoReply))
}

/// As [`receive4`].
pub(crate) fn receive6(pass: &mut Pass<'_>, packet: &ipv6::Packet<'_>) -> Result<(), End> {
    let ip = &packet.header;
    let skipped = ext::skip(packet)?;
    // An atomic fragment is whole (RFC 6946).
    if skipped.fragment.is_some_and(|fragment| fragment.more || fragment.offset != 0) {
        return Err(Reason::ForUs.into());
    }
    // On its way to somebody else (RFC 8200 §4.4).
    if let Some(at) = skipped.segments_left_at {
        return Err(End::Tell(Reason::SegmentsLeft, Trouble::HeaderField(at as u32)));
    }
    match skipped.protocol {
        ICMPV6 => {}
        TCP | UDP => return Err(End::Tell(Reason::PortUnreachable, Trouble::Port)),
        _ => {
            let at = skipped.protocol_at as u32;
            return Err(End::Tell(Reason::ProtocolUnreachable, Trouble::Protocol(at)));
        }
    }
    let length = skipped.payload.len();
    let pseudo = checksum::pseudo6(ip.source, ip.destination, ICMPV6, length as u32);
    let reply = echo(skipped.payload, icmpv6::ECHO_REQUEST, icmpv6::ECHO_REPLY, pseudo)?;
    let header = ipv6::Header {
        payload_len: length as u16,
        next_header: ICMPV6,
        hop_limit: HOP_LIMIT,
        flow_label: 0,
        source: ip.destination,
        destination: ip.source,
        ..*ip
    };
    let mut head = [0; ipv6::HEADER + Load::HEAD];
    let mut end = 0;
    put(&mut head, &mut end, &header.emit());
    put(&mut head, &mut end, reply.head());
    pass.reply(Version::V6, head.get(..end).unwrap_or_default(), reply.rest);
    Err(End::Answered(Reason::EchoReply))
}

/// The reply to an echo request whose checksum is right; the pseudo-header's sum is the same both ways.
fn echo(request: &[u8], kind: u8, reply: u8, pseudo: Sum) -> Result<Load<'_>, End> {
    let message = icmpv4::Message::parse(request)?;
    if message.header.kind != kind {
        return Err(Reason::ForUs.into());
    }
    if !Sum::of(request).plus(pseudo).is_valid() {
        return Err(Reason::EchoChecksum.into());
    }
    let mut load = Load::new(ICMPV4, false, request)?;
    load.retype(reply, Sum::ZERO, Sum::ZERO);
    Ok(load)
}
