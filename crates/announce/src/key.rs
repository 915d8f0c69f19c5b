//! The key that both ends share, and what is signed with it.

use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of HMAC-SHA256.
pub(crate) const TAG: usize = 32;

/// What stands before a message that goes to the server, and one that goes to the client: as long as each other, so
/// that none begins like the other with a message behind it.
const TO_SERVER: &[u8] = b"straddle endpoint update 1 to server";
const TO_CLIENT: &[u8] = b"straddle endpoint update 1 to client";
/// What a key is told apart by.
const PRINT: &[u8] = b"straddle endpoint update 1 key print";

/// Which way a message goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Toward {
    Server,
    Client,
}

/// A bridge's key, of 32 to 64 bytes, made ready for both directions.
#[derive(Clone)]
pub struct Key {
    to_server: Hmac<Sha256>,
    to_client: Hmac<Sha256>,
    print: Print,
}

/// What a key is told apart by; it may be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Print([u8; 4]);

impl fmt::Display for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A key has fewer or more bytes than are allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyLength {
    /// How many it has.
    pub bytes: usize,
}

impl Key {
    /// Bytes of the shortest key: as strong as the hash.
    pub const SHORTEST: usize = 32;
    /// Bytes of the longest key: the hash's block, beyond which HMAC would hash the key itself.
    pub const LONGEST: usize = 64;

    /// Makes a key of random bytes.
    ///
    /// # Errors
    /// Too few or too many bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyLength> {
        if !(Self::SHORTEST..=Self::LONGEST).contains(&bytes.len()) {
            return Err(KeyLength { bytes: bytes.len() });
        }
        let keyed = keyed(bytes);
        let tag: [u8; TAG] = keyed.clone().chain_update(PRINT).finalize().into_bytes().into();
        let [a, b, c, d, ..] = tag;
        Ok(Self {
            to_server: keyed.clone().chain_update(TO_SERVER),
            to_client: keyed.chain_update(TO_CLIENT),
            print: Print([a, b, c, d]),
        })
    }

    /// Whether two hosts have one key can be seen by this, which may be shown: of 256 random bits it tells 32, and
    /// those only to whoever could guess the others.
    #[must_use]
    pub const fn print(&self) -> Print {
        self.print
    }

    pub(crate) fn sign(&self, toward: Toward, bytes: &[u8]) -> [u8; TAG] {
        self.direction(toward).clone().chain_update(bytes).finalize().into_bytes().into()
    }

    /// Whether `tag` is right; takes as long for each that is wrong.
    pub(crate) fn verifies(&self, toward: Toward, bytes: &[u8], tag: &[u8; TAG]) -> bool {
        self.direction(toward).clone().chain_update(bytes).verify_slice(tag).is_ok()
    }

    const fn direction(&self, toward: Toward) -> &Hmac<Sha256> {
        match toward {
            Toward::Server => &self.to_server,
            Toward::Client => &self.to_client,
        }
    }
}

/// HMAC with a key of at most 64 bytes, which RFC 2104 fills up with zeroes to as many; what is beyond does not count.
pub(crate) fn keyed(bytes: &[u8]) -> Hmac<Sha256> {
    let mut block = [0; Key::LONGEST];
    block.iter_mut().zip(bytes).for_each(|(room, byte)| *room = *byte);
    Hmac::new(&block.into())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key { .. }")
    }
}

impl fmt::Display for KeyLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (Key::SHORTEST, Key::LONGEST);
        write!(f, "a key has {least} to {most} bytes, this one has {}", self.bytes)
    }
}

impl core::error::Error for KeyLength {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let check =
            |bytes: usize, good: bool| assert_eq!(Key::new(&[7; 100][..bytes]).is_ok(), good, "{bytes}");
        check(0, false);
        check(31, false);
        check(32, true);
        check(64, true);
        check(65, false);
    }

    #[test]
    fn a_tag_is_for_one_key_one_direction_and_all_bytes() {
        let key = Key::new(&[7; 32]).unwrap();
        let tag = key.sign(Toward::Server, b"message");
        let check =
            |key: &Key, toward, bytes: &[u8], good| assert_eq!(key.verifies(toward, bytes, &tag), good);
        check(&key, Toward::Server, b"message", true);
        check(&key, Toward::Client, b"message", false);
        check(&key, Toward::Server, b"messagf", false);
        check(&key, Toward::Server, b"messag", false);
        check(&Key::new(&[8; 32]).unwrap(), Toward::Server, b"message", false);
        check(&Key::new(&[7; 33]).unwrap(), Toward::Server, b"message", false);
    }

    #[test]
    fn it_is_not_written_out() {
        assert_eq!(std::format!("{:?}", Key::new(&[7; 32]).unwrap()), "Key { .. }");
    }
}
