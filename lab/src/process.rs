//! Processes that run beside the lab: servers and `straddle run`.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{wait, words};
use crate::{LabError, wait as condition};

/// A running process, killed and reaped with its owner. What it writes goes to a file, so that it
/// can outlive the lab when the world is kept.
#[derive(Debug)]
pub struct Process {
    child: Child,
    words: String,
    log: PathBuf,
    left: bool,
}

impl Process {
    /// Starts `command` in a process group of its own, writing both streams to `log`.
    ///
    /// # Errors
    /// When the log cannot be made or the command cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Process, LabError> {
        let words = words(&command);
        let out = File::create(log).map_err(LabError::io(format!("making {}", log.display())))?;
        let err = out.try_clone().map_err(LabError::io("sharing a log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(LabError::io(format!("starting `{words}`")))?;
        Ok(Process { child, words, log: log.to_path_buf(), left: false })
    }

    /// Waits until it has written `text`.
    ///
    /// # Errors
    /// [`LabError::Late`], or [`LabError::Command`] with its log when it ends before.
    pub fn says(&mut self, text: &str, limit: Duration) -> Result<(), LabError> {
        let what = format!("`{}` to say \"{text}\"", self.words);
        let ended = condition::until(&what, limit, || {
            let ended = self.child.try_wait().ok().flatten();
            if self.log().contains(text) { Some(None) } else { ended.map(Some) }
        })?;
        match ended {
            None => Ok(()),
            Some(status) => Err(self.failed(status)),
        }
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// [`LabError::Late`] when it does not; it is killed then.
    pub fn stop(mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself; waiting tells how.
            let _ = kill_process(pid, Signal::TERM);
        }
        wait(&mut self.child, &self.words, limit)
    }

    /// Waits for its end, which has to be a good one.
    ///
    /// # Errors
    /// [`LabError::Late`] when it does not end; it is killed then. [`LabError::Command`] when it fails.
    pub fn ends(mut self, limit: Duration) -> Result<(), LabError> {
        let status = wait(&mut self.child, &self.words, limit)?;
        if status.success() { Ok(()) } else { Err(self.failed(status)) }
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it outlive its owner: for a world that is kept.
    pub fn leave(mut self) {
        self.left = true;
    }

    fn failed(&self, status: ExitStatus) -> LabError {
        LabError::Command { command: self.words.clone(), status: status.to_string(), output: self.log() }
    }

    /// What it has written.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.left {
            // An error means that it has ended, and then there is nothing to do.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
