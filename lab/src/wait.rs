//! Waiting: always for a condition, always with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use crate::LabError;

/// Looks until there is something to see, or until `limit` is over.
///
/// # Errors
/// [`LabError::Late`] when nothing was seen in time.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, LabError> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            return Err(LabError::Late { what: what.to_owned(), limit });
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
