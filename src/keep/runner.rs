//! Another process that is a running straddle.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use straddle_kernel::Turn;

use crate::complaint::Complaint;

/// A running straddle.
pub(crate) struct Runner {
    process: OwnedFd,
    runtime_dir: PathBuf,
}

/// Seconds that it has to end.
const PATIENCE: i64 = 10;

/// The straddle that runs with this folder, if one does.
pub(crate) fn runner(runtime_dir: &Path) -> Result<Option<Runner>, Complaint> {
    let Some(pid) = Turn::holder(runtime_dir, super::LOCK)?.and_then(Pid::from_raw) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => Ok(Some(Runner { process, runtime_dir: runtime_dir.to_path_buf() })),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(errno) => Err(trouble(errno)),
    }
}

impl Runner {
    /// Has it read its file anew.
    pub(crate) fn reload(&self) -> Result<(), Complaint> {
        pidfd_send_signal(&self.process, Signal::HUP).map_err(trouble)
    }

    /// How long what goes through its relays has left (`drain-time`). It does not answer while it waits for its turn.
    pub(crate) fn drains(&self) -> Duration {
        Duration::from_secs(super::ask(&self.runtime_dir).map_or(0, |service| service.drains))
    }

    /// Ends it, and waits until it has ended; a second time while it waits means at once. `drains` is how long what
    /// goes through its relays has left.
    pub(crate) fn end(&self, drains: Duration) -> Result<(), Complaint> {
        let courtesy = i64::try_from(drains.as_secs()).unwrap_or(0).saturating_add(PATIENCE);
        if self.ends_within(courtesy)? || self.ends_within(PATIENCE)? {
            return Ok(());
        }
        Err(Complaint::Other {
            message: format!("the running straddle did not end within {PATIENCE} seconds"),
            help: "end it yourself (systemctl stop straddle, or kill), then try again".into(),
        })
    }

    /// Tells it to end; a second time means at once.
    fn ends_within(&self, seconds: i64) -> Result<bool, Complaint> {
        match pidfd_send_signal(&self.process, Signal::TERM) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(true),
            Err(errno) => return Err(trouble(errno)),
        }
        let mut fds = [PollFd::new(&self.process, PollFlags::IN)];
        let patience = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut fds, Some(&patience)).map(|ready| ready > 0).map_err(trouble)
    }
}

fn trouble(errno: rustix::io::Errno) -> Complaint {
    Complaint::Other {
        message: format!("the running straddle can't be told: {errno}"),
        help: "are you root? else end it yourself, then try again".into(),
    }
}
