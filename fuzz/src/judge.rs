//! What must be true of whatever a translator sends; etherparse reads and sums.

use etherparse::checksum::Sum16BitWords;
use etherparse::{Ipv4Header, Ipv4HeaderSlice, Ipv6HeaderSlice};
use straddle_wire::ip::Version;
use straddle_wire::vnet::Gso;
use straddle_xlat::{Kind, Verdict};

use crate::setup::{Outcome, Sent};

/// A packet's parts.
struct Read<'a> {
    /// The sum of the addresses.
    addresses: Sum16BitWords,
    v6: bool,
    protocol: u8,
    /// Offset in bytes and whether more follows, where it is not all of a packet.
    fragment: Option<(usize, bool)>,
    at: usize,
    transport: &'a [u8],
}

/// Holds an outcome against the rules.
///
/// # Panics
/// Where one is broken.
pub fn check(outcome: &Outcome) {
    let kinds: Vec<Kind> = outcome.sent.iter().map(|sent| sent.kind).collect();
    match outcome.verdict {
        Verdict::Forward => assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == Kind::Forward)),
        Verdict::Reply(_) => assert_eq!(kinds, [Kind::Reply]),
        Verdict::Drop(_) | Verdict::Pass(_) => assert_eq!(kinds, []),
    }
    for sent in &outcome.sent {
        whole(outcome, sent);
    }
    if let Verdict::Reply(_) = outcome.verdict {
        assert!(complete(&read(&outcome.sent[0].bytes)), "our own answers are right");
    } else if is_right(outcome) {
        translated(outcome);
    }
}

/// Lengths, header checksums, sizes.
fn whole(outcome: &Outcome, sent: &Sent) {
    let bytes = &sent.bytes;
    let version = match sent.side {
        Version::V4 => {
            let slice = Ipv4HeaderSlice::from_slice(bytes).expect("an IPv4 header");
            let header: Ipv4Header = slice.to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(usize::from(header.total_len), bytes.len());
            assert!(!(header.dont_fragment && header.is_fragmenting_payload()));
            4
        }
        Version::V6 => {
            let header = Ipv6HeaderSlice::from_slice(bytes).expect("an IPv6 header");
            assert_eq!(usize::from(header.payload_length()) + 40, bytes.len());
            assert_eq!(header.flow_label().value(), 0);
            6
        }
    };
    assert_eq!(bytes[0] >> 4, version);
    let mtu = usize::from(if version == 4 { outcome.config.mtu4 } else { outcome.config.mtu6 });
    let read = read(bytes);
    let longest = match sent.offload.gso {
        Gso::None => bytes.len(),
        Gso::TcpV4 | Gso::TcpV6 | Gso::UdpL4 => {
            assert_eq!(sent.offload.gso == Gso::UdpL4, read.protocol == 17);
            assert_eq!(sent.offload.gso == Gso::TcpV6, read.protocol == 6 && version == 6);
            assert!(sent.offload.gso_size > 0 && sent.offload.needs_checksum());
            let header_len = if read.protocol == 17 { 8 } else { usize::from(read.transport[12] >> 4) * 4 };
            bytes.len().min(read.at + header_len + usize::from(sent.offload.gso_size))
        }
        Gso::Udp | Gso::Other(_) => panic!("an offload that nobody asked for"),
    };
    if sent.kind == Kind::Forward {
        assert!(longest <= mtu, "{longest} > {mtu}");
    }
    let limit = if version == 4 { 576 } else { 1280 };
    let echo = matches!(read.transport.first(), Some(0 | 129));
    assert!(sent.kind == Kind::Forward || echo || bytes.len() <= limit);
    if let Some((offset, more)) = read.fragment {
        assert!(!more || read.transport.len().is_multiple_of(8));
        assert!(offset + read.transport.len() <= 65_535);
        assert!(!sent.offload.needs_checksum());
    }
    if sent.offload.needs_checksum() {
        let field = usize::from(sent.offload.csum_start) + usize::from(sent.offload.csum_offset);
        assert!(usize::from(sent.offload.csum_start) >= read.at && field + 2 <= bytes.len());
    }
}

/// Whether the packet came with a right checksum, of which there is one that a translator knows.
fn is_right(outcome: &Outcome) -> bool {
    if outcome.sent.is_empty() {
        return false;
    }
    let read = read(&outcome.packet);
    let own_partial = outcome.offload.needs_checksum() && usize::from(outcome.offload.csum_start) == read.at;
    if read.fragment.is_some_and(|fragment| fragment != (0, false)) || outcome.offload.gso != Gso::None {
        return false;
    }
    if own_partial { is_partial(&read) } else { complete(&read) }
}

/// Right checksums stay right, in one packet or in fragments.
fn translated(outcome: &Outcome) {
    let first = read(&outcome.sent[0].bytes);
    if first.fragment.is_none() {
        assert_eq!(outcome.sent.len(), 1);
        let own = usize::from(outcome.sent[0].offload.csum_start) == first.at;
        let partial = outcome.sent[0].offload.needs_checksum() && own;
        assert!(if partial { is_partial(&first) } else { complete(&first) }, "a checksum became wrong");
        return inner(&first);
    }
    let mut payload = Vec::new();
    for (i, sent) in outcome.sent.iter().enumerate() {
        let part = read(&sent.bytes);
        let more = i + 1 < outcome.sent.len();
        assert_eq!(part.fragment, Some((payload.len(), more)));
        payload.extend(part.transport);
    }
    let all = Read { transport: &payload, fragment: None, ..first };
    assert!(complete(&all), "a checksum became wrong in fragments");
}

/// The packet that an ICMP error quotes has right lengths and a right header checksum.
fn inner(read: &Read<'_>) {
    let error = match (read.v6, read.transport.first()) {
        (false, Some(kind)) => read.protocol == 1 && matches!(kind, 3 | 11 | 12),
        (true, Some(kind)) => read.protocol == 58 && *kind < 128,
        (_, None) => false,
    };
    if !error {
        return;
    }
    let quoted = &read.transport[8..];
    if read.v6 {
        Ipv6HeaderSlice::from_slice(quoted).expect("a quoted IPv6 header");
    } else {
        let header = Ipv4HeaderSlice::from_slice(quoted).expect("a quoted IPv4 header").to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
    }
}

fn read(bytes: &[u8]) -> Read<'_> {
    if bytes[0] >> 4 == 4 {
        let header = Ipv4HeaderSlice::from_slice(bytes).expect("an IPv4 header");
        let offset = usize::from(header.fragments_offset().value()) * 8;
        let fragment = (offset, header.more_fragments());
        let at = header.slice().len();
        return Read {
            addresses: Sum16BitWords::new().add_4bytes(header.source()).add_4bytes(header.destination()),
            v6: false,
            protocol: header.protocol().0,
            fragment: (fragment != (0, false)).then_some(fragment),
            at,
            transport: &bytes[at..usize::from(header.total_len())],
        };
    }
    let header = Ipv6HeaderSlice::from_slice(bytes).expect("an IPv6 header");
    let end = 40 + usize::from(header.payload_length());
    let (mut protocol, mut at, mut fragment) = (header.next_header().0, 40, None);
    while matches!(protocol, 0 | 43 | 44 | 60) && fragment.is_none() {
        let length = if protocol == 44 { 8 } else { (usize::from(bytes[at + 1]) + 1) * 8 };
        if protocol == 44 {
            let word = u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]);
            fragment = Some((usize::from(word & !7), word & 1 != 0));
        }
        (protocol, at) = (bytes[at], at + length);
    }
    Read {
        addresses: Sum16BitWords::new().add_16bytes(header.source()).add_16bytes(header.destination()),
        v6: true,
        protocol,
        fragment,
        at,
        transport: &bytes[at..end],
    }
}

/// Where the checksum field is.
fn field(read: &Read<'_>) -> Option<usize> {
    match read.protocol {
        6 => Some(16),
        17 => Some(6),
        1 | 58 => Some(2),
        _ => None,
    }
}

fn pseudo(read: &Read<'_>, length: usize) -> Sum16BitWords {
    if read.protocol == 1 {
        return Sum16BitWords::new();
    }
    let length = (length as u32).to_be_bytes();
    read.addresses.clone().add_4bytes(length).add_2bytes([0, read.protocol])
}

/// Whether the checksum is there and right.
fn complete(read: &Read<'_>) -> bool {
    let Some(at) = field(read).filter(|at| at + 2 <= read.transport.len()) else {
        return false;
    };
    let mut covered = read.transport;
    if read.protocol == 17 {
        let length = usize::from(u16::from_be_bytes([covered[4], covered[5]]));
        if covered[at..at + 2] == [0, 0] || length < 8 || length > covered.len() {
            return false;
        }
        covered = &covered[..length];
    }
    pseudo(read, covered.len()).add_slice(covered).ones_complement() == 0
}

/// Whether the checksum field holds the sum of the pseudo-header.
fn is_partial(read: &Read<'_>) -> bool {
    let Some(field) = field(read).and_then(|at| read.transport.get(at..at + 2)) else {
        return false;
    };
    let length = u16::from_be_bytes([read.transport[4], read.transport[5]]);
    if read.protocol == 17 && usize::from(length) != read.transport.len() {
        return false;
    }
    let expected = !pseudo(read, read.transport.len()).ones_complement();
    let found = u16::from_ne_bytes([field[0], field[1]]);
    let alike = |sum| if sum == 0xffff { 0 } else { sum };
    alike(found) == alike(expected)
}
