//! What both directions share between reading one header and writing the other.

use straddle_wire::checksum::Sum;
use straddle_wire::ext::Fragment;
use straddle_wire::ip::{ICMPV4, ICMPV6};

use crate::load::Load;
use crate::offload::Offload;
use crate::{Config, Reason, TrafficClass};

/// A packet whose IP header is read and not yet written anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    /// DSCP and ECN as they go out.
    pub(crate) class: u8,
    /// TTL or hop limit as it goes out.
    pub(crate) hops: u8,
    /// Of the version that it came in.
    pub(crate) protocol: u8,
    /// What IPv4 says; IPv6 has no such flag.
    pub(crate) dont_fragment: bool,
    /// Identification of an IPv4 packet.
    pub(crate) id: u16,
    /// Which part of a packet it is, where IPv4 or a fragment header says so.
    pub(crate) fragment: Option<Fragment>,
    /// Everything behind the IP headers as it came in.
    pub(crate) bytes: &'a [u8],
    /// The same as it goes out.
    pub(crate) load: Load<'a>,
    pub(crate) offload: Offload,
}

impl Datagram<'_> {
    /// Whether there are other parts of it. An atomic fragment has none (RFC 6946).
    #[inline]
    pub(crate) fn is_partial(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0 || fragment.more)
    }

    /// Refuses fragments that no receiver can put together.
    #[inline]
    pub(crate) fn check_fragment(&self) -> Result<(), Reason> {
        let Some(fragment) = self.fragment else {
            return Ok(());
        };
        if fragment.more && !self.bytes.len().is_multiple_of(UNIT) {
            return Err(Reason::FragmentLength);
        }
        if usize::from(fragment.offset) * UNIT + self.bytes.len() > MAX_PAYLOAD {
            return Err(Reason::FragmentEnd);
        }
        Ok(())
    }

    /// Translates the checksum of TCP and UDP, `old` and `new` being the sums of the addresses.
    #[inline]
    pub(crate) fn readdress(&mut self, old: Sum, new: Sum) {
        match self.offload {
            Offload::None | Offload::Within { .. } => self.load.readdress(self.protocol, old, new),
            Offload::Checksum(at) => self.load.readdress_partial(at, old, new),
            Offload::Super(packet) => {
                let pseudo = new.word(self.protocol.into()).long(self.load.len() as u32);
                self.load.set_partial(packet.field(), pseudo);
            }
        }
    }

    /// Finishes a checksum that was left to somebody else.
    pub(crate) fn complete(&mut self) {
        if let Offload::Checksum(at) = self.offload {
            self.load.complete(self.protocol, at);
            self.offload = Offload::None;
        }
    }

    /// Calls `emit` with each piece of at most `room` bytes: which it is, its bytes in two parts.
    ///
    /// # Errors
    /// [`Reason::TooBig`] where `room` has no place for 8 bytes; [`Reason::OffloadHeader`] where a checksum
    /// within the payload can't be finished.
    pub(crate) fn pieces(
        &mut self,
        room: usize,
        mut emit: impl FnMut(Fragment, &[u8], &[u8]),
    ) -> Result<(), Reason> {
        self.complete();
        if self.offload != Offload::None {
            return Err(Reason::OffloadHeader);
        }
        let whole = Fragment { offset: 0, more: false, id: self.id.into() };
        let fragment = self.fragment.unwrap_or(whole);
        let step = room & !(UNIT - 1);
        let (length, mut start) = (self.load.len(), 0);
        if step == 0 {
            return Err(Reason::TooBig);
        }
        while start < length {
            let last = length - start <= room;
            let end = if last { length } else { start + step };
            let (front, back) = self.load.part(start, end);
            let offset = fragment.offset + (start / UNIT) as u16;
            emit(Fragment { offset, more: !last || fragment.more, ..fragment }, front, back);
            start = end;
        }
        Ok(())
    }
}

impl Config {
    /// DSCP and ECN as they go out (RFC 7915 §4.1, §5.1).
    #[inline]
    pub(crate) fn class(&self, class: u8) -> u8 {
        match self.traffic_class {
            TrafficClass::Copy => class,
            TrafficClass::Fixed(fixed) => fixed,
        }
    }
}

/// Refuses numbers of which the other version makes something else: IPv6 extension headers, each version's
/// own ICMP in the other, IGMP (RFC 7915 §4.2).
#[inline]
pub(crate) fn check_protocol(protocol: u8, other_icmp: u8) -> Result<(), Reason> {
    match protocol {
        _ if protocol == other_icmp => Err(Reason::Protocol),
        IGMP => Err(Reason::Igmp),
        0 | 43 | 44 | 60 => Err(Reason::Protocol),
        _ => Ok(()),
    }
}

/// The number of the same protocol in the other version.
#[inline]
pub(crate) const fn other_number(protocol: u8) -> u8 {
    match protocol {
        ICMPV4 => ICMPV6,
        ICMPV6 => ICMPV4,
        other => other,
    }
}

/// What fragment offsets count in, in bytes.
const UNIT: usize = 8;
/// The longest payload of a reassembled IPv4 packet.
const MAX_PAYLOAD: usize = 65_535 - 20;
const IGMP: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;
    use straddle_wire::ip::{TCP, UDP};

    fn datagram(bytes: &[u8], fragment: Option<Fragment>) -> Datagram<'_> {
        let later = fragment.is_some_and(|fragment| fragment.offset != 0);
        Datagram {
            class: 0,
            hops: 1,
            protocol: UDP,
            dont_fragment: false,
            id: 9,
            fragment,
            bytes,
            load: Load::new(UDP, later, bytes).unwrap(),
            offload: Offload::None,
        }
    }

    /// Offset, M and length of each piece.
    fn check(length: usize, fragment: Option<(u16, bool)>, room: usize, expected: &[(u16, bool, usize)]) {
        let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
        let fragment = fragment.map(|(offset, more)| Fragment { offset, more, id: 9 });
        let (mut pieces, mut sent) = (Vec::new(), Vec::new());
        let outcome = datagram(&bytes, fragment).pieces(room, |fragment, front, back| {
            assert_eq!(fragment.id, 9);
            pieces.push((fragment.offset, fragment.more, front.len() + back.len()));
            sent.extend([front, back].concat());
        });
        assert_eq!(outcome, Ok(()));
        assert_eq!(pieces, expected);
        assert_eq!(sent, bytes);
    }

    #[test]
    fn pieces() {
        check(100, None, 100, &[(0, false, 100)]);
        check(100, None, 99, &[(0, true, 96), (12, false, 4)]);
        check(16, None, 8, &[(0, true, 8), (1, false, 8)]);
        check(20, None, 17, &[(0, true, 16), (2, false, 4)]);
        check(96, Some((5, true)), 64, &[(5, true, 64), (13, true, 32)]);
        check(97, Some((5, false)), 64, &[(5, true, 64), (13, false, 33)]);
        let outcome = datagram(&[0; 9], None).pieces(7, |_, _, _| {});
        assert_eq!(outcome, Err(Reason::TooBig));
    }

    fn check_fragment(length: usize, offset: u16, more: bool, expected: Result<(), Reason>) {
        let bytes = std::vec![7; length];
        assert_eq!(datagram(&bytes, Some(Fragment { offset, more, id: 0 })).check_fragment(), expected);
    }

    #[test]
    fn fragments_that_can_be_put_together() {
        check_fragment(16, 0, true, Ok(()));
        check_fragment(17, 0, true, Err(Reason::FragmentLength));
        check_fragment(17, 1, false, Ok(()));
        check_fragment(3, 8189, false, Ok(()));
        check_fragment(4, 8189, false, Err(Reason::FragmentEnd));
        check_fragment(0, 1, true, Ok(()));
    }

    fn check_numbers(protocol: u8, other_icmp: u8, expected: Result<(), Reason>) {
        assert_eq!(check_protocol(protocol, other_icmp), expected, "{protocol}");
    }

    #[test]
    fn protocols() {
        for (own, other) in [(ICMPV4, ICMPV6), (ICMPV6, ICMPV4)] {
            for protocol in [own, TCP, UDP, 4, 41, 47, 50, 51, 59, 132, 135, 255] {
                check_numbers(protocol, other, Ok(()));
            }
            for protocol in [other, 0, 43, 44, 60] {
                check_numbers(protocol, other, Err(Reason::Protocol));
            }
            check_numbers(2, other, Err(Reason::Igmp));
        }
    }
}
