//! Outer packets of carriers.

use std::net::IpAddr;

use straddle_encap::Kind;

/// The outer header that the kernel writes before what a raw socket of ours sends.
pub(crate) fn outer(from: IpAddr, to: IpAddr, kind: Kind, class: u8, length: usize) -> Vec<u8> {
    let (protocol, length) = (kind.protocol(), length as u16);
    match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut bytes =
                vec![0x60 | class >> 4, class << 4, 0, 0, (length >> 8) as u8, length as u8, protocol, 64];
            bytes.extend([from.octets(), to.octets()].concat());
            bytes
        }
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (length + 20).to_be_bytes();
            let mut bytes = vec![0x45, class, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
            bytes.extend([from.octets(), to.octets()].concat());
            let sum: u32 = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            let checksum = !(((folded & 0xffff) + (folded >> 16)) as u16);
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            bytes
        }
        _ => unreachable!("both ends are of one version"),
    }
}
