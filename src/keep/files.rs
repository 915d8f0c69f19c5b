//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the host lets us: to what the kernel allows any process, else to the hard limit.
pub(super) fn allow_many() {
    let kernel = std::fs::read_to_string("/proc/sys/fs/nr_open");
    let kernel: Option<u64> = kernel.ok().and_then(|text| text.trim().parse().ok());
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    for most in [kernel, maximum].into_iter().flatten() {
        let limit = Rlimit { current: Some(most), maximum: Some(most.max(maximum.unwrap_or(most))) };
        // Beyond the hard limit only CAP_SYS_RESOURCE leads.
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return;
        }
    }
}

/// How many of them the relays may have: enough is held back for the rest of the process, which answers `status`, looks at
/// the kernel, runs nft and asks for names.
pub(super) fn for_relays() -> u64 {
    let allowed = allowed();
    allowed - HELD_BACK.min(allowed / 4)
}

const HELD_BACK: u64 = 128;

/// How many there may be.
pub(super) fn allowed() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
