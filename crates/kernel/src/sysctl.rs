//! sysctls through `/proc/sys`.

use std::fs;
use std::io;
use std::path::PathBuf;

use straddle_intent::object::SysctlKey;
use straddle_intent::step::Setting;

use crate::Error;

fn path(key: &SysctlKey) -> PathBuf {
    PathBuf::from("/proc/sys").join(key.path())
}

/// Its value without the newline; none where it does not exist.
pub(crate) fn read(key: &SysctlKey) -> Result<Option<String>, Error> {
    match fs::read_to_string(path(key)) {
        Ok(value) => Ok(Some(value.trim_end().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(path(key))(error)),
    }
}

/// Writes it, then whatever else the write changed back to what it was.
pub(crate) fn set(setting: &Setting) -> Result<(), Error> {
    write(&setting.key, &setting.to)?;
    for (key, before) in &setting.disturbed {
        if read(key)?.is_some_and(|value| value != *before) {
            write(key, before)?;
        }
    }
    Ok(())
}

fn write(key: &SysctlKey, value: &str) -> Result<(), Error> {
    fs::write(path(key), value).map_err(Error::file(path(key)))
}
