//! What the kernel can't tell: how things were before we displaced them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::object::{Displaced, Object, Route, SysctlKey};
use crate::snapshot::Snapshot;
use crate::step::{Setting, Step};

/// Everything displaced and not yet put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Sysctls that we wrote.
    pub settings: BTreeMap<SysctlKey, Remembered>,
    /// Addresses that we took away, in that order; see [`Memory::absent`].
    pub displaced: Vec<Displaced>,
    /// Devices that are being made: they are ours before they bear our mark.
    #[serde(default)]
    pub begun: BTreeSet<String>,
}

/// A sysctl's value before us, and ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Before us.
    pub before: String,
    /// What we wrote. A value that is neither was written by somebody else, and stays.
    pub ours: Option<String>,
    /// What its witness was when we wrote it first; see [`SysctlKey::witness`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

impl Memory {
    /// Whether there is nothing to put back.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.displaced.is_empty() && self.begun.is_empty()
    }

    /// The keys that tell what is to be put back, and whether it still is, on a host with these devices.
    pub fn sysctls(&self, devices: &[&str]) -> Vec<SysctlKey> {
        let each = self.settings.keys().flat_map(|key| {
            let witness = key.witness();
            [key.clone()].into_iter().chain(key.disturbs(devices)).chain(witness)
        });
        each.collect()
    }

    /// Whether somebody has made a router of the host since we wrote this key: then forwarding is the owner's will.
    pub fn is_overruled(&self, key: &SysctlKey, live: &Snapshot) -> bool {
        let Some(witness) = key.witness() else { return false };
        let then = self.settings.get(key).and_then(|known| known.beside.as_deref());
        // One that is remembered itself is what a write of ours has left that was cut short.
        let ours = self.settings.contains_key(&witness);
        !ours && then == Some("0") && live.sysctls.get(&witness).is_some_and(|now| now == "1")
    }

    /// A step is about to be taken: what it displaces is remembered from here on.
    pub fn doing(&mut self, step: &Step) {
        match step {
            Step::Set(setting) => self.remember(setting),
            Step::Vacate(displaced) => self.displace(displaced),
            Step::Create(Object::Link(link)) => {
                self.begun.insert(link.name.clone());
            }
            Step::Create(_) | Step::Remove(_) | Step::Change { .. } | Step::Reinstate(_) => {}
        }
    }

    /// A step has been taken, as given: what it put back is forgotten, what it displaced is known exactly.
    pub fn done(&mut self, step: &Step) {
        match step {
            Step::Set(setting) => self.settle(setting),
            Step::Vacate(displaced) => self.narrow(displaced),
            Step::Reinstate(displaced) => self.displaced.retain(|known| known.address != displaced.address),
            // The sysctls of a device go with it.
            Step::Create(Object::Link(link)) | Step::Change { to: Object::Link(link), .. } => {
                self.begun.remove(&link.name);
            }
            Step::Remove(Object::Link(link)) => {
                self.begun.remove(&link.name);
                self.settings.retain(|key, _| key.device() != Some(link.name.as_str()));
            }
            Step::Create(_) | Step::Remove(_) | Step::Change { .. } => {}
        }
    }

    fn remember(&mut self, setting: &Setting) {
        for (key, before) in &setting.disturbed {
            let first = Remembered { before: before.clone(), ours: None, beside: None };
            self.settings.entry(key.clone()).or_insert(first);
        }
        let beside = setting.beside.clone();
        let first = Remembered { before: setting.from.clone(), ours: None, beside: beside.clone() };
        let known = self.settings.entry(setting.key.clone()).or_insert(first);
        if known.before != setting.to {
            known.ours = Some(setting.to.clone());
            known.beside = known.beside.take().or(beside);
        }
    }

    fn settle(&mut self, setting: &Setting) {
        // What the write changed beside was put back with it: from here on it is others' again.
        let beside = |key: &SysctlKey| setting.disturbed.iter().any(|(disturbed, _)| disturbed == key);
        self.settings.retain(|key, known| known.ours.is_some() || !beside(key));
        if self.settings.get(&setting.key).is_some_and(|known| known.before == setting.to) {
            self.settings.remove(&setting.key);
        }
    }

    /// An address that somebody put back meanwhile is taken away anew: both memories count.
    fn displace(&mut self, displaced: &Displaced) {
        self.displaced.push(displaced.clone());
    }

    /// The latest memory of the address is exact from here on, and becomes one with the earlier ones.
    fn narrow(&mut self, displaced: &Displaced) {
        if let Some(at) = self.displaced.iter().rposition(|known| known.address == displaced.address) {
            self.displaced.remove(at);
        }
        match self.displaced.iter_mut().find(|known| known.address == displaced.address) {
            Some(known) => *known = known.merged(displaced),
            None => self.displaced.push(displaced.clone()),
        }
    }

    /// What each address takes along when it comes back, the earliest to leave first.
    pub fn absent(&self) -> Vec<Displaced> {
        let mut absent: Vec<Displaced> = Vec::new();
        for displaced in &self.displaced {
            match absent.iter_mut().find(|known| known.address == displaced.address) {
                Some(known) => *known = known.merged(displaced),
                None => absent.push(displaced.clone()),
            }
        }
        // What went with an earlier address comes back with that one.
        for later in (1..absent.len()).rev() {
            let (earlier, rest) = absent.split_at_mut(later);
            let known = |route: &Route| earlier.iter().any(|displaced| displaced.routes.contains(route));
            if let Some(displaced) = rest.first_mut() {
                displaced.routes.retain(|route| !known(route));
            }
        }
        absent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IPv6 forwarding was written when `default` was 0; whether it is overruled where `default` is this by now,
    /// the write having come to its end or not.
    fn check(witness: &str, ended: bool, expected: bool) {
        let all = SysctlKey::ipv6_conf("all", "forwarding");
        let default = SysctlKey::ipv6_conf("default", "forwarding");
        let step = Step::Set(Setting {
            key: all.clone(),
            from: "0".into(),
            to: "1".into(),
            disturbed: vec![(default.clone(), "0".into())],
            beside: Some("0".into()),
        });
        let mut memory = Memory::default();
        memory.doing(&step);
        if ended {
            memory.done(&step);
        }
        let mut live = Snapshot::default();
        live.sysctls.insert(default, witness.into());
        assert_eq!(memory.is_overruled(&all, &live), expected, "{witness}, ended: {ended}");
    }

    #[test]
    fn who_is_overruled() {
        check("0", true, false);
        check("1", true, true);
        check("0", false, false);
        check("1", false, false);
    }

    #[test]
    fn what_is_only_disturbed_is_others_again() {
        let key = SysctlKey::ipv6_conf("all", "forwarding");
        let disturbed = SysctlKey::ipv6_conf("eth1", "forwarding");
        let mut memory = Memory::default();
        let step = Step::Set(Setting {
            key: key.clone(),
            from: "0".into(),
            to: "1".into(),
            disturbed: vec![(disturbed.clone(), "0".into())],
            beside: None,
        });
        memory.doing(&step);
        assert!(memory.settings.contains_key(&disturbed), "as long as the write may be cut short");
        memory.done(&step);
        assert_eq!(memory.settings.keys().collect::<Vec<_>>(), [&key]);
    }
}
