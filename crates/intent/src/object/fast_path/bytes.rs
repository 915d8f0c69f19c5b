//! What all programs are told in the same form: numbers as this machine writes them, and networks by their lengths
//! (`bpf/lengths.h`).

use std::collections::BTreeSet;

use ipnet::Ipv6Net;

/// How many lengths of IPv6 there can be.
pub(super) const LENGTHS6: usize = 129;

/// Numbers one behind the other.
#[derive(Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn word(&mut self, number: u32) {
        self.0.extend(number.to_ne_bytes());
    }

    pub(super) fn long(&mut self, number: u64) {
        self.0.extend(number.to_ne_bytes());
    }

    /// `struct address6`.
    pub(super) fn address(&mut self, bits: u128) {
        self.long((bits >> 64) as u64);
        self.long(bits as u64);
    }

    /// An array's elements.
    pub(super) fn array<const N: usize>(self) -> [u8; N] {
        self.0.try_into().unwrap_or([0; N])
    }
}

/// `struct key6`.
pub(super) fn key6(net: &Ipv6Net) -> [u8; 24] {
    let mut key = Bytes::default();
    key.address(net.network().to_bits());
    key.long(net.prefix_len().into());
    key.array()
}

/// How many lengths occur, and which, the longest first.
pub(super) fn lengths<const N: usize>(all: impl Iterator<Item = u8>) -> (usize, [u8; N]) {
    let set: BTreeSet<u8> = all.collect();
    let mut descending = set.iter().rev().copied();
    (set.len(), std::array::from_fn(|_| descending.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_occur_stand_in_order() {
        let check = |all: &[u8], count: usize, expected: [u8; 4]| {
            assert_eq!(lengths(all.iter().copied()), (count, expected));
        };
        check(&[], 0, [0; 4]);
        check(&[24, 32, 0, 24], 3, [32, 24, 0, 0]);
    }
}
