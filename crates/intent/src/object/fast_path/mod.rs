mod bytes;
mod ends;
mod tables;

use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use straddle_xlat::Config;

pub use ends::{Client, Ends, OWNER, Peers};
pub use tables::Tables;

/// A program of the kernel's: it translates or carries the plain packets, and leaves the others to whoever serves
/// the device of the translator or carrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FastPath {
    /// The device that it stands at.
    pub dev: String,
    /// Where it stands there.
    #[serde(default, skip_serializing_if = "Hook::is_egress")]
    pub hook: Hook,
    /// What tells programs apart that were told different things: [`digest`] of it.
    pub told: String,
    /// What the program is told. The live kernel does not say it.
    #[serde(skip)]
    pub task: Option<Arc<Task>>,
}

/// Where a program stands at a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// Before what is sent into the device.
    #[default]
    Egress,
    /// Behind what comes in by it: what is a carrier's comes in by this device of the carrier's instead, and what is for
    /// this device of a translator's goes out at once. At the kernel's tcx hook (Linux 6.6).
    #[serde(alias = "ingress")]
    Tcx(String),
    /// The same, by a filter of a `clsact` qdisc.
    Clsact(String),
}

/// What a program does, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Translates, in front of a translator's device.
    Translate(Tables),
    /// Translates behind somebody else's device, and sends what came out.
    Direct(Tables),
    /// Adds outer headers, in front of a carrier's device.
    Encapsulate(Ends),
    /// Takes them off, behind an uplink.
    Decapsulate(Ends),
    /// Takes them off and adds them behind a lender's uplink, and sends what came out: packets from and to this address.
    Lend(Ends, Ipv4Addr),
}

impl FastPath {
    /// What translates so on a device.
    #[must_use]
    pub fn new(dev: &str, config: &Config) -> FastPath {
        FastPath::of(dev, Hook::Egress, Task::Translate(Tables::new(config)))
    }

    /// What translates so behind `uplink`, past the translator's device that `hook` names.
    #[must_use]
    pub fn direct(uplink: &str, hook: Hook, config: &Config) -> FastPath {
        FastPath::of(uplink, hook, Task::Direct(Tables::new(config)))
    }

    /// What encapsulates so on a carrier's device.
    #[must_use]
    pub fn outward(dev: &str, ends: &Ends) -> FastPath {
        FastPath::of(dev, Hook::Egress, Task::Encapsulate(ends.clone()))
    }

    /// What decapsulates so behind `uplink`, for the carrier's device that `hook` names.
    #[must_use]
    pub fn inward(uplink: &str, hook: Hook, ends: &Ends) -> FastPath {
        FastPath::of(uplink, hook, Task::Decapsulate(ends.clone()))
    }

    /// What carries so behind a lender's `uplink`, past the carrier's device that `hook` names.
    #[must_use]
    pub fn lending(uplink: &str, hook: Hook, ends: &Ends, address: Ipv4Addr) -> FastPath {
        FastPath::of(uplink, hook, Task::Lend(ends.clone(), address))
    }

    fn of(dev: &str, hook: Hook, task: Task) -> FastPath {
        FastPath { dev: dev.into(), hook, told: digest(&task), task: Some(Arc::new(task)) }
    }

    /// The device of ours that its packets go into or come from.
    #[must_use]
    pub fn serves(&self) -> &str {
        match &self.hook {
            Hook::Egress => &self.dev,
            Hook::Tcx(into) | Hook::Clsact(into) => into,
        }
    }

    /// Whether both do the same.
    #[must_use]
    pub fn agrees(&self, other: &FastPath) -> bool {
        (&self.dev, &self.hook, &self.told) == (&other.dev, &other.hook, &other.told)
    }
}

impl Hook {
    fn is_egress(&self) -> bool {
        *self == Hook::Egress
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
        assert!(plain.agrees(&FastPath { task: None, ..plain.clone() }));
        assert!(!plain.agrees(&told(Config { mtu6: 1400, ..Config::default() })));
        assert!(!plain.agrees(&told(Config { own4: Some([192, 0, 2, 1].into()), ..Config::default() })));
        assert!(!plain.agrees(&FastPath { dev: "st-b".into(), ..plain.clone() }));
    }

    #[test]
    fn a_carriers_two_programs_are_two() {
        let ends = Ends::example();
        let (out, into) =
            (FastPath::outward("st-a", &ends), FastPath::inward("eth0", Hook::Tcx("st-a".into()), &ends));
        assert_eq!((out.serves(), into.serves()), ("st-a", "st-a"));
        assert_ne!(out.told, into.told);
        let there = FastPath { hook: Hook::Egress, ..into.clone() };
        assert!(!into.agrees(&there));
    }
}
