use std::fmt;

/// The translator of a world that is not ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Peer {
    /// TAYGA, a daemon.
    #[default]
    Tayga,
    /// Jool, a module of the kernel.
    Jool,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Peer::Tayga => "TAYGA",
            Peer::Jool => "Jool",
        })
    }
}
