//! Which queue a packet belongs to.

use straddle_wire::ip::{self, Packet};
use straddle_wire::{field, ipv4, ipv6};

/// A hash of addresses, protocol and, where they can be seen, ports: equal for all packets of one
/// direction of a flow, 0 for what is no IP packet. Fragments have no ports, nor has IPv6 with
/// extension headers.
#[inline]
#[must_use]
pub fn flow_hash(inner: &[u8]) -> u32 {
    let Ok(packet) = Packet::parse_cut(inner) else {
        return 0;
    };
    let addresses = match &packet {
        Packet::V4(v4) => addresses4(&v4.header),
        Packet::V6(v6) => addresses6(&v6.header),
    };
    let protocol = mix(addresses, packet.protocol().into());
    finish(mix(protocol, ports(&packet).unwrap_or(0)))
}

/// Both ports, as they lie side by side.
fn ports(packet: &Packet<'_>) -> Option<u32> {
    let has_ports = matches!(packet.protocol(), ip::TCP | ip::UDP | SCTP | DCCP | UDP_LITE);
    (has_ports && !packet.is_fragment()).then(|| field::get32(packet.payload(), 0))?
}

fn addresses4(header: &ipv4::Header) -> u32 {
    mix(mix(SEED, header.source.to_bits()), header.destination.to_bits())
}

fn addresses6(header: &ipv6::Header) -> u32 {
    let words = [header.source.to_bits(), header.destination.to_bits()];
    words.into_iter().fold(SEED, |hash, bits| {
        let high = mix(mix(hash, (bits >> 96) as u32), (bits >> 64) as u32);
        mix(mix(high, (bits >> 32) as u32), bits as u32)
    })
}

/// One step of a multiplicative hash.
fn mix(hash: u32, word: u32) -> u32 {
    (hash ^ word).wrapping_mul(0x9e37_79b1).rotate_left(15)
}

/// Spreads the high bits downwards, so that any few bits will do to choose a queue.
fn finish(hash: u32) -> u32 {
    let hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash ^ hash >> 13
}

const SEED: u32 = 0x5472_6164;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use std::collections::BTreeSet;

    fn check(a: &[u8], b: &[u8], same: bool) {
        assert_eq!(flow_hash(a) == flow_hash(b), same);
    }

    #[test]
    fn what_counts() {
        for v6 in [false, true] {
            let first = sample::tcp(v6, |_| {}, b"abc");
            check(&first, &sample::tcp(v6, |tcp| tcp.sequence_number = 7, b""), true);
            check(&first, &sample::tcp(v6, |tcp| tcp.source_port = 7, b"abc"), false);
            check(&first, &sample::tcp(v6, |tcp| tcp.destination_port = 7, b"abc"), false);
            check(&first, &sample::udp(v6, b"abc"), false);
            check(&first, &first[..first.len() - 20], true);
        }
        let from = |last| sample::tcp4(|ip| ip.source[3] = last, |_| {}, b"");
        check(&from(1), &from(2), false);
        let fragment = |port| {
            let mut packet = sample::tcp4(|ip| ip.more_fragments = true, |_| {}, &[0; 8]);
            packet[20] = port;
            packet
        };
        check(&fragment(1), &fragment(2), true);
        assert_eq!(flow_hash(b"no packet"), 0);
    }

    #[test]
    fn the_low_bits_spread() {
        let queue = |port| flow_hash(&sample::tcp(false, |tcp| tcp.source_port = port, b"")) % 8;
        let queues: BTreeSet<u32> = (40_000..40_064).map(queue).collect();
        assert_eq!(queues.len(), 8);
    }
}
