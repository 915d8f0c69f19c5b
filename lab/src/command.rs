use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::LabError;

/// What a finished command left.
#[derive(Debug)]
pub struct Output {
    /// The command as typed.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The output of a command that had to succeed.
    ///
    /// # Errors
    /// [`LabError::Command`] with all that was written when it failed.
    pub fn good(self) -> Result<Output, LabError> {
        if self.status.success() {
            return Ok(self);
        }
        Err(LabError::Command {
            command: self.command,
            status: self.status.to_string(),
            output: format!("{}{}", self.stdout, self.stderr),
        })
    }
}

/// Runs a command to its end, feeding it `input`; kills it when `limit` is over.
pub(crate) fn run(mut command: Command, input: &str, limit: Duration) -> Result<Output, LabError> {
    let words = words(&command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(LabError::io(format!("starting `{words}`")))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (status, stdout, stderr) = thread::scope(|scope| {
        // A command that ends without reading its input is judged by its exit code.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        let stdout = scope.spawn(move || text(stdout));
        let stderr = scope.spawn(move || text(stderr));
        let status = wait(&mut child, &words, limit);
        (status, stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default())
    });
    Ok(Output { command: words, status: status?, stdout, stderr })
}

/// Waits for a child's end; kills it when `limit` is over.
pub(crate) fn wait(child: &mut Child, words: &str, limit: Duration) -> Result<ExitStatus, LabError> {
    let ended = ends_within(child, limit).map_err(LabError::io(format!("waiting for `{words}`")))?;
    if !ended {
        // It may have ended by itself since.
        let _ = child.kill();
    }
    let status = child.wait().map_err(LabError::io(format!("waiting for `{words}`")))?;
    if ended { Ok(status) } else { Err(LabError::Late { what: format!("`{words}`"), limit }) }
}

/// The command as one would type it.
pub(crate) fn words(command: &Command) -> String {
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    let program = command.get_program().to_string_lossy();
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn ends_within(child: &Child, limit: Duration) -> rustix::io::Result<bool> {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return Ok(true);
    };
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec::try_from(limit).ok();
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    Ok(poll(&mut fds, limit.as_ref())? > 0)
}

fn text(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What a killed command wrote before its end is still worth showing.
    let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
