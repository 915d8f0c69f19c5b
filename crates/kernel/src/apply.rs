//! Taking steps: noted first, undone backwards on failure.

use straddle_intent::object::Object;
use straddle_intent::step::Step;

use crate::{Error, Kernel, Notebook};

/// What stopped a row of steps, and how the way back went.
#[derive(Debug)]
pub struct Failure {
    /// The step that could not be taken.
    pub step: Step,
    /// Why.
    pub error: Error,
    /// Steps of the way back that failed too. Empty: the host is as it was.
    pub left: Vec<(Step, Error)>,
}

/// Takes the steps in order. On failure the inverses are taken backwards.
///
/// # Errors
/// The step that failed, with every error of the way back.
pub fn apply(
    kernel: &mut dyn Kernel,
    notebook: &mut dyn Notebook,
    steps: &[Step],
    progress: &mut dyn FnMut(usize, &Step),
) -> Result<Vec<Step>, Box<Failure>> {
    let mut taken: Vec<Step> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        progress(index, step);
        match take(kernel, notebook, step) {
            Ok(done) => taken.push(done),
            Err(error) => {
                if may_be_half_done(step) {
                    taken.push(step.clone());
                }
                forget(notebook, step);
                let left = undo(kernel, notebook, &taken);
                return Err(Box::new(Failure { step: step.clone(), error, left }));
            }
        }
    }
    Ok(taken)
}

/// Takes every step that can be taken, whatever fails: for the way down.
pub fn settle(kernel: &mut dyn Kernel, notebook: &mut dyn Notebook, steps: &[Step]) -> Vec<(Step, Error)> {
    let mut failed = Vec::new();
    for step in steps {
        // On the way down a journal that can't be written is no reason to stop: what it remembers
        // beyond the truth is found in place the next time.
        let noted = notebook.doing(step).err();
        match kernel.execute(step) {
            Ok(done) => {
                let noted = noted.or_else(|| notebook.done(&done).err());
                failed.extend(noted.map(|error| (step.clone(), error)));
            }
            Err(error) => failed.push((step.clone(), error)),
        }
    }
    failed
}

/// Undoes steps that were taken, the last first.
pub fn undo(kernel: &mut dyn Kernel, notebook: &mut dyn Notebook, taken: &[Step]) -> Vec<(Step, Error)> {
    let inverses: Vec<Step> = taken.iter().rev().map(Step::inverse).collect();
    settle(kernel, notebook, &inverses)
}

/// A device that could not be made is not ours: whoever has one of that name made it.
fn forget(notebook: &mut dyn Notebook, step: &Step) {
    if let Step::Create(device @ Object::Link(_)) = step {
        // What the journal then remembers beyond the truth is only a name.
        let _ = notebook.done(&Step::Remove(device.clone()));
    }
}

fn take(kernel: &mut dyn Kernel, notebook: &mut dyn Notebook, step: &Step) -> Result<Step, Error> {
    notebook.doing(step)?;
    let done = kernel.execute(step)?;
    notebook.done(&done)?;
    Ok(done)
}

/// Steps of several requests to the kernel; the others are one request, taken or refused.
fn may_be_half_done(step: &Step) -> bool {
    match step {
        Step::Set(_) | Step::Vacate(_) | Step::Reinstate(_) => true,
        Step::Create(_) | Step::Remove(_) | Step::Change { .. } => false,
    }
}
