//! What is behind the IP header, and its checksum: RFC 7915 §4.5, §5.5.

use straddle_wire::checksum::{self, Sum};
use straddle_wire::ip::{DCCP, ICMPV4, ICMPV6, TCP, UDP, UDP_LITE};
use straddle_wire::{field, icmpv4, tcp, udp};

use crate::Reason;

/// The bytes behind the IP header: a copy of those at the start that translation may change, and the
/// others where they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    head: [u8; tcp::HEADER],
    head_len: usize,
    pub(crate) rest: &'a [u8],
}

impl<'a> Load<'a> {
    /// The longest head, in bytes: a TCP header without options.
    pub(crate) const HEAD: usize = tcp::HEADER;

    /// Takes off the front what may have to be changed: none of a later fragment.
    ///
    /// # Errors
    /// [`Reason::TransportCut`] where the bytes end before that.
    #[inline]
    pub(crate) fn new(protocol: u8, later_fragment: bool, bytes: &'a [u8]) -> Result<Self, Reason> {
        let wanted = if later_fragment { 0 } else { head_len(protocol) };
        let load = Self::cut(wanted, bytes);
        if load.head_len < wanted { Err(Reason::TransportCut) } else { Ok(load) }
    }

    /// As [`Load::new`] for the first bytes of a packet, as an ICMP error quotes it: there may be less.
    pub(crate) fn quoted(protocol: u8, later_fragment: bool, bytes: &'a [u8]) -> Self {
        Self::cut(if later_fragment { 0 } else { head_len(protocol) }, bytes)
    }

    #[inline]
    fn cut(wanted: usize, bytes: &'a [u8]) -> Self {
        let (front, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
        let mut head = [0; Self::HEAD];
        if let Some(to) = head.get_mut(..front.len()) {
            to.copy_from_slice(front);
        }
        Self { head, head_len: front.len(), rest }
    }

    /// The changed bytes.
    #[inline]
    pub(crate) fn head(&self) -> &[u8] {
        self.head.get(..self.head_len).unwrap_or_default()
    }

    /// In bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.head_len + self.rest.len()
    }

    /// Bytes from `start` to `end` of the whole, in two parts.
    #[inline]
    pub(crate) fn part(&self, start: usize, end: usize) -> (&[u8], &'a [u8]) {
        let split = self.head_len;
        let front = self.head().get(start.min(split)..end.min(split)).unwrap_or_default();
        let back = self.rest.get(start.saturating_sub(split)..end.saturating_sub(split)).unwrap_or_default();
        (front, back)
    }

    /// The first byte: an ICMP type.
    #[inline]
    pub(crate) fn kind(&self) -> Option<u8> {
        self.head().first().copied()
    }

    /// The sum of all bytes.
    fn sum(&self) -> Sum {
        // The head's length is even, so that the parts add up.
        Sum::of(self.head()).plus(Sum::of(self.rest))
    }

    fn checksum(&self, at: usize) -> Option<u16> {
        field::get16(self.head(), at)
    }

    fn set(&mut self, at: usize, checksum: u16) {
        field::set16(&mut self.head, at, checksum);
    }

    /// The checksum of TCP, UDP, DCCP (RFC 4340 §9.1) or UDP-Lite (RFC 3828 §3.1) after the addresses changed whose sums are given (RFC 1624). A wrong one
    /// stays wrong; a UDP checksum of zero, which is none, stays zero.
    #[inline]
    pub(crate) fn readdress(&mut self, protocol: u8, old: Sum, new: Sum) {
        match protocol {
            TCP => {
                if let Some(checksum) = self.checksum(tcp::at::CHECKSUM) {
                    self.set(tcp::at::CHECKSUM, checksum::update(checksum, old.value(), new.value()));
                }
            }
            UDP => {
                if let Some(checksum) = self.checksum(udp::at::CHECKSUM).filter(|checksum| *checksum != 0) {
                    let checksum = checksum::update(checksum, old.value(), new.value());
                    self.set(udp::at::CHECKSUM, if checksum == 0 { 0xffff } else { checksum });
                }
            }
            DCCP | UDP_LITE => {
                if let Some(checksum) = self.checksum(udp::at::CHECKSUM) {
                    let checksum = checksum::update(checksum, old.value(), new.value());
                    let never_zero = checksum == 0 && protocol == UDP_LITE;
                    self.set(udp::at::CHECKSUM, if never_zero { 0xffff } else { checksum });
                }
            }
            _ => {}
        }
    }

    /// As [`Load::readdress`] for a field that holds the sum of the pseudo-header, not its complement.
    pub(crate) fn readdress_partial(&mut self, at: usize, old: Sum, new: Sum) {
        if let Some(sum) = self.checksum(at) {
            self.set(at, !checksum::update(!sum, old.value(), new.value()));
        }
    }

    /// Puts the sum of the pseudo-header into the field.
    pub(crate) fn set_partial(&mut self, at: usize, pseudo: Sum) {
        self.set(at, pseudo.value());
    }

    /// Finishes a checksum whose field holds the sum of the pseudo-header.
    pub(crate) fn complete(&mut self, protocol: u8, at: usize) {
        let sum = self.sum();
        self.set(at, if protocol == UDP { sum.udp_checksum() } else { sum.checksum() });
    }

    /// Another ICMP type, and the checksum with it, which also takes leave of the sum `old` and takes in
    /// `new`: of pseudo-headers, which ICMPv6 has (RFC 7915 §4.2, §5.2).
    #[inline]
    pub(crate) fn retype(&mut self, kind: u8, old: Sum, new: Sum) {
        let Some(before) = self.checksum(icmpv4::at::KIND) else {
            return;
        };
        field::set8(&mut self.head, icmpv4::at::KIND, kind);
        if let Some((checksum, after)) =
            self.checksum(icmpv4::at::CHECKSUM).zip(self.checksum(icmpv4::at::KIND))
        {
            let (old, new) = (old.word(before), new.word(after));
            self.set(icmpv4::at::CHECKSUM, checksum::update(checksum, old.value(), new.value()));
        }
    }

    /// Whether this is a UDP header without checksum.
    #[inline]
    pub(crate) fn has_no_udp_checksum(&self) -> bool {
        self.head_len == udp::HEADER && self.checksum(udp::at::CHECKSUM) == Some(0)
    }

    /// Gives a UDP datagram a checksum; `pseudo` is the sum of its pseudo-header without the length.
    ///
    /// # Errors
    /// [`Reason::UdpLength`] where the datagram's length is not within the bytes.
    pub(crate) fn compute_udp_checksum(&mut self, pseudo: Sum) -> Result<(), Reason> {
        let length = self.checksum(udp::at::LENGTH).unwrap_or(0);
        let payload = usize::from(length).checked_sub(udp::HEADER).and_then(|length| self.rest.get(..length));
        let sum = Sum::of(payload.ok_or(Reason::UdpLength)?).plus(Sum::of(self.head()));
        self.set(udp::at::CHECKSUM, sum.plus(pseudo).word(length).udp_checksum());
        Ok(())
    }

    /// One datagram out of a UDP super-packet: `payload` behind a header of its own, whose checksum is
    /// complete. `pseudo` as in [`Load::compute_udp_checksum`].
    pub(crate) fn datagram(&self, payload: &'a [u8], pseudo: Sum) -> Self {
        let mut datagram = Self { rest: payload, ..*self };
        let length = (udp::HEADER + payload.len()) as u16;
        field::set16(&mut datagram.head, udp::at::LENGTH, length);
        datagram.set(udp::at::CHECKSUM, 0);
        let sum = datagram.sum().plus(pseudo).word(length);
        datagram.set(udp::at::CHECKSUM, sum.udp_checksum());
        datagram
    }
}

/// How many bytes translation may change.
#[inline]
const fn head_len(protocol: u8) -> usize {
    match protocol {
        TCP => tcp::HEADER,
        // DCCP and UDP-Lite have their checksum where UDP has it, over the same pseudo-header.
        UDP | DCCP | UDP_LITE => udp::HEADER,
        ICMPV4 | ICMPV6 => icmpv4::HEADER,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const OLD: Sum = Sum::ZERO;

    fn check_cut(protocol: u8, later: bool, length: usize, head: Result<usize, Reason>) {
        let bytes = std::vec![7; length];
        let outcome = Load::new(protocol, later, &bytes).map(|load| {
            assert_eq!(load.len(), length);
            load.head().len()
        });
        assert_eq!(outcome, head, "{protocol}, {length}");
    }

    #[test]
    fn what_may_change_is_copied() {
        check_cut(TCP, false, 100, Ok(20));
        check_cut(TCP, false, 20, Ok(20));
        check_cut(TCP, false, 19, Err(Reason::TransportCut));
        check_cut(TCP, true, 19, Ok(0));
        check_cut(UDP, false, 8, Ok(8));
        check_cut(UDP, false, 7, Err(Reason::TransportCut));
        check_cut(ICMPV4, false, 7, Err(Reason::TransportCut));
        check_cut(47, false, 0, Ok(0));
        check_cut(UDP, true, 1, Ok(0));
    }

    #[test]
    fn parts() {
        let bytes: Vec<u8> = (0..30).collect();
        let load = Load::new(TCP, false, &bytes).unwrap();
        for (start, end) in [(0, 30), (0, 8), (8, 24), (16, 20), (20, 30), (24, 30), (30, 30)] {
            let (front, back) = load.part(start, end);
            assert_eq!([front, back].concat(), &bytes[start..end]);
        }
    }

    /// The checksum of a packet of `length` bytes before and after 0x1234 came into the pseudo-header.
    fn check(protocol: u8, length: usize, at: usize, before: u16, after: u16) {
        let mut bytes = std::vec![0; length];
        field::set16(&mut bytes, at, before);
        let mut load = Load::quoted(protocol, false, &bytes);
        load.readdress(protocol, OLD, OLD.word(0x1234));
        let (front, back) = load.part(0, length);
        let bytes = [front, back].concat();
        assert_eq!(field::get16(&bytes, at), Some(after), "{protocol}");
    }

    #[test]
    fn checksums_follow_the_addresses() {
        check(TCP, 40, 16, 0x5555, 0x4321);
        check(TCP, 40, 16, 0x1234, 0);
        check(TCP, 18, 16, 0x5555, 0x4321);
        check(UDP, 8, 6, 0x5555, 0x4321);
        check(UDP, 8, 6, 0x1234, 0xffff);
        check(UDP, 8, 6, 0, 0);
        check(UDP, 8, 6, 0xffff, 0xedcb);
        check(DCCP, 12, 6, 0x5555, 0x4321);
        check(DCCP, 12, 6, 0x1234, 0);
        check(UDP_LITE, 12, 6, 0x1234, 0xffff);
        check(132, 12, 6, 0x5555, 0x5555);
    }

    #[test]
    fn what_is_cut_off_is_not_missed() {
        for length in 0..18 {
            let bytes = std::vec![7; length];
            let mut load = Load::quoted(TCP, false, &bytes);
            load.readdress(TCP, OLD, OLD.word(0x1234));
            assert_eq!(load.head(), bytes);
        }
        for length in 0..4 {
            let bytes = std::vec![8; length];
            let mut load = Load::quoted(ICMPV4, false, &bytes);
            load.retype(128, OLD, OLD.word(1));
            assert_eq!(load.len(), length);
        }
    }

    #[test]
    fn a_checksum_of_udp_is_computed() {
        let bytes = [0, 7, 0, 53, 0, 11, 0, 0, 1, 2, 3, 99];
        let mut load = Load::new(UDP, false, &bytes).unwrap();
        assert!(load.has_no_udp_checksum());
        assert_eq!(load.compute_udp_checksum(OLD), Ok(()));
        let (front, back) = load.part(0, 11);
        let sum = Sum::of(front).plus(Sum::of(back)).word(11);
        assert!(sum.is_valid() && !load.has_no_udp_checksum());
        for length in [0, 7, 13] {
            let bytes = [0, 7, 0, 53, 0, length, 0, 0, 1, 2, 3, 99];
            let mut load = Load::new(UDP, false, &bytes).unwrap();
            assert_eq!(load.compute_udp_checksum(OLD), Err(Reason::UdpLength));
        }
    }
}
