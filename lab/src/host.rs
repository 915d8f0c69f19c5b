//! A host: one network namespace, with what one does inside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::command::{Output, run};
use crate::report::Check;
use crate::{LabError, tools};

/// A network namespace of the lab. Cloning names it again; the [`Guard`](crate::guard::Guard) owns it.
#[derive(Debug, Clone)]
pub struct Host {
    name: &'static str,
    namespace: String,
    resolvers: Option<PathBuf>,
}

impl Host {
    pub(crate) fn new(name: &'static str, namespace: String) -> Host {
        Host { name, namespace, resolvers: None }
    }

    /// The same with a `resolv.conf` of its own for every command that runs inside.
    pub(crate) fn with_resolvers(self, file: PathBuf) -> Host {
        Host { resolvers: Some(file), ..self }
    }

    /// What the host is in the world: "lender", "client".
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The name that `ip netns exec` takes.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A command that will run inside, with no trace of the operator's own session.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]);
        if let Some(file) = &self.resolvers {
            // `ip netns exec` gives its command a mount namespace, so nobody else sees this.
            command.args(["sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""]).arg(file);
        }
        command.arg(program.as_ref());
        command.env_remove("SSH_CONNECTION").env_remove("SSH_CLIENT").env("LC_ALL", "C");
        command.env("PATH", tools::path());
        command
    }

    /// Runs a command inside to its end, whatever the end is.
    ///
    /// # Errors
    /// When it cannot be started or takes over a minute.
    pub fn try_run(&self, words: &[&str]) -> Result<Output, LabError> {
        let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
        let mut command = self.command(program);
        command.args(arguments);
        run(command, "", LIMIT)
    }

    /// Runs a command inside that has to succeed.
    ///
    /// # Errors
    /// As [`Host::try_run`], and when it fails.
    pub fn run(&self, words: &[&str]) -> Result<Output, LabError> {
        self.try_run(words)?.good()
    }

    /// Gives `ip` a list of its commands, one per line, without the word `ip`.
    ///
    /// # Errors
    /// At the first that fails.
    pub fn ip(&self, lines: &str) -> Result<(), LabError> {
        self.direct(&["ip", "-batch", "-"], lines).map(drop)
    }

    /// Runs lines as an operator types them, in a shell each.
    ///
    /// # Errors
    /// At the first that fails.
    pub fn typed(&self, lines: &[&str]) -> Result<(), LabError> {
        lines.iter().try_for_each(|line| self.run(&["sh", "-c", line]).map(drop))
    }

    /// What `ip -json` answers to a question; nothing is an empty list.
    ///
    /// # Errors
    /// When `ip` fails or its answer is no JSON.
    pub fn ip_json(&self, question: &str) -> Result<Value, LabError> {
        let words: Vec<&str> = ["ip", "-json"].into_iter().chain(question.split_whitespace()).collect();
        json("ip", &self.direct(&words, "")?.stdout)
    }

    /// Loads a ruleset, or a list of nft commands, in one transaction.
    ///
    /// # Errors
    /// When nft refuses it.
    pub fn nft(&self, ruleset: &str) -> Result<(), LabError> {
        self.direct(&["nft", "-f", "-"], ruleset).map(drop)
    }

    /// What `nft -json` answers.
    ///
    /// # Errors
    /// When nft fails or its answer is no JSON.
    pub fn nft_json(&self, question: &str) -> Result<Value, LabError> {
        let words: Vec<&str> = ["nft", "-j"].into_iter().chain(question.split_whitespace()).collect();
        json("nft", &self.direct(&words, "")?.stdout)
    }

    /// Writes a sysctl, named by its path below `/proc/sys`.
    ///
    /// # Errors
    /// When the key is unknown or the value refused.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        let path = Path::new("/proc/sys").join(key);
        let doing = format!("writing {value} to {} of {}", path.display(), self.name);
        self.inside(|| fs::write(path, value))?.map_err(LabError::io(doing))
    }

    /// Runs a function on a thread that has moved into the namespace, and waits for it. A socket
    /// that is made there stays there, wherever it is used.
    ///
    /// # Errors
    /// When the namespace is gone or the thread panics.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                Ok(work())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs a command that has to succeed, born inside the namespace: quicker than `ip netns exec`,
    /// and enough for what does not read `/sys`.
    pub(crate) fn direct(&self, words: &[&str], input: &str) -> Result<Output, LabError> {
        let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", tools::path()).env("LC_ALL", "C");
        let mut output = self.inside(|| run(command, input, LIMIT))??;
        output.command = format!("{}: {}", self.name, output.command);
        output.good()
    }

    /// How many processes of this program run inside.
    pub(crate) fn processes_of(&self, exe: &Path) -> Result<usize, LabError> {
        let pids = self.direct(&["ip", "netns", "pids", &self.namespace], "")?.stdout;
        let runs_it =
            |pid: &&str| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program == exe);
        Ok(pids.split_whitespace().filter(runs_it).count())
    }

    /// No process of this program may run inside.
    pub(crate) fn without(&self, exe: &Path) -> Result<Check, LabError> {
        let left = self.processes_of(exe)?;
        Ok(Check::new(
            format!("no process is left on the {}", self.name),
            left == 0,
            format!("{left} processes"),
        ))
    }

    /// Moves the calling thread, which should be one made for the purpose, into the namespace.
    pub(crate) fn enter(&self) -> Result<(), LabError> {
        let path = Path::new("/run/netns").join(&self.namespace);
        let doing = format!("entering {}", path.display());
        let link = File::open(path).map_err(LabError::io(doing.clone()))?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&link), Some(LinkNameSpaceType::Network))
            .map_err(LabError::io(doing))
    }
}

fn json(tool: &'static str, text: &str) -> Result<Value, LabError> {
    if text.trim().is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_str(text).map_err(|_| LabError::Unreadable { tool, text: text.to_owned() })
}

/// Longer than any command of a lab takes.
const LIMIT: Duration = Duration::from_secs(60);
