//! The endpoints that other hosts have told, on the disk so that carriers work before they are told again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use crate::{Error, kept};

/// Endpoints, by bridge.
pub type Endpoints = BTreeMap<String, IpAddr>;

/// What the folder remembers; nothing where there is no such file.
///
/// # Errors
/// When the file can't be read, or is none of ours.
pub fn read(dir: &Path) -> Result<Endpoints, Error> {
    kept::read(dir, NAME)
}

/// Puts the file in the place of the one before, as a whole.
///
/// # Errors
/// When it can't be written; the one before is still there then.
pub fn write(dir: &Path, endpoints: &Endpoints) -> Result<(), Error> {
    kept::write(dir, NAME, endpoints)
}

/// Forgets everything that was told.
///
/// # Errors
/// When the file can't be removed.
pub fn forget(dir: &Path) -> Result<(), Error> {
    kept::forget(dir, NAME)
}

const NAME: &str = "endpoints";
