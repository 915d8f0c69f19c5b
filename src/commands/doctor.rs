use straddle_intent::doctor::{examine, sysctls};
use straddle_kernel::{Kernel as _, Live};

use crate::cli::Exit;
use crate::render;
use crate::say;

use super::Ended;

/// Looks for known traps. Needs no file.
pub(crate) fn doctor(json: bool) -> Ended {
    let mut kernel = Live::open()?;
    let links = kernel.addresses()?.links;
    let devices: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
    let traps = examine(&kernel.observe(&sysctls(&devices))?);
    say::result(&if json { render::traps_json(&traps) } else { render::traps(&traps) })?;
    Ok(if traps.is_empty() { Exit::Done } else { Exit::OutOfStep })
}
