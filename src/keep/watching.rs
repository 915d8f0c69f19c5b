//! Being relied upon: programs that go past a device of ours do so only while somebody watches the host.

use std::collections::BTreeMap;
use std::time::Duration;

use straddle_intent::object::FastPath;
use straddle_intent::plan::Plan;
use straddle_kernel::Live;

use crate::complaint::Complaint;

/// How long they go on after the last look; three times as long as it takes until the next one.
const LASTS: Duration = Duration::from_secs(90);

/// The host is as the plan wants it: for a while programs may rely upon that.
pub(super) fn vouch(kernel: &mut Live, plan: &Plan) -> Result<(), Complaint> {
    let mut groups: BTreeMap<Option<u32>, Vec<&FastPath>> = BTreeMap::new();
    for program in plan.direct() {
        groups.entry(plan.chains_passed(program)).or_default().push(program);
    }
    for (chains, programs) in groups {
        kernel.watched(programs.into_iter(), chains, LASTS)?;
    }
    Ok(())
}

/// It may not be so any more: all packets take the way through the device.
pub(super) fn withdraw(kernel: &mut Live, plan: &Plan) -> Result<(), Complaint> {
    if plan.direct().next().is_none() {
        return Ok(());
    }
    Ok(kernel.watched(plan.direct(), None, Duration::ZERO)?)
}
