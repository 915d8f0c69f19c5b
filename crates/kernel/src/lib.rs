//! The only code that looks at the kernel's configuration and changes it: netlink, sysctl, nft, tun.
//! It knows no recipe, and reads no packet.

mod apply;
mod boot;
pub mod endpoints;
mod error;
pub mod fast;
pub mod given;
mod journal;
mod kept;
mod learn;
mod live;
mod netlink;
mod nft;
mod offers;
mod sessions;
mod sysctl;
mod tun;
mod turn;
mod twin;
mod watch;

pub use apply::{Failure, apply, settle, undo};
pub use boot::boot_id;
pub use error::Error;
pub use journal::{Journal, Notebook};
pub use learn::learn;
pub use live::Live;
pub use netlink::counters::Counters;
pub use offers::offers;
pub use sessions::{Session, sessions_at};
pub use tun::open_queues;
pub use turn::Turn;
pub use twin::Twin;
pub use watch::Watch;

use straddle_intent::object::{Filter, SysctlKey};
use straddle_intent::snapshot::Snapshot;
use straddle_intent::step::Step;

/// The one seam: the live kernel of this network namespace, or its twin in memory.
pub trait Kernel {
    /// What is there, with the values of these sysctls.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    fn observe(&mut self, sysctls: &[SysctlKey]) -> Result<Snapshot, Error>;

    /// Takes one step. Returns it as it was really taken: a [`Step::Vacate`] knows only afterwards what went along.
    ///
    /// # Errors
    /// When the kernel refuses. The step may then be half done; its inverse is safe to take.
    fn execute(&mut self, step: &Step) -> Result<Step, Error>;
}

/// Has nft and the kernel say whether they would take this table; nothing is changed.
///
/// # Errors
/// With their words, when they would not.
pub fn rehearse(filter: &Filter) -> Result<(), Error> {
    nft::check(filter)
}
