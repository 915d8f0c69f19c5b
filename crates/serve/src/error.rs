/// Why packets can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{what}: {source}")]
    Call {
        /// Which, in words.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an error with the call that it is about.
    pub(crate) fn call<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::Call { what, source: source.into() }
    }
}
