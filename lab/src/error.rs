use std::io;
use std::time::Duration;

/// What keeps a lab from being built or a probe from being made.
///
/// A probe that is made and finds nothing (no answer, all lost) is no error but a measurement.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces, raw sockets and tap devices need root.
    #[error("the lab makes network namespaces and needs root: run it with sudo")]
    NotRoot,
    /// Tools that the lab shells out to; every missing one is named.
    #[error("the lab needs {tools}; on Debian: apt-get install {packages}")]
    MissingTools {
        /// Program names, separated by commas.
        tools: String,
        /// Debian packages that contain them, separated by spaces.
        packages: String,
    },
    /// A command that has to succeed did not.
    #[error("`{command}` failed ({status})\n{output}")]
    Command {
        /// The command as typed.
        command: String,
        /// How it ended.
        status: String,
        /// What it wrote, both streams.
        output: String,
    },
    /// A condition did not become true in time.
    #[error("waited {}s in vain for {what}", limit.as_secs_f32())]
    Late {
        /// The condition.
        what: String,
        /// How long it was given.
        limit: Duration,
    },
    /// The reaper, which owns the namespaces, refused or is gone.
    #[error("the lab's namespaces could not be made: {0}")]
    Guard(String),
    /// An answer of a tool that could not be read.
    #[error("cannot make sense of what {tool} says: {text}")]
    Unreadable {
        /// Which tool.
        tool: &'static str,
        /// What it said.
        text: String,
    },
    /// A system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl LabError {
    /// Adds what was being done to an I/O error; made for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> LabError {
        let doing = doing.into();
        move |source| LabError::Io { doing, source: source.into() }
    }
}
