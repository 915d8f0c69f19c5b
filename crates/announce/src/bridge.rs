//! Which bridge a message is about.

use sha2::{Digest as _, Sha256};

/// A bridge in a message: the first 8 bytes of SHA-256 of its name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BridgeId(pub(crate) [u8; 8]);

impl BridgeId {
    /// That of the bridge with this name, which both ends have from the same file.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(name).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one() {
        let check = |name: &str, expected: [u8; 8]| assert_eq!(BridgeId::of(name).0, expected, "{name}");
        // printf home | sha256sum
        check("home", [0x4e, 0xa1, 0x40, 0x58, 0x81, 0x50, 0x77, 0x3c]);
        check("", [0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14]);
    }
}
