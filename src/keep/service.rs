//! The running straddle's socket: whoever connects gets its counters.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::complaint::Complaint;

/// How long the other end of the socket may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a running straddle tells.
#[derive(Serialize, Deserialize)]
pub(crate) struct Service {
    /// Its process.
    pub(crate) pid: u32,
    /// The counters of each bridge.
    pub(crate) counters: Vec<Value>,
    /// What was told and heard of endpoints that change.
    pub(crate) updates: Vec<Value>,
    /// What neighbours have asked for, where a process answers them.
    #[serde(default)]
    pub(crate) neighbours: Option<Value>,
    /// Seconds that what goes through its relays has left at most once it is told to end.
    #[serde(default)]
    pub(crate) drains: u64,
}

/// The listening end; its file goes when it is dropped.
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Whoever calls has the lock, so a socket that is there is a dead straddle's.
    pub(super) fn open(runtime_dir: &Path) -> Result<Door, Complaint> {
        let path = runtime_dir.join("socket");
        let open = || -> std::io::Result<UnixListener> {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let listener = UnixListener::bind(&path)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = open().map_err(|error| Complaint::Other {
            message: format!("{}: {error}", path.display()),
            help: "give a folder that can be written: --runtime-dir DIR".into(),
        })?;
        Ok(Door { listener, path })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Answers whoever has connected. One that doesn't listen to the answer has gone without it.
    pub(super) fn answer(&self, service: &Service) {
        while let Ok((stream, _)) = self.listener.accept() {
            let _ = tell(&stream, service);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn tell(mut stream: &UnixStream, service: &Service) -> std::io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&serde_json::to_vec(service)?)
}

/// What a straddle running with this folder tells; none where none answers.
pub(crate) fn ask(runtime_dir: &Path) -> Option<Service> {
    let mut stream = UnixStream::connect(runtime_dir.join("socket")).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
