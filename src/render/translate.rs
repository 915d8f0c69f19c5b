use std::fmt::Write as _;
use std::net::IpAddr;

use anstyle::AnsiColor;
use straddle_wire::ip::{ICMPV4, ICMPV6, Packet, TCP, UDP, Version};
use straddle_wire::{ext, ip};
use straddle_xlat::Kind;

use crate::commands::{End, Sent, Told, Totals, Why};

use super::{bold, coloured, dim, folded};

/// What became of a packet, as a line for people. IPv6 addresses give way where that makes it fit.
pub(crate) fn translate(told: &Told<'_>, page: &mut String) {
    let (word, colour, why) = ending(told.end);
    let seconds = told.since as f64 / 1e6;
    let head = format!("{:>3}  {seconds:>8.6}  ", told.number);
    let mut parts = incoming(told);
    if let Some(why) = why {
        parts.push(Part::text(format!("  {}", why.name())));
    }
    if let Some(first) = told.out.first() {
        parts.push(Part::text("  ->  ".into()));
        parts.extend(outgoing(first, told.out));
    }
    let widest = widest(&parts, COLUMNS.saturating_sub(head.len() + WORD + 2));
    let _ = write!(page, "{head}{}{:width$}  ", coloured(colour, word), "", width = WORD - word.len());
    for part in &parts {
        part.write(widest, page);
    }
    page.push('\n');
}

fn ending(end: End) -> (&'static str, AnsiColor, Option<Why>) {
    match end {
        End::Forward => ("forward", AnsiColor::Green, None),
        End::Reply(why) => ("reply", AnsiColor::Yellow, Some(why)),
        End::Pass(why) => ("pass", AnsiColor::Cyan, Some(why)),
        End::Drop(why) => ("drop", AnsiColor::Red, Some(why)),
    }
}

/// A piece of a line.
struct Part {
    text: String,
    /// Whether its middle may be left out.
    gives: bool,
}

impl Part {
    fn text(text: String) -> Self {
        Self { text, gives: false }
    }

    fn address(address: IpAddr) -> Self {
        Self { text: address.to_string(), gives: address.is_ipv6() }
    }

    /// How many columns it takes where what gives way takes at most `widest`.
    fn columns(&self, widest: usize) -> usize {
        if self.gives { self.text.len().min(widest) } else { self.text.len() }
    }

    fn write(&self, widest: usize, page: &mut String) {
        let columns = self.columns(widest);
        if columns == self.text.len() {
            *page += &self.text;
            return;
        }
        let front = columns / 2;
        let back = self.text.len() - (columns - front - 1);
        *page += self.text.get(..front).unwrap_or_default();
        page.push('…');
        *page += self.text.get(back..).unwrap_or_default();
    }
}

/// The most columns for an address so that all fits into `room`. Where nothing helps, addresses are whole.
fn widest(parts: &[Part], room: usize) -> usize {
    let fits = |widest: &usize| parts.iter().map(|part| part.columns(*widest)).sum::<usize>() <= room;
    (NARROWEST..=WIDEST).rev().find(fits).unwrap_or(WIDEST)
}

fn incoming(told: &Told<'_>) -> Vec<Part> {
    let packet = match told.packet {
        Ok(packet) => packet,
        Err(frame) if (frame.len() as u64) < told.length.into() => {
            return vec![Part::text(format!("{} of {} bytes", frame.len(), told.length))];
        }
        Err(frame) => return vec![Part::text(format!("{} bytes", frame.len()))],
    };
    let Ok(packet) = Packet::parse_cut(packet) else {
        return vec![Part::text(format!("{} bytes", packet.len()))];
    };
    let (from, to) = addresses(&packet);
    vec![Part::address(from), Part::text(" > ".into()), Part::address(to), Part::text(upper(&packet))]
}

fn outgoing(first: &Sent, all: &[Sent]) -> Vec<Part> {
    let side = match first.side {
        Version::V4 => "ipv4 ",
        Version::V6 => "ipv6 ",
    };
    let bytes: usize = all.iter().map(|sent| sent.bytes.len()).sum();
    let count = if all.len() > 1 { format!(" {} packets,", all.len()) } else { String::new() };
    let Ok(packet) = Packet::parse_cut(&first.bytes) else {
        return vec![Part::text(format!("{side}{bytes} bytes"))];
    };
    let (from, to) = addresses(&packet);
    match first.kind {
        Kind::Forward => vec![
            Part::text(side.into()),
            Part::address(from),
            Part::text(" > ".into()),
            Part::address(to),
            Part::text(format!("{count} {bytes} bytes")),
        ],
        // To whoever sent the packet.
        Kind::Reply => vec![Part::text(format!("{side}from ")), Part::address(from)],
    }
}

fn addresses(packet: &Packet<'_>) -> (IpAddr, IpAddr) {
    match packet {
        Packet::V4(packet) => (packet.header.source.into(), packet.header.destination.into()),
        Packet::V6(packet) => (packet.header.source.into(), packet.header.destination.into()),
    }
}

/// Protocol, and the destination port or the type and code.
fn upper(packet: &Packet<'_>) -> String {
    let (protocol, payload, later) = match packet {
        Packet::V4(packet) => (packet.header.protocol, packet.payload, packet.header.offset != 0),
        Packet::V6(packet) => match ext::upper(packet) {
            Ok(upper) => (upper.protocol, upper.payload, upper.is_later_fragment()),
            Err(_) => return " cut short".into(),
        },
    };
    let name = match protocol {
        TCP => "tcp".into(),
        UDP => "udp".into(),
        ICMPV4 => "icmp".into(),
        ICMPV6 => "icmpv6".into(),
        ip::GRE => "gre".into(),
        other => format!("protocol {other}"),
    };
    let first = payload.first_chunk::<4>();
    match (protocol, first) {
        _ if later => format!(" {name} fragment"),
        (TCP | UDP, Some([_, _, high, low])) => format!(" {name} {}", u16::from_be_bytes([*high, *low])),
        (ICMPV4 | ICMPV6, Some([kind, code, ..])) => format!(" {name} {kind}/{code}"),
        (_, _) => format!(" {name}"),
    }
}

/// The same as data: an object on a line of its own.
pub(crate) fn translate_json(told: &Told<'_>, page: &mut String) {
    let (word, _, why) = ending(told.end);
    let _ = write!(page, "{{\"packet\": {}, \"time\": ", told.number);
    let _ = match told.time {
        Some(time) => write!(page, "{time}"),
        None => write!(page, "null"),
    };
    let _ = write!(page, ", \"verdict\": \"{word}\", \"reason\": ");
    let _ = match why {
        Some(why) => write!(page, "\"{}\"", why.name()),
        None => write!(page, "null"),
    };
    *page += ", \"out\": [";
    for (index, sent) in told.out.iter().enumerate() {
        let side = match sent.side {
            Version::V4 => "ipv4",
            Version::V6 => "ipv6",
        };
        let kind = match sent.kind {
            Kind::Forward => "forward",
            Kind::Reply => "reply",
        };
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(page, "{comma}{{\"side\": \"{side}\", \"kind\": \"{kind}\", \"bytes\": \"");
        let digits = sent.bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        page.extend(digits.map(|digit| char::from(digit + if digit < 10 { b'0' } else { b'a' - 10 })));
        *page += "\"}";
    }
    *page += "]}\n";
}

/// What became of all packets, for people.
pub(crate) fn translate_totals(totals: &Totals) -> String {
    let Totals { packets, forward, reply, pass, drop, out, .. } = totals;
    let counts = format!("{forward} forward, {reply} reply, {pass} pass, {drop} drop; {out} came out");
    let what = if *packets == 1 { "packet" } else { "packets" };
    let mut text = format!("\n{} {counts}\n", bold(&format!("{packets} {what}:")));
    for (why, count) in &totals.why {
        let head = format!("{count:>7}  {}: ", why.name());
        text += &folded(&head, 9, why.describe());
    }
    if totals.super_packets > 0 {
        let count = totals.super_packets;
        let note = format!(
            "{count} of those too big were larger than the MTU of the side that they came from: a capture on \
             the host that sent them shows what its network device takes apart. See --mtu4 and --mtu6."
        );
        text += &dim(&folded("", 0, &note));
    }
    text
}

const COLUMNS: usize = 80;
/// Columns of the longest verdict.
const WORD: usize = 7;
/// Columns of the longest address.
const WIDEST: usize = 39;
const NARROWEST: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parts of a line become where there is this much room.
    fn check(addresses: &[&str], rest: &str, room: usize, expected: &str) {
        let mut parts: Vec<Part> =
            addresses.iter().map(|address| Part::address(address.parse().unwrap())).collect();
        parts.push(Part::text(rest.into()));
        let widest = widest(&parts, room);
        let mut line = String::new();
        parts.iter().for_each(|part| part.write(widest, &mut line));
        assert_eq!(line, expected);
    }

    #[test]
    fn addresses_give_way_where_that_helps() {
        let long = "2001:db8:1:2:3:4:5:6789";
        check(&[long], " udp", 27, "2001:db8:1:2:3:4:5:6789 udp");
        check(&[long], " udp", 26, "2001:db8:1:…3:4:5:6789 udp");
        check(&[long], " udp", 16, "2001:d…:6789 udp");
        check(&[long], " udp", 15, "2001:db8:1:2:3:4:5:6789 udp");
        check(&[long, "2001:db8::1"], " udp", 30, "2001:db…:5:67892001:db8::1 udp");
        check(&["255.255.255.254"], " udp", 10, "255.255.255.254 udp");
    }

    fn check_upper(packet: &[u8], expected: &str) {
        assert_eq!(upper(&Packet::parse_cut(packet).unwrap()), expected);
    }

    #[test]
    fn what_is_behind_the_header() {
        let v4 = |offset: u8, protocol: u8, payload: &[u8]| {
            let length = 20 + payload.len() as u8;
            let mut packet = vec![0x45, 0, 0, length, 0, 0, 0, offset, 64, protocol, 0, 0];
            packet.extend([0; 8]);
            packet.extend(payload);
            packet
        };
        check_upper(&v4(0, 17, &[0, 1, 1, 2, 0, 0, 0, 0]), " udp 258");
        check_upper(&v4(0, 6, &[0, 1, 0, 80]), " tcp 80");
        check_upper(&v4(0, 6, &[0, 1, 0]), " tcp");
        check_upper(&v4(0, 1, &[8, 0, 0, 0]), " icmp 8/0");
        check_upper(&v4(1, 17, &[0, 1, 1, 2]), " udp fragment");
        check_upper(&v4(0, 47, &[0, 1, 1, 2]), " gre");
        check_upper(&v4(0, 50, &[0, 1, 1, 2]), " protocol 50");
        let v6 = |next: u8, payload: &[u8]| {
            let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, 64];
            packet.extend([0; 32]);
            packet.extend(payload);
            packet
        };
        check_upper(&v6(58, &[128, 0, 0, 0]), " icmpv6 128/0");
        check_upper(&v6(44, &[17, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 2]), " udp 258");
        check_upper(&v6(44, &[17, 0, 0, 8, 0, 0, 0, 1, 0, 1, 1, 2]), " udp fragment");
        check_upper(&v6(44, &[17, 0, 0]), " cut short");
    }

    #[test]
    fn totals() {
        let why = [(Why::Translator(straddle_xlat::Reason::TooBig), 3)].into();
        let totals = Totals { packets: 3, reply: 3, out: 3, why, super_packets: 2, ..Totals::default() };
        let text = anstream::adapter::strip_str(&translate_totals(&totals)).to_string();
        assert_eq!(
            text,
            "\n3 packets: 0 forward, 3 reply, 0 pass, 0 drop; 3 came out\n      \
             3  too-big: The packet did not fit into the next network and its sender\n         \
             had to be told.\n\
             2 of those too big were larger than the MTU of the side that they came from: a\n\
             capture on the host that sent them shows what its network device takes apart.\n\
             See --mtu4 and --mtu6.\n"
        );
    }
}
