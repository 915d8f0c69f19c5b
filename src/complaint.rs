//! Everything that can end a command early, in one voice.

use std::path::PathBuf;

use straddle_intent::config::Diagnostic;
use straddle_intent::diff::Conflict;
use straddle_intent::site::Unknown;
use straddle_intent::step::Step;
use straddle_kernel::{Error, Failure, Session};

use crate::cli::Exit;

/// Why a command ended early.
pub(crate) enum Complaint {
    /// The file can't be read.
    NoFile { path: PathBuf, why: std::io::Error },
    /// Mistakes of the file.
    Mistakes { path: PathBuf, text: String, found: Vec<Diagnostic> },
    /// No host of the file is this one.
    Unknown { unknown: Unknown, known: Vec<String> },
    /// Objects of others in the way.
    Conflicts(Vec<Conflict>),
    /// Somebody's sessions arrive at the address about to move.
    Sessions { address: std::net::Ipv4Addr, ssh: bool, sessions: Vec<Session> },
    /// A step failed.
    Failure(Box<Failure>),
    /// After the last step something is not as the plan wants it.
    NotVerified { steps: Vec<Step>, left: Vec<(Step, Error)> },
    /// What `down` could not put back.
    Left(Vec<(Step, Error)>),
    /// What `down` finds when it has taken its steps.
    StillThere(Vec<Step>),
    /// What a line of the journal had remembered, and can't be read any more.
    Forgotten(Error),
    /// The kernel or a file.
    Kernel(Error),
    /// The host is in step, but its carriers can't be served.
    NotServed(String),
    /// The host is in step, but a relay can't listen; a line for each `listen`, and whether what it lacks is files.
    NotListening { lines: String, lacks_files: bool },
    /// The lab.
    Lab(String),
    /// A mistake in the command line, in words, with what to write.
    Mistake { message: String, help: String },
    /// Anything else, in words, with what to do.
    Other { message: String, help: String },
}

impl Complaint {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Complaint::NoFile { .. }
            | Complaint::Mistakes { .. }
            | Complaint::Unknown { .. }
            | Complaint::Mistake { .. } => Exit::Mistake,
            Complaint::Conflicts(_) | Complaint::Sessions { .. } => Exit::Refused,
            Complaint::Failure(failure) if !failure.left.is_empty() => Exit::Left,
            Complaint::NotVerified { left, .. } if !left.is_empty() => Exit::Left,
            Complaint::Left(_)
            | Complaint::NotServed(_)
            | Complaint::NotListening { .. }
            | Complaint::StillThere(_)
            | Complaint::Forgotten(_) => Exit::Left,
            Complaint::Kernel(Error::Busy(_)) => Exit::Refused,
            Complaint::Failure(_)
            | Complaint::NotVerified { .. }
            | Complaint::Kernel(_)
            | Complaint::Lab(_)
            | Complaint::Other { .. } => Exit::Failed,
        }
    }
}

impl From<Error> for Complaint {
    fn from(error: Error) -> Self {
        Complaint::Kernel(error)
    }
}
