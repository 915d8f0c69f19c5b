use std::path::PathBuf;

/// Why something could not be done to or read from the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel answered a netlink request with an error.
    #[error("{what}: {why}")]
    Netlink {
        /// The request, in words.
        what: String,
        /// The kernel's own words, or the error's name.
        why: String,
        /// The errno, positive.
        code: i32,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    Call {
        /// Which, in words.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// `nft` failed.
    #[error("nft: {0}")]
    Nft(String),
    /// The kernel did not take a program of ours.
    #[error("{0}")]
    Program(String),
    /// There is no such device.
    #[error("there is no device `{0}`")]
    NoDevice(String),
    /// Another straddle is changing this host.
    #[error("another straddle (pid {0}) is at work on this host")]
    Busy(String),
    /// The journal can't be understood.
    #[error("{}: line {line} can't be read: {why}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Why.
        why: String,
    },
}

impl Error {
    /// Wraps an I/O error with the path that it is about.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { path, source }
    }

    /// Wraps an I/O error with the call that it is about.
    pub(crate) fn call(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Call { what, source }
    }

    /// Whether the kernel said this errno.
    pub(crate) fn is(&self, errno: i32) -> bool {
        match self {
            Error::Netlink { code, .. } => *code == errno,
            Error::File { source, .. } | Error::Call { source, .. } => source.raw_os_error() == Some(errno),
            Error::Program(_)
            | Error::Nft(_)
            | Error::NoDevice(_)
            | Error::Busy(_)
            | Error::Journal { .. } => false,
        }
    }
}
