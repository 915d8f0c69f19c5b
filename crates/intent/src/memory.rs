//! What the kernel can't tell: how things were before we displaced them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::object::{Displaced, Object, Route, SysctlKey};
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
}

impl Memory {
    /// Whether there is nothing to put back.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.displaced.is_empty() && self.begun.is_empty()
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
            let first = Remembered { before: before.clone(), ours: None };
            self.settings.entry(key.clone()).or_insert(first);
        }
        let first = Remembered { before: setting.from.clone(), ours: None };
        let known = self.settings.entry(setting.key.clone()).or_insert(first);
        if known.before != setting.to {
            known.ours = Some(setting.to.clone());
        }
    }

    fn settle(&mut self, setting: &Setting) {
        if self.settings.get(&setting.key).is_some_and(|known| known.before == setting.to) {
            self.settings.remove(&setting.key);
            // One that we wrote by itself too has a step of its own.
            let alone = |key: &SysctlKey| !setting.disturbed.iter().any(|(disturbed, _)| disturbed == key);
            self.settings.retain(|key, known| known.ours.is_some() || alone(key));
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
