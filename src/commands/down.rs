use straddle_intent::diff::diff;
use straddle_intent::memory::Memory;
use straddle_intent::plan::Plan;
use straddle_intent::snapshot::Snapshot;
use straddle_kernel::{Journal, Kernel as _, Live, Notebook, Turn, boot_id, endpoints, given, settle};

use crate::cli::{Exit, Place};
use crate::complaint::Complaint;
use crate::keep::{TURN, runner};
use crate::render;
use crate::say;

use super::Ended;

/// Takes everything back. The file is not needed: marks and journal tell.
pub(crate) fn down(place: &Place) -> Ended {
    if let Some(runner) = runner(&place.runtime_dir)? {
        let drains = runner.drains();
        if !drains.is_zero() {
            say::line(&render::waiting(drains));
        }
        runner.end(drains)?;
    }
    let _turn = Turn::take(&place.runtime_dir, TURN)?;
    let boot = boot_id()?;
    let mut kernel = Live::open()?;
    let forgotten = Journal::salvage(&place.state_dir, &boot)?;
    match Journal::open(&place.state_dir, &boot) {
        Ok(mut journal) => {
            let memory = journal.memory().clone();
            take_back(&mut kernel, &mut journal, &memory)?;
            journal.forget();
            journal.close()?;
        }
        // A disk that can't be written is no reason to stay up: the journal can still be read, and
        // removed.
        Err(unwritable) => {
            let memory = Journal::read(&place.state_dir, &boot)?;
            say::aside(&(render::warning(&unwritable.to_string()) + "\n"));
            take_back(&mut kernel, &mut memory.clone(), &memory)?;
            Journal::remove(&place.state_dir)?;
        }
    }
    endpoints::forget(&place.state_dir)?;
    given::forget(&place.state_dir)?;
    if let Some(error) = forgotten {
        return Err(Complaint::Forgotten(error));
    }
    say::line("down: nothing of straddle is left on this host");
    Ok(Exit::Done)
}

fn take_back(kernel: &mut Live, notebook: &mut dyn Notebook, memory: &Memory) -> Result<(), Complaint> {
    let live = look(kernel, memory)?;
    let steps = diff(&Plan::default(), &live, memory).map_err(Complaint::Conflicts)?;
    for (index, step) in steps.iter().enumerate() {
        say::line(&render::taking(index, steps.len(), step));
    }
    let failed = settle(kernel, notebook, &steps);
    if !failed.is_empty() {
        return Err(Complaint::Left(failed));
    }
    // Looks again: nothing may bear our mark any more.
    let live = look(kernel, &Memory::default())?;
    match diff(&Plan::default(), &live, &Memory::default()) {
        Ok(steps) if steps.is_empty() => Ok(()),
        Ok(steps) => Err(Complaint::StillThere(steps)),
        Err(conflicts) => Err(Complaint::Conflicts(conflicts)),
    }
}

fn look(kernel: &mut Live, memory: &Memory) -> Result<Snapshot, Complaint> {
    let links = kernel.addresses()?.links;
    let devices: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
    kernel.observe(&memory.sysctls(&devices)).map_err(Complaint::from)
}
