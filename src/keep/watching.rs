//! Being relied upon: programs that go past a translator's device do so only while somebody watches the host.

use std::time::Duration;

use straddle_intent::plan::Plan;
use straddle_kernel::Live;

use crate::complaint::Complaint;

/// How long they go on after the last look; three times as long as it takes until the next one.
const LASTS: Duration = Duration::from_secs(90);

/// The host is as the plan wants it: for a while programs may rely upon that.
pub(super) fn vouch(kernel: &mut Live, plan: &Plan) -> Result<(), Complaint> {
    say(kernel, plan, plan.chains_passed(), LASTS)
}

/// It may not be so any more: all packets take the way through the device.
pub(super) fn withdraw(kernel: &mut Live, plan: &Plan) -> Result<(), Complaint> {
    say(kernel, plan, None, Duration::ZERO)
}

fn say(kernel: &mut Live, plan: &Plan, chains: Option<u32>, lasts: Duration) -> Result<(), Complaint> {
    if plan.direct().next().is_none() {
        return Ok(());
    }
    Ok(kernel.watched(plan.direct(), chains, lasts)?)
}
