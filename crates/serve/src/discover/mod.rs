//! Which prefix the network's NAT64 has: router advertisements tell it (RFC 8781), and so do the answers of a
//! DNS64 for `ipv4only.arpa` (RFC 7050). Where both do, the advertisement counts (RFC 8781 §5.1).
//!
//! [`Choice`] decides, and is told the time; [`Listener`], [`dns64::ask`] and [`fastest()`] find out; [`Search`]
//! has them work together.

mod choice;
pub mod dns64;
mod errand;
mod fastest;
#[cfg(test)]
mod hex;
mod listener;
pub mod pref64;
pub mod resolv;
mod search;
mod socket;
mod solicitation;

use std::time::Instant;

use straddle_xlat::rfc6052::Prefix;

pub use choice::Choice;
pub use fastest::fastest;
pub use listener::{Advertisement, Listener};
pub use search::{Search, State};

/// Who told a prefix; the lesser is preferred (RFC 8781 §5.1).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Source {
    /// A router advertisement (RFC 8781).
    Advertisement,
    /// A DNS64's answer (RFC 7050).
    Dns64,
}

/// What the network offers at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Discovered {
    /// The prefix to be used; behind it the others that are offered, from which packets may still arrive.
    pub prefixes: Vec<Prefix>,
    /// Who told the first.
    pub source: Source,
    /// When the first ends, unless it is told again.
    pub expires: Instant,
    /// Whether the last attempt to hear it again told nothing: it is kept until it expires.
    pub kept: bool,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Source::Advertisement => "router advertisement",
            Source::Dns64 => "DNS64",
        })
    }
}

/// Whether a NAT64 can have this prefix: not one in which there are addresses of another kind. An answer of
/// `::ffff:192.0.0.170`, which some resolvers make up, tells none.
fn is_usable(prefix: Prefix) -> bool {
    let first = prefix.net().addr();
    !first.is_multicast() && !first.is_unicast_link_local() && !matches!(first.octets(), [0, 0, 0, 0, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_nat64_can_have() {
        let check = |text: &str, usable: bool| {
            assert_eq!(is_usable(Prefix::new(text.parse().unwrap()).unwrap()), usable, "{text}");
        };
        check("64:ff9b::/96", true);
        check("64:ff9b:1::/48", true);
        check("2001:db8::/32", true);
        check("fd00:6464::/96", true);
        check("0:1::/32", true);
        check("::/96", false);
        check("::/32", false);
        check("::ffff:0:0/96", false);
        check("fe80::/64", false);
        check("febf::/32", false);
        check("ff02::/96", false);
        check("ff00::/32", false);
    }
}
