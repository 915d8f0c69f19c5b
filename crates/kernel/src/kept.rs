//! Small files of the state folder, each a value as JSON.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// What the file of this name holds; nothing where there is none.
pub(crate) fn read<T: DeserializeOwned + Default>(dir: &Path, name: &str) -> Result<T, Error> {
    let path = dir.join(name);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(Error::file(path)(error)),
    };
    serde_json::from_str(&text).map_err(|error| Error::file(path)(error.into()))
}

/// Puts the file in the place of the one before, as a whole.
pub(crate) fn write<T: Serialize>(dir: &Path, name: &str, value: &T) -> Result<(), Error> {
    crate::turn::folder(dir)?;
    let (path, fresh) = (dir.join(name), dir.join(format!("{name}.new")));
    let save = || -> std::io::Result<()> {
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(dir)?.sync_all()
    };
    save().map_err(Error::file(&path))
}

/// Removes the file.
pub(crate) fn forget(dir: &Path, name: &str) -> Result<(), Error> {
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
