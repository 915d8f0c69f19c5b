//! What the operator has given away: addresses that have left this host, or lead elsewhere. On the disk, since whoever
//! connects to one that is back after a reboot, or a flush of nftables, is a stranger.

use std::net::Ipv4Addr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, kept};

/// An address, or TCP ports of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The address.
    pub address: Ipv4Addr,
    /// The first and the last port; all of them where there is none.
    pub ports: Option<(u16, u16)>,
}

impl Given {
    /// Whether the other is given with this one.
    #[must_use]
    pub fn covers(&self, other: &Given) -> bool {
        let within = match (self.ports, other.ports) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((first, last)), Some((from, to))) => first <= from && to <= last,
        };
        self.address == other.address && within
    }
}

/// What was given so far; nothing where there is no such file.
///
/// # Errors
/// When the file can't be read, or is none of ours.
pub fn read(dir: &Path) -> Result<Vec<Given>, Error> {
    kept::read(dir, NAME)
}

/// Remembers that exactly this is given.
///
/// # Errors
/// When the file can't be written or removed.
pub fn write(dir: &Path, given: &[Given]) -> Result<(), Error> {
    if given.is_empty() { forget(dir) } else { kept::write(dir, NAME, &given) }
}

/// Nothing is given any more.
///
/// # Errors
/// When the file can't be removed.
pub fn forget(dir: &Path) -> Result<(), Error> {
    kept::forget(dir, NAME)
}

const NAME: &str = "given";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_with_what() {
        let given = |last: u8, ports| Given { address: [192, 0, 2, last].into(), ports };
        let check = |one: &Given, other: &Given, expected: bool| {
            assert_eq!(one.covers(other), expected, "{one:?} {other:?}");
        };
        let (whole, ports) = (given(1, None), given(1, Some((20, 30))));
        check(&whole, &ports, true);
        check(&ports, &whole, false);
        check(&ports, &given(1, Some((22, 22))), true);
        check(&ports, &given(1, Some((22, 31))), false);
        check(&whole, &given(2, None), false);
    }
}
