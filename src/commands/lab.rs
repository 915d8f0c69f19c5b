use crate::cli::Lab;
use crate::complaint::Complaint;

use super::Ended;

/// Builds the world of a recipe and tries it.
pub(crate) fn lab(_options: &Lab) -> Ended {
    Err(Complaint::Lab("wip".into()))
}
