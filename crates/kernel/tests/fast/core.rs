//! What the translation core makes of packets, to compare with.

use straddle_wire::ip::Version;
use straddle_wire::vnet;
use straddle_xlat::{State, Translator, Verdict};

/// What the core made of a packet.
pub(crate) struct Core {
    pub(crate) verdict: Verdict,
    pub(crate) outs: Vec<(Version, Vec<u8>)>,
}

impl Core {
    pub(crate) fn of(translator: &Translator, state: &mut State, packet: &[u8]) -> Core {
        let mut outs = Vec::new();
        let none = vnet::Header::default();
        let verdict = translator.translate(state, 0, &none, packet, &mut |out| {
            outs.push((out.side, [out.head, out.payload].concat()));
        });
        Core { verdict, outs }
    }

    /// One packet of the other version came out.
    pub(crate) fn is_plain(&self, packet: &[u8]) -> bool {
        let other = |side: &Version| (*side == Version::V6) == (packet.first().is_some_and(|b| b >> 4 == 4));
        self.verdict == Verdict::Forward
            && self.outs.len() == 1
            && self.outs.iter().all(|(side, _)| other(side))
    }
}

/// Equal byte for byte. An identification each chooses for itself; the header's checksum is right with it.
pub(crate) fn same(expected: &[u8], found: &[u8]) -> bool {
    let chosen = matches!(expected, [0x45, _, _, _, _, _, 0, 0, ..]);
    if !chosen {
        return expected == found;
    }
    let masked = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[4..6].fill(0);
        bytes[10..12].fill(0);
        bytes
    };
    expected.len() == found.len() && masked(expected) == masked(found) && header_is_right(&found[..20])
}

fn header_is_right(header: &[u8]) -> bool {
    let words = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    (sum & 0xffff) + (sum >> 16) == 0xffff
}
