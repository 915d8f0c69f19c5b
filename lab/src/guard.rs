//! The guard: whatever a lab makes goes away with it, also on panic, Ctrl-C and SIGKILL.
//!
//! One mechanism does it. A reaper (a shell in a session of its own that ignores the signals of the
//! terminal) makes the namespaces on request and blocks on a pipe whose other end only the lab
//! holds. When the lab ends, the pipe closes, and the reaper kills what runs inside exactly its own
//! namespaces, deletes them, and removes the lab's directory. Since the reaper itself makes the
//! namespaces, there is no moment at which one exists that it does not know.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::LabError;
use crate::host::Host;
use crate::tools;

/// Owns the namespaces and the directory of one lab.
#[derive(Debug)]
pub struct Guard {
    tag: String,
    directory: PathBuf,
    names: Vec<String>,
    reaper: Child,
    // Standard library pipes are close-on-exec, so no other child can hold this end open.
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Guard {
    /// Starts the reaper and makes the lab's directory.
    ///
    /// # Errors
    /// When the reaper cannot be started or the directory cannot be made.
    pub fn start() -> Result<Guard, LabError> {
        let tag = tag(std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let directory = env::temp_dir().join(format!("straddle-{tag}"));
        let mut reaper = Command::new("setsid")
            .args(["sh", "-c", &format!("{REMOVE}{LOOP}"), "straddle-reaper"])
            .arg(&directory)
            .current_dir("/")
            .env("PATH", tools::path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(LabError::io("starting the reaper"))?;
        let asks = reaper.stdin.take();
        let answers = reaper.stdout.take().ok_or_else(|| LabError::Guard("no pipe".into()))?;
        let answers = BufReader::new(answers);
        let mut guard = Guard { tag, directory, names: Vec::new(), reaper, asks, answers };
        guard.answered()?;
        Ok(guard)
    }

    /// Makes a namespace; its name is `straddle-TAG-NAME`.
    ///
    /// # Errors
    /// When the kernel or an existing namespace of that name refuses.
    pub fn host(&mut self, name: &'static str) -> Result<Host, LabError> {
        let namespace = format!("straddle-{}-{name}", self.tag);
        self.ask(&format!("add {namespace}"))?;
        self.names.push(namespace.clone());
        Ok(Host::new(name, namespace))
    }

    /// The lab's directory: logs, configuration, state of the hosts.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Leaves everything standing for good. Returns the command line that takes it away.
    ///
    /// # Errors
    /// When the script that takes it away cannot be written.
    pub fn keep(mut self) -> Result<String, LabError> {
        let script = self.directory.join("remove");
        let names = self.names.join(" ");
        let text = format!("{REMOVE}remove '{}' {names}\n", self.directory.display());
        fs::write(&script, text).map_err(LabError::io("writing the way to remove the lab"))?;
        self.ask("keep")?;
        Ok(format!("sudo sh {}", script.display()))
    }

    fn ask(&mut self, line: &str) -> Result<(), LabError> {
        let pipe = self.asks.as_mut().ok_or_else(|| LabError::Guard("it has ended".into()))?;
        writeln!(pipe, "{line}").map_err(LabError::io("asking the reaper"))?;
        self.answered()
    }

    fn answered(&mut self) -> Result<(), LabError> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(LabError::io("hearing the reaper"))?;
        match answer.trim() {
            "ok" => Ok(()),
            "" => Err(LabError::Guard("the reaper is gone".into())),
            said => Err(LabError::Guard(said.into())),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.asks = None;
        // Nothing is left to do about a reaper that cannot be waited for.
        let _ = self.reaper.wait();
    }
}

/// Distinguishes a lab from every other that runs on the machine: its process, and how many labs that
/// process made before it.
#[must_use]
pub fn tag(process: u32, earlier: u32) -> String {
    match earlier {
        0 => base36(process),
        more => format!("{}.{}", base36(process), base36(more)),
    }
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(number % 36, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

static COUNTER: AtomicU32 = AtomicU32::new(0);
const REMOVE: &str = include_str!("reaper.sh");
const LOOP: &str = include_str!("reaper-loop.sh");

#[cfg(test)]
mod tests {
    use super::base36;

    #[test]
    fn numbers_become_short_names() {
        for (number, name) in [(0, "0"), (35, "z"), (36, "10"), (4_194_304, "2hwcg")] {
            assert_eq!(base36(number), name);
        }
    }
}
