//! One straddle at a time changes a host, and one stays.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// The right to change this host, given back when dropped.
pub struct Turn(File);

impl Turn {
    /// Takes the turn of this name, waiting for whoever has it.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn take(runtime_dir: &Path, name: &str) -> Result<Turn, Error> {
        let (path, mut file) = open(runtime_dir, name)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| Error::file(&path)(errno.into()))?;
        // The number is for whoever asks; on a full disk the lock holds without it.
        let _ = note(&mut file);
        Ok(Turn(file))
    }

    /// Takes the turn of this name and keeps it for long, or says who has it.
    ///
    /// # Errors
    /// When another straddle has it, or who has it can't be written down.
    pub fn hold(runtime_dir: &Path, name: &str) -> Result<Turn, Error> {
        let (path, mut file) = open(runtime_dir, name)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(Error::file(&path))?;
            return Err(Error::Busy(holder.trim().to_string()));
        }
        note(&mut file).map_err(Error::file(&path))?;
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
        let pid = holder.trim().parse();
        pid.map(Some).map_err(|_| Error::Busy("not known".into()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Whoever asks next finds no number that has become somebody else's.
        let _ = self.0.set_len(0);
    }
}

/// Makes a folder that is root's alone: what lies in it is nobody else's to read, nor to lock.
pub(crate) fn folder(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file(path))
}

fn open(runtime_dir: &Path, name: &str) -> Result<(PathBuf, File), Error> {
    folder(runtime_dir)?;
    let path = runtime_dir.join(name);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    file.map_err(Error::file(&path)).map(|file| (path, file))
}

fn note(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}
