//! Datagrams of one flow put together, so that the device takes them in one write (UDP segmentation
//! offload) and the kernel routes them once. Each keeps its boundaries: the kernel, or a network card,
//! divides them again.

use straddle_wire::checksum::Sum;
use straddle_wire::ip::{UDP, Version};
use straddle_wire::vnet::{Gso, HEADER, Header, NEEDS_CSUM};
use straddle_wire::{ipv4, ipv6, udp};
use straddle_xlat::{Kind, Out};

/// Room for a run, in bytes: the virtio header and the longest IPv4 packet; an IPv6 one is held to that.
const ROOM: usize = HEADER + LONGEST;
/// Longest packet, in bytes.
const LONGEST: usize = 65_535;
/// Datagrams of one run: `UDP_MAX_SEGMENTS` of `linux/udp.h` as it was at first.
const MOST: usize = 64;

/// A datagram that may go with others: whole, without options, and with a checksum that is right or left
/// to the kernel to complete. (Joining would mend one that is wrong.)
pub(super) struct Datagram<'a> {
    side: Version,
    offload: Header,
    /// IP and UDP header.
    header: &'a [u8],
    /// The payload's two parts.
    payload: [&'a [u8]; 2],
}

impl<'a> Datagram<'a> {
    /// What `out` is as such; `verified` when its checksum is known to be right.
    pub(super) fn of(out: &Out<'a>, verified: bool) -> Option<Datagram<'a>> {
        let ip = ip_len(out.side);
        let header = out.head.get(..ip + udp::HEADER)?;
        let plain = match out.side {
            Version::V4 => matches!(header, [0x45, _, _, _, _, _, 0 | 0x40, 0, _, UDP, ..]),
            Version::V6 => matches!(header, [_, _, _, _, _, _, UDP, ..]),
        };
        let length = usize::from(word(header, ip + 4));
        let right = plain
            && out.kind == Kind::Forward
            && out.offload.gso == Gso::None
            && length == out.len() - ip
            && length > udp::HEADER
            && (out.offload.needs_checksum() || checksum_is_right(out, ip, verified));
        let payload = [out.head.get(ip + udp::HEADER..)?, out.payload];
        right.then_some(Datagram { side: out.side, offload: out.offload, header, payload })
    }

    /// Length of the payload, in bytes.
    fn len(&self) -> usize {
        self.payload.iter().map(|part| part.len()).sum()
    }
}

fn checksum_is_right(out: &Out<'_>, ip: usize, verified: bool) -> bool {
    let (Some(header), Some(segment)) = (out.head.get(..ip), out.head.get(ip..)) else { return false };
    if word(segment, 6) == 0 || segment.len() % 2 == 1 {
        return false;
    }
    let length = (segment.len() + out.payload.len()) as u16;
    verified || pseudo(header, length).plus(Sum::of(segment)).plus(Sum::of(out.payload)).is_valid()
}

/// The sum of the pseudo-header that belongs to an IP header; the addresses stand at its end.
fn pseudo(header: &[u8], length: u16) -> Sum {
    let addresses = if header.len() == ipv4::HEADER { 12 } else { 8 };
    Sum::of(header.get(addresses..).unwrap_or_default()).word(UDP.into()).word(length)
}

fn ip_len(side: Version) -> usize {
    match side {
        Version::V4 => ipv4::HEADER,
        Version::V6 => ipv6::HEADER,
    }
}

/// One datagram, or several of one flow that differ in nothing but their payload; all but the last of
/// one size.
pub(super) struct Run {
    bytes: Vec<u8>,
    used: usize,
    side: Version,
    size: usize,
    last: usize,
    count: usize,
}

impl Run {
    pub(super) fn new() -> Run {
        Run { bytes: vec![0; ROOM], used: 0, side: Version::V4, size: 0, last: 0, count: 0 }
    }

    /// How many datagrams it holds.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The network that it goes to.
    pub(super) fn side(&self) -> Version {
        self.side
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.used = 0;
    }

    /// Begins with a datagram, whatever was there before.
    pub(super) fn begin(&mut self, datagram: &Datagram<'_>) {
        self.clear();
        self.side = datagram.side;
        self.size = datagram.len();
        let offload = datagram.offload.emit();
        for part in [&offload[..], datagram.header] {
            self.push(part);
        }
        self.add(datagram);
    }

    /// Whether it holds datagrams of the same addresses and ports.
    pub(super) fn same_flow(&self, datagram: &Datagram<'_>) -> bool {
        let (own, other) = (self.header(), datagram.header);
        let addresses = if self.side == Version::V4 { 12 } else { 8 };
        let ports = ip_len(self.side) + 4;
        self.count > 0
            && self.side == datagram.side
            && own.get(addresses..ports) == other.get(addresses..ports)
    }

    /// Takes one more of the same flow; false, and nothing has changed, where it can't go with these.
    pub(super) fn join(&mut self, datagram: &Datagram<'_>) -> bool {
        let (own, other) = (self.header(), datagram.header);
        // All of the IP header but its length, identification and checksum.
        let same = match self.side {
            Version::V4 => own.get(..2) == other.get(..2) && own.get(6..10) == other.get(6..10),
            Version::V6 => own.get(..4) == other.get(..4) && own.get(6..8) == other.get(6..8),
        };
        let length = datagram.len();
        let fits = self.count < MOST && self.used + length <= ROOM;
        let joined = same && fits && length <= self.size && self.last == self.size;
        if joined {
            self.add(datagram);
        }
        joined
    }

    fn add(&mut self, datagram: &Datagram<'_>) {
        datagram.payload.into_iter().for_each(|part| self.push(part));
        self.last = datagram.len();
        self.count += 1;
    }

    fn push(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.used..self.used + part.len()) {
            room.copy_from_slice(part);
            self.used += part.len();
        }
    }

    fn header(&self) -> &[u8] {
        self.bytes.get(HEADER..HEADER + self.header_len()).unwrap_or_default()
    }

    fn header_len(&self) -> usize {
        ip_len(self.side) + udp::HEADER
    }

    /// What the device takes: a virtio header and a packet, or a super-packet of several datagrams.
    pub(super) fn finish(&mut self) -> &[u8] {
        if self.count > 1 {
            let (size, total) = (self.size as u16, self.used - HEADER);
            let more = Header { gso: Gso::UdpL4, gso_size: size, ..self.partial() };
            if let Some((virtio, packet)) = self.bytes.split_first_chunk_mut() {
                *virtio = more.emit();
                set_length(packet, self.side, total, 0);
            }
        }
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// Each datagram as a packet of its own, for a kernel that does not divide them: virtio header, packet
    /// header, payload.
    pub(super) fn singles(&mut self, mut each: impl FnMut([&[u8]; 3])) {
        let virtio = self.partial().emit();
        let (side, size, header_len) = (self.side, self.size, self.header_len());
        let used = self.bytes.get_mut(HEADER..self.used).unwrap_or_default();
        let Some((header, payloads)) = used.split_at_mut_checked(header_len) else { return };
        for (index, payload) in payloads.chunks(size.max(1)).enumerate() {
            set_length(header, side, header_len + payload.len(), u16::from(index > 0));
            each([&virtio, header, payload]);
        }
    }

    fn partial(&self) -> Header {
        Header {
            flags: NEEDS_CSUM,
            hdr_len: self.header_len() as u16,
            csum_start: ip_len(self.side) as u16,
            csum_offset: 6,
            ..Header::default()
        }
    }
}

/// Makes a header that of a packet of `total` bytes, its UDP checksum begun (`NEEDS_CSUM`), and an IPv4
/// identification larger by `step`, as the kernel numbers the parts of a super-packet.
fn set_length(packet: &mut [u8], side: Version, total: usize, step: u16) {
    let ip = ip_len(side);
    let length = (total - ip) as u16;
    match side {
        Version::V4 => {
            set_word(packet, 2, total as u16);
            set_word(packet, 4, word(packet, 4).wrapping_add(step));
            set_word(packet, 10, 0);
            let sum = Sum::of(packet.get(..ip).unwrap_or_default());
            set_word(packet, 10, sum.checksum());
        }
        Version::V6 => set_word(packet, 4, length),
    }
    set_word(packet, ip + 4, length);
    let begun = pseudo(packet.get(..ip).unwrap_or_default(), length);
    set_word(packet, ip + 6, begun.value());
}

fn word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u16::from_be_bytes(*word))
}

fn set_word(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(word) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *word = value.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use straddle_wire::ip::Packet;

    const IPV4: [u8; 20] = [0x45, 3, 0, 0, 0xff, 0xff, 0x40, 0, 9, UDP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];

    /// Headers and payload of a datagram whose checksum is begun, or complete.
    fn packet(side: Version, port: u16, payload: &[u8], begun: bool) -> (Header, Vec<u8>) {
        let mut bytes = match side {
            Version::V4 => IPV4.to_vec(),
            Version::V6 => [&[0x60, 0, 0, 0, 0, 0, UDP, 9][..], &[0x20; 32]].concat(),
        };
        let ip = bytes.len();
        bytes.extend(port.to_be_bytes());
        bytes.extend([0, 53, 0, 0, 0, 0]);
        bytes.extend(payload);
        let total = bytes.len();
        set_length(&mut bytes, side, total, 0);
        let partial =
            Header { flags: NEEDS_CSUM, csum_start: ip as u16, csum_offset: 6, ..Header::default() };
        if begun {
            return (partial, bytes);
        }
        let sum = Sum::of(&bytes[ip..]).udp_checksum();
        set_word(&mut bytes, ip + 6, sum);
        (Header::default(), bytes)
    }

    fn out(side: Version, offload: Header, bytes: &[u8]) -> Out<'_> {
        let (head, payload) = bytes.split_at(ip_len(side) + udp::HEADER);
        Out { side, kind: Kind::Forward, offload, head, payload }
    }

    #[test]
    fn what_may_go_with_others() {
        let check = |side, begun, at: usize, change: u8, verified, expected: bool| {
            let (offload, mut bytes) = packet(side, 7, b"odd", begun);
            bytes[at] ^= change;
            let found = Datagram::of(&out(side, offload, &bytes), verified).is_some();
            assert_eq!(found, expected, "{side:?}, {begun}, byte {at} ^ {change}, {verified}");
        };
        for side in [Version::V4, Version::V6] {
            for (begun, verified) in [(true, false), (false, false), (false, true)] {
                check(side, begun, 1, 0, verified, true);
            }
            let ip = ip_len(side);
            let protocol = if side == Version::V4 { 9 } else { 6 };
            check(side, true, protocol, 1, true, false);
            check(side, true, ip + 5, 1, true, false);
            check(side, false, ip + 6, 1, false, false);
            check(side, false, ip + 8, 1, false, false);
            check(side, false, ip + 8, 1, true, true);
        }
        check(Version::V4, true, 0, 3, true, false);
        check(Version::V4, true, 6, 0x40, true, true);
        check(Version::V4, true, 6, 0x20, true, false);
        check(Version::V4, true, 7, 1, true, false);
    }

    #[test]
    fn no_checksum_no_payload_and_no_answer_stay_alone() {
        let check = |change: fn(&mut Out<'_>), payload: &[u8], zero: bool| {
            let (offload, mut bytes) = packet(Version::V4, 7, payload, false);
            if zero {
                set_word(&mut bytes, 26, 0);
            }
            let mut out = out(Version::V4, offload, &bytes);
            change(&mut out);
            assert!(Datagram::of(&out, true).is_none());
        };
        check(|_| (), b"", false);
        check(|_| (), b"odd", true);
        check(|out| out.kind = Kind::Reply, b"odd", false);
        check(|out| out.offload.gso = Gso::UdpL4, b"odd", false);
        check(|out| out.head = &out.head[..27], b"odd", false);
    }

    /// Lengths of datagrams, and of those how many go together.
    #[test]
    fn how_many_go_together() {
        let check = |lengths: &[usize], expected: usize| {
            for side in [Version::V4, Version::V6] {
                let mut run = Run::new();
                for (index, length) in lengths.iter().enumerate() {
                    let (offload, bytes) = packet(side, 7, &vec![1; *length], true);
                    let out = out(side, offload, &bytes);
                    let datagram = Datagram::of(&out, false).unwrap();
                    match index {
                        0 => run.begin(&datagram),
                        _ => assert!(run.same_flow(&datagram)),
                    }
                    if index > 0 && !run.join(&datagram) {
                        break;
                    }
                }
                assert_eq!(run.count(), expected, "{side:?}: {lengths:?}");
            }
        };
        check(&[64], 1);
        check(&[64; 3], 3);
        check(&[64, 64, 63, 63], 3);
        check(&[64, 65], 1);
        check(&[64, 1, 64], 2);
        check(&[64; 70], 64);
        check(&[1400; 60], 46);
    }

    #[test]
    fn flows_and_headers_that_differ_do_not_mix() {
        let check = |side, at: usize, same_flow: bool, joins: bool| {
            let (offload, first) = packet(side, 7, b"first", true);
            let mut second = first.clone();
            second[at] ^= 1;
            let mut run = Run::new();
            assert!(!run.same_flow(&Datagram::of(&out(side, offload, &first), true).unwrap()));
            run.begin(&Datagram::of(&out(side, offload, &first), true).unwrap());
            let second = out(side, offload, &second);
            let datagram = Datagram::of(&second, true).unwrap();
            assert_eq!((run.same_flow(&datagram), run.join(&datagram)), (same_flow, joins), "{side:?} {at}");
        };
        // Class, time to live; identification and checksum; addresses, ports; payload.
        for (at, same_flow, joins) in [(1, true, false), (8, true, false), (5, true, true), (11, true, true)]
        {
            check(Version::V4, at, same_flow, joins);
        }
        for (at, same_flow, joins) in [(1, true, false), (3, true, false), (7, true, false), (49, true, true)]
        {
            check(Version::V6, at, same_flow, joins);
        }
        for (side, at) in [(Version::V4, 15), (Version::V4, 19), (Version::V4, 20), (Version::V4, 23)] {
            check(side, at, false, true);
        }
        for (side, at) in [(Version::V6, 8), (Version::V6, 39), (Version::V6, 40), (Version::V6, 43)] {
            check(side, at, false, true);
        }
    }

    /// What is put together and divided again is what it was.
    #[test]
    fn together_and_alone() {
        for (side, ip) in [(Version::V4, 20), (Version::V6, 40)] {
            let parts: [&[u8]; 3] = [b"first", b"other", b"end"];
            let packets = parts.map(|part| packet(side, 7, part, true));
            let mut run = Run::new();
            run.begin(&Datagram::of(&out(side, packets[0].0, &packets[0].1), false).unwrap());
            assert_eq!(
                run.finish(),
                [&packets[0].0.emit()[..], &packets[0].1].concat(),
                "one stays as it was"
            );
            for (offload, bytes) in &packets[1..] {
                assert!(run.join(&Datagram::of(&out(side, *offload, bytes), false).unwrap()));
            }
            let (virtio, whole) = run.finish().split_first_chunk().unwrap();
            let virtio = Header::parse(virtio);
            assert_eq!((virtio.gso, virtio.gso_size, virtio.hdr_len), (Gso::UdpL4, 5, ip as u16 + 8));
            assert_eq!((virtio.flags, virtio.csum_start, virtio.csum_offset), (NEEDS_CSUM, ip as u16, 6));
            let read = Packet::parse(whole).unwrap();
            assert_eq!((read.total_len(), read.protocol()), (ip + 8 + 13, UDP));
            assert_eq!(usize::from(word(whole, ip + 4)), 8 + 13);
            assert_eq!(word(whole, ip + 6), read.pseudo(UDP, 8 + 13).value());
            assert_eq!(&whole[ip + 8..], b"firstotherend");
            if side == Version::V4 {
                assert!(Sum::of(&whole[..20]).is_valid());
            }
            let mut seen = 0;
            run.singles(|[virtio, header, payload]| {
                let (_, mut expected) = packets[seen].clone();
                if side == Version::V4 {
                    set_length(&mut expected, side, ip + 8 + parts[seen].len(), seen as u16);
                }
                assert_eq!([header, payload].concat(), expected);
                assert!(Header::parse(virtio.first_chunk().unwrap()).needs_checksum());
                seen += 1;
            });
            assert_eq!(seen, 3);
        }
    }
}
