//! Probes: each asks one question of the world and returns data. Silence is an answer, not an error.

mod counter;
mod download;
mod exchange;
mod neighbour;
mod path_mtu;
mod ping;
mod reach;
mod refusal;
mod requests;
mod throughput;
mod trace;
mod transfer;

pub use counter::counter;
pub use download::{Download, download, download_during};
pub(crate) use download::{Serving, authority};
pub use exchange::{Exchange, Kind, Stream, exchange, exchange_at, stream, stream_at};
pub use neighbour::{Resolution, resolve};
pub use path_mtu::{Answer, fits, knock};
pub use ping::{Ping, ping};
pub use reach::{Reach, Watch};
pub use refusal::refused;
pub use requests::{Requests, requests};
pub use throughput::{Load, Throughput, throughput};
pub use trace::{Hop, trace};
pub use transfer::{datagrams, transfer};

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// An ICMP or ICMPv6 echo request with `payload` zero bytes and a right ICMPv4 checksum (for ICMPv6
/// the kernel overwrites it).
fn echo_request(kind: u8, id: u16, sequence: u16, payload: usize) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.resize(8 + payload, 0);
    let sum = checksum(&message);
    message.splice(2..4, sum.to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::{checksum, echo_request};

    #[test]
    fn checksums_add_up() {
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0x45, 0x00, 0x00]), !0x4500);
        assert_eq!(checksum(&[0xff, 0xff, 0x00, 0x01]), !1);
        assert_eq!(checksum(&echo_request(8, 0x1234, 7, 33)), 0);
    }
}
