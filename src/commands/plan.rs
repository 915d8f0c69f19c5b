use crate::cli::{Exit, Place};
use crate::complaint::Complaint;
use crate::render;
use crate::say;
use crate::site::Site;

use super::Ended;

/// Prints the steps that `up` would take. A gateway whose link-layer address is not known yet is no
/// obstacle to planning.
pub(crate) fn plan(place: &Place, json: bool) -> Ended {
    let mut site = Site::open(place)?;
    super::up::learn_gateways(&mut site, place)?;
    let look = site.look(place)?;
    let steps = look.steps().map_err(Complaint::Conflicts)?;
    let notes = look.plan.notes(&look.live);
    if json {
        say::result(&(render::plan_json(&look.plan, &notes, &steps) + "\n"))?;
    } else {
        say::result(&render::plan(place, &look.plan, &notes, &steps))?;
    }
    Ok(Exit::Done)
}
