mod tables;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use straddle_xlat::Config;

pub use tables::Tables;

/// A program of the kernel's in front of a translator's device: it translates the plain packets, and leaves the
/// others to whoever serves the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FastPath {
    /// The device.
    pub dev: String,
    /// What tells programs apart that were told different things: [`digest`] of it.
    pub told: String,
    /// What the program is told. The live kernel does not say it.
    #[serde(skip)]
    pub tables: Option<Arc<Tables>>,
}

impl FastPath {
    /// What translates so on a device.
    #[must_use]
    pub fn new(dev: &str, config: &Config) -> FastPath {
        let tables = Tables::new(config);
        FastPath { dev: dev.into(), told: digest(&tables), tables: Some(Arc::new(tables)) }
    }

    /// Whether both do the same.
    #[must_use]
    pub fn agrees(&self, other: &FastPath) -> bool {
        (&self.dev, &self.told) == (&other.dev, &other.told)
    }
}

/// A name for a value, the same for the same value in every process of one build: FNV-1a, 64 bits.
pub fn digest(value: impl Hash) -> String {
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    value.hash(&mut fnv);
    format!("{:016x}", fnv.finish())
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.0 = bytes.iter().fold(self.0, step);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_apart_by_what_they_were_told() {
        let told = |config: Config| FastPath::new("st-a", &config);
        let plain = told(Config::default());
        assert!(plain.agrees(&told(Config::default())));
        assert!(plain.agrees(&FastPath { tables: None, ..plain.clone() }));
        assert!(!plain.agrees(&told(Config { mtu6: 1400, ..Config::default() })));
        assert!(!plain.agrees(&told(Config { own4: Some([192, 0, 2, 1].into()), ..Config::default() })));
        assert!(!plain.agrees(&FastPath { dev: "st-b".into(), ..plain.clone() }));
    }
}
