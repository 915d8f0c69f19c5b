//! What keeps endpoints from being told or heard.

use straddle_serve::update::KeyError;

use crate::complaint::Complaint;
use crate::render;

/// Something that is in the way, or soon may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A bridge's key can't be read, with why; whether this host tells by it, or hears.
    Key { bridge: String, tells: bool, why: String },
    /// Nothing is told or heard, as it is printed.
    All(String),
    /// What clients will find wrong.
    Doubt(String),
}

impl Trouble {
    pub(super) fn of_key(bridge: &str, tells: bool, why: &KeyError) -> Trouble {
        Trouble::Key { bridge: bridge.into(), tells, why: why.to_string() }
    }

    pub(super) fn of_all(complaint: &Complaint) -> Trouble {
        Trouble::All(render::complaint(complaint))
    }

    /// The one bridge that it is about.
    pub(super) fn bridge(&self) -> Option<&str> {
        match self {
            Trouble::Key { bridge, .. } => Some(bridge),
            Trouble::All(_) | Trouble::Doubt(_) => None,
        }
    }

    /// Whether this host would tell.
    pub(super) fn tells(&self) -> bool {
        matches!(self, Trouble::Key { tells: true, .. })
    }

    /// Whether both are about one thing, whatever is wrong with it.
    pub(super) fn is_of(&self, other: &Trouble) -> bool {
        match (self, other) {
            (Trouble::Key { bridge: one, .. }, Trouble::Key { bridge: two, .. }) => one == two,
            (one, two) => one == two,
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Trouble::Key { tells: true, why, .. } => {
                format!("the endpoint of this host can't be told: {why}")
            }
            Trouble::Key { tells: false, why, .. } => format!("where its other end is can't be heard: {why}"),
            Trouble::All(message) | Trouble::Doubt(message) => message.clone(),
        }
    }

    /// As it is printed.
    pub(super) fn words(&self) -> String {
        match self {
            Trouble::Key { bridge, .. } => render::complaint(&Complaint::Other {
                message: format!("{bridge}: {}", self.message()),
                help: "mend that: the key is taken within half a minute. All else goes on without it".into(),
            }),
            Trouble::All(words) => words.clone(),
            Trouble::Doubt(doubt) => render::warning(doubt) + "\n",
        }
    }

    /// What is said once it is over.
    pub(super) fn over(&self) -> Option<String> {
        match self {
            Trouble::Key { bridge, tells: true, .. } => {
                Some(format!("{bridge}: its key is there, and the endpoint is told"))
            }
            Trouble::Key { bridge, tells: false, .. } => {
                Some(format!("{bridge}: its key is there, and updates are heard"))
            }
            Trouble::All(_) | Trouble::Doubt(_) => None,
        }
    }
}

pub(super) fn not_told(why: impl ToString) -> Complaint {
    Complaint::Other {
        message: format!("endpoints can't be told or heard: {}", why.to_string()),
        help: "mend that: it is tried again within half a minute".into(),
    }
}
