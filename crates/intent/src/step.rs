//! One change to the kernel, with its total inverse.

use serde::{Deserialize, Serialize};

use crate::object::{Displaced, Object, SysctlKey};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Makes an object that is not there.
    Create(Object),
    /// Deletes an object of ours.
    Remove(Object),
    /// Turns an object of ours into another with the same key.
    Change {
        /// As it is.
        from: Object,
        /// As it shall be.
        to: Object,
    },
    /// Writes a sysctl.
    Set(Setting),
    /// Takes an address from its device.
    Vacate(Displaced),
    /// Puts it back, with all that had gone with it.
    Reinstate(Displaced),
}

/// The writing of a sysctl.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Which.
    pub key: SysctlKey,
    /// Its value before.
    pub from: String,
    /// Its value after.
    pub to: String,
    /// Other keys that the write changes, with their values before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disturbed: Vec<(SysctlKey, String)>,
    /// The value of its witness then; see [`SysctlKey::witness`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

impl Step {
    /// The step that takes this one back.
    #[must_use]
    pub fn inverse(&self) -> Step {
        match self {
            Step::Create(object) => Step::Remove(object.clone()),
            Step::Remove(object) => Step::Create(object.clone()),
            Step::Change { from, to } => Step::Change { from: to.clone(), to: from.clone() },
            Step::Set(setting) => Step::Set(Setting {
                key: setting.key.clone(),
                from: setting.to.clone(),
                to: setting.from.clone(),
                disturbed: setting.disturbed.clone(),
                beside: setting.beside.clone(),
            }),
            Step::Vacate(displaced) => Step::Reinstate(displaced.clone()),
            Step::Reinstate(displaced) => Step::Vacate(displaced.clone()),
        }
    }
}
