//! The endpoints that other hosts have told, on the disk so that carriers work before they are told again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::net::IpAddr;
use std::path::Path;

use crate::Error;

/// Endpoints, by bridge.
pub type Endpoints = BTreeMap<String, IpAddr>;

/// What the folder remembers; nothing where there is no such file.
///
/// # Errors
/// When the file can't be read, or is none of ours.
pub fn read(dir: &Path) -> Result<Endpoints, Error> {
    let path = dir.join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Endpoints::new()),
        Err(error) => return Err(Error::file(path)(error)),
    };
    serde_json::from_str(&text).map_err(|error| Error::file(path)(error.into()))
}

/// Puts the file in the place of the one before, as a whole.
///
/// # Errors
/// When it can't be written; the one before is still there then.
pub fn write(dir: &Path, endpoints: &Endpoints) -> Result<(), Error> {
    crate::turn::folder(dir)?;
    let (path, fresh) = (dir.join(NAME), dir.join("endpoints.new"));
    let save = || -> std::io::Result<()> {
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(endpoints)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(dir)?.sync_all()
    };
    save().map_err(Error::file(&path))
}

/// Forgets everything that was told.
///
/// # Errors
/// When the file can't be removed.
pub fn forget(dir: &Path) -> Result<(), Error> {
    let path = dir.join(NAME);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

const NAME: &str = "endpoints";
