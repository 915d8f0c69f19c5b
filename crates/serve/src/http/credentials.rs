//! User and key: compared in a time that tells nothing of them.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::Error;
use crate::random::random;

/// A tunnel's key, as clients send it.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// This text.
    #[must_use]
    pub fn new(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret { .. }")
    }
}

/// What stands for credentials: their HMAC under a key that nobody outside knows. Of how alike two tags are nobody
/// outside can learn anything about the credentials, so that tags may be looked up.
pub(super) type Tag = [u8; 32];

/// Makes tags.
pub(super) struct Tagger(Hmac<Sha256>);

impl Tagger {
    /// With a key of this process.
    pub(super) fn new() -> Result<Tagger, Error> {
        let mut block = [0; 64];
        block.iter_mut().zip(random::<32>()?).for_each(|(room, byte)| *room = byte);
        Ok(Tagger(Hmac::new(&block.into())))
    }

    /// Of what a client sent: `user:key` (RFC 7617 §2).
    pub(super) fn of_sent(&self, user_and_key: &[u8]) -> Tag {
        self.0.clone().chain_update(user_and_key).finalize().into_bytes().into()
    }

    /// Of what is expected.
    pub(super) fn of_expected(&self, user: &str, key: &Secret) -> Tag {
        self.of_sent(format!("{user}:{}", key.0).as_bytes())
    }

    /// Whether what a client sent has this tag; takes as long for each that has another.
    pub(super) fn verifies(&self, user_and_key: &[u8], tag: &Tag) -> bool {
        self.0.clone().chain_update(user_and_key).verify_slice(tag).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        let tagger = Tagger::new().unwrap();
        let tag = tagger.of_expected("user", &Secret::new("key".into()));
        let check = |sent: &str, expected: bool| {
            assert_eq!(tagger.verifies(sent.as_bytes(), &tag), expected, "{sent}");
            assert_eq!(tagger.of_sent(sent.as_bytes()) == tag, expected, "{sent}");
        };
        check("user:key", true);
        check("user:ke", false);
        check("user:key ", false);
        check("User:key", false);
        check("userkey:", false);
        check("", false);
        let other = Tagger::new().unwrap();
        assert_ne!(other.of_sent(b"user:key"), tag);
        assert_eq!(format!("{:?}", Secret::new("key".into())), "Secret { .. }");
    }
}
