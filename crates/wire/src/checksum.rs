//! The Internet checksum: RFC 1071, and RFC 1624 for changing one word.

use core::net::{Ipv4Addr, Ipv6Addr};

/// A ones'-complement sum of big-endian 16-bit words, always folded.
///
/// Sums of parts add up to the sum of the whole where every part but the last has an even length.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sum(u16);

impl Sum {
    /// Nothing summed yet.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`, an odd last byte being padded with zero (RFC 1071 §1, §4.1).
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (large, rest) = bytes.as_chunks::<32>();
        let (small, rest) = rest.as_chunks::<4>();
        let total = blocks(large) + words(small) + last(rest);
        // RFC 1071 §2(B): the sum is independent of the byte order that it was taken in.
        Self(u16::from_be(fold(total)))
    }

    /// Adds another sum.
    #[inline]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        self.word(other.0)
    }

    /// Adds one word.
    #[inline]
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        let (sum, carry) = self.0.overflowing_add(word);
        Self(sum + carry as u16)
    }

    /// Adds two words.
    #[inline]
    #[must_use]
    pub const fn long(self, long: u32) -> Self {
        self.word((long >> 16) as u16).word(long as u16)
    }

    /// Takes another sum away.
    #[inline]
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        self.word(!other.0)
    }

    /// The sum itself, as a header awaiting an offloaded checksum carries it.
    #[inline]
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// What goes into a checksum field: the complement of the sum.
    #[inline]
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.0
    }

    /// As [`Sum::checksum`], with 0xffff for zero: a UDP checksum of zero means none (RFC 768).
    #[inline]
    #[must_use]
    pub const fn udp_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            checksum => checksum,
        }
    }

    /// Whether this is the sum of something that contains its own right checksum.
    #[inline]
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 == 0xffff
    }
}

/// The sum of an IPv4 pseudo-header (RFC 9293 §3.1, RFC 768); `length` in bytes.
#[inline]
#[must_use]
pub const fn pseudo4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> Sum {
    addresses4(source, destination).word(protocol as u16).word(length)
}

/// The sum of an IPv6 pseudo-header (RFC 8200 §8.1); `length` of the upper layer in bytes.
#[inline]
#[must_use]
pub const fn pseudo6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u32) -> Sum {
    addresses6(source, destination).word(protocol as u16).long(length)
}

/// A checksum after one word under it changed (RFC 1624 §3, equation 3).
#[inline]
#[must_use]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    Sum(!checksum).word(!old).word(new).checksum()
}

/// The sum of two IPv4 addresses: what a pseudo-header holds that a translation changes.
#[inline]
#[must_use]
pub const fn addresses4(source: Ipv4Addr, destination: Ipv4Addr) -> Sum {
    Sum::ZERO.long(source.to_bits()).long(destination.to_bits())
}

/// The sum of two IPv6 addresses, as [`addresses4`].
#[inline]
#[must_use]
pub const fn addresses6(source: Ipv6Addr, destination: Ipv6Addr) -> Sum {
    address6(source).plus(address6(destination))
}

const fn address6(address: Ipv6Addr) -> Sum {
    let bits = address.to_bits();
    Sum::ZERO.long((bits >> 96) as u32).long((bits >> 64) as u32).long((bits >> 32) as u32).long(bits as u32)
}

/// Unfolded and in native byte order. Two sets of lanes, for the halves of each word, leave room for
/// the carries of 2³² blocks; written so, LLVM makes it 16 bytes a step without carry flags.
#[inline(never)]
fn blocks(blocks: &[[u8; 32]]) -> u64 {
    let (mut low, mut high) = ([0_u64; 4], [0_u64; 4]);
    for block in blocks {
        let words = block.as_chunks::<8>().0;
        for ((low, high), word) in low.iter_mut().zip(&mut high).zip(words) {
            let word = u64::from_ne_bytes(*word);
            *low += word & 0xffff_ffff;
            *high += word >> 32;
        }
    }
    low.iter().sum::<u64>() + high.iter().sum::<u64>()
}

/// Unfolded and in native byte order.
#[inline]
fn words(words: &[[u8; 4]]) -> u64 {
    words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum()
}

/// Up to three bytes, padded with zero; in native byte order.
#[inline]
fn last(bytes: &[u8]) -> u64 {
    let word = match *bytes {
        [a, b, c, ..] => [a, b, c, 0],
        [a, b] => [a, b, 0, 0],
        [a] => [a, 0, 0, 0],
        [] => [0; 4],
    };
    u32::from_ne_bytes(word).into()
}

const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;
    use std::vec;

    /// Word by word, as RFC 1071 §4.1 writes it.
    fn slow(bytes: &[u8]) -> u16 {
        let sum = bytes.chunks(2).fold(0_u64, |sum, pair| {
            let low = pair.get(1).copied().unwrap_or(0);
            sum + u64::from(u16::from_be_bytes([pair[0], low]))
        });
        fold(sum)
    }

    fn check(text: &str, expected: u16) {
        let bytes = hex::bytes(text);
        assert_eq!(Sum::of(&bytes).value(), expected, "{text}");
        assert_eq!(slow(&bytes), expected, "{text}");
    }

    #[test]
    fn sums() {
        check("", 0);
        check("00", 0);
        check("01", 0x0100);
        check("01 02 03", 0x0402);
        check("ff ff", 0xffff);
        check("ff ff ff ff", 0xffff);
        check("ff ff 00 01", 1);
        check("80 00 80 00", 1);
        // RFC 1071 §3
        check("00 01 f2 03 f4 f5 f6 f7", 0xddf2);
    }

    #[test]
    fn every_length_and_alignment() {
        let bytes: vec::Vec<u8> = (0..400_u32).map(|i| (i * 73 + 251) as u8).collect();
        for start in 0..9 {
            for end in start..bytes.len() {
                let part = &bytes[start..end];
                assert_eq!(Sum::of(part).value(), slow(part), "{start}..{end}");
            }
        }
    }

    #[test]
    fn carries_of_a_long_run_are_kept() {
        for length in [65_535, 65_536, 1_000_001] {
            let bytes = vec![0xff; length];
            assert_eq!(Sum::of(&bytes).value(), slow(&bytes), "{length}");
        }
    }

    #[test]
    fn udp_never_says_zero() {
        assert_eq!(Sum::of(&[0xff, 0xff]).checksum(), 0);
        assert_eq!(Sum::of(&[0xff, 0xff]).udp_checksum(), 0xffff);
        assert_eq!(Sum::of(&[0xff, 0xfe]).udp_checksum(), 1);
    }

    fn check_update(before: &str, at: usize, new: u16) {
        let mut bytes = hex::bytes(before);
        let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let checksum = Sum::of(&bytes).checksum();
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
        assert_eq!(update(checksum, old, new), Sum::of(&bytes).checksum());
    }

    #[test]
    fn updates() {
        // RFC 1624 §4: 0x5555 becomes 0x3285 under a checksum of 0xdd2f, and that becomes zero.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
        check_update("12 34 55 55 ab cd", 2, 0x3285);
        check_update("12 34 00 00 ab cd", 2, 0xffff);
        check_update("12 34 ff ff ab cd", 2, 0x0001);
        check_update("00 01 00 00", 2, 0xfffe);
    }

    #[test]
    fn pseudo_headers() {
        let four = |last| Ipv4Addr::new(192, 0, 2, last);
        let bytes = hex::bytes("c0000201 c0000202 0011 0009");
        assert_eq!(pseudo4(four(1), four(2), 17, 9), Sum::of(&bytes));
        let six = |last| Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, last);
        let bytes =
            hex::bytes("20010db8000100020003000400050006 20010db8000100020003000400050007 00012345 0000003a");
        assert_eq!(pseudo6(six(6), six(7), 58, 0x12345), Sum::of(&bytes));
    }
}
