use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An object as the kernel told it, to be handed back unread: how a displaced object comes back
/// with every attribute, known to us or not. Empty in tests and in files written by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    /// Whether there is nothing to hand back.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&hex)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(deserializer)?;
        let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
        let digits = digits.ok_or_else(|| serde::de::Error::custom("not hexadecimal"))?;
        let byte = |pair: &[u32]| match pair {
            [high, low] => Some((high << 4 | low) as u8),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        bytes.map(Raw).ok_or_else(|| serde::de::Error::custom("an odd number of digits"))
    }
}
