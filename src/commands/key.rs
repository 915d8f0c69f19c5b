use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use straddle_serve::update::new_key;

use crate::cli::Exit;
use crate::complaint::Complaint;
use crate::say;

use super::Ended;

/// Makes a key. A file that is there already is never written over: two hosts may depend on it.
pub(crate) fn key(file: Option<&Path>) -> Ended {
    let key = new_key().map_err(|error| Complaint::Other {
        message: format!("no key can be made: {error}"),
        help: "the kernel has no random bytes to give; try again".into(),
    })?;
    let Some(path) = file else {
        say::result(&format!("{}\n", key.trim_end()))?;
        return Ok(Exit::Done);
    };
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", key.trim_end())?;
        file.sync_all()
    };
    write().map_err(|error| Complaint::Other {
        message: format!("{}: {error}", path.display()),
        help: "name a file that does not exist yet, in a folder that does".into(),
    })?;
    say::line(&format!("wrote {}: copy it to the other host, mode 0600", path.display()));
    Ok(Exit::Done)
}
