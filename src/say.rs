//! The only way out for words. What is told along the way never stops the work: a full disk behind the
//! standard output, or a reader that has gone, is no reason to leave a host half done.

use std::io::Write as _;

use crate::complaint::Complaint;

/// A line of progress, to the standard output.
pub(crate) fn line(text: &str) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// Words about a problem, to the standard error.
pub(crate) fn aside(text: &str) {
    let _ = write!(anstream::stderr(), "{text}");
}

/// What the command was asked for, to the standard output.
pub(crate) fn result(text: &str) -> Result<(), Complaint> {
    let mut out = anstream::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Complaint::Other {
        message: format!("the output can't be written: {error}"),
        help: "is there room where it goes, and does its reader still read?".into(),
    })
}
