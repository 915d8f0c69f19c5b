use crate::cli::{Exit, Place};
use crate::keep::Keeper;

use super::Ended;

/// `up`, then serves and keeps until told to end.
pub(crate) fn run(place: &Place, force: bool) -> Ended {
    Keeper::begin(place, force)?.stay()?;
    Ok(Exit::Done)
}
