//! One straddle at a time changes a host, and one stays.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// The right to change this host, given back when dropped.
pub struct Turn(#[expect(dead_code, reason = "the lock goes with the file")] File);

impl Turn {
    /// Takes the turn of this name, or says who has it.
    ///
    /// # Errors
    /// When another straddle has it, or the folder can't be written.
    pub fn take(runtime_dir: &Path, name: &str) -> Result<Turn, Error> {
        fs::create_dir_all(runtime_dir).map_err(Error::file(runtime_dir))?;
        let path = runtime_dir.join(name);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(Error::file(&path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(Error::file(&path))?;
            return Err(Error::Busy(holder.trim().to_string()));
        }
        let note = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())
        };
        // The number is for whoever asks; on a full disk the lock holds without it.
        let _ = note(&mut file);
        Ok(Turn(file))
    }

    /// The process that has the turn of this name, if one has.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn holder(runtime_dir: &Path, name: &str) -> Result<Option<i32>, Error> {
        let path = runtime_dir.join(name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(&path)(error)),
        };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(None);
        }
        let mut holder = String::new();
        file.read_to_string(&mut holder).map_err(Error::file(&path))?;
        Ok(holder.trim().parse().ok())
    }
}
