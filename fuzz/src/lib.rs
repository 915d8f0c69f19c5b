//! What the fuzz targets share: the first bytes of an input choose the parameters.

pub mod judge;
pub mod setup;

use straddle_encap::Kind;
use straddle_encap::segment::{MAX_HEADER, Segment};

/// Takes a fixed number of bytes off the front.
#[must_use]
pub fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk().map(|(head, rest)| (*head, rest))
}

/// Any kind of carrier.
#[must_use]
pub fn kind(choice: u8) -> Kind {
    match choice % 4 {
        0 => Kind::Ip6gre { key: None },
        1 => Kind::Ip6gre { key: Some(7) },
        2 => Kind::Ip4ip6,
        _ => Kind::Sit,
    }
}

/// All packets that `next` hands out, each in one piece.
pub fn drain(packet: &[u8], mut next: impl FnMut(&mut [u8; MAX_HEADER]) -> Option<Segment>) -> Vec<Vec<u8>> {
    let mut header = [0; MAX_HEADER];
    std::iter::from_fn(|| {
        let segment = next(&mut header)?;
        Some([&header[..segment.header_len], &packet[segment.payload]].concat())
    })
    .collect()
}
