//! How many messages are verified: what is beyond costs no HMAC.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use crate::bucket::Bucket;

/// Messages in a second, from one network and in all. A verification takes about a microsecond, so that even all of
/// them are a hundredth of a processor; a flood of a thousand in a second that bears an honest client's address
/// leaves room for the client.
const NETWORK: f64 = 2000.0;
const ALL: f64 = 10_000.0;
/// Networks are told apart by as many buckets; which share one is not to be foreseen.
const BUCKETS: usize = 256;

/// The buckets of one server.
pub(super) struct Limit {
    all: Bucket,
    networks: Vec<Bucket>,
    hasher: RandomState,
}

impl Limit {
    pub(super) fn new() -> Limit {
        Limit {
            all: Bucket::new(ALL, ALL),
            networks: vec![Bucket::new(NETWORK, NETWORK); BUCKETS],
            hasher: RandomState::new(),
        }
    }

    /// Whether one more message from this address may be verified.
    pub(super) fn allows(&mut self, from: IpAddr, now: Instant) -> bool {
        let place = self.hasher.hash_one(network(from)) % BUCKETS as u64;
        let network = usize::try_from(place).ok().and_then(|place| self.networks.get_mut(place));
        // What its own network has used up takes nothing from the others.
        network.is_some_and(|network| network.allows(now)) && self.all.allows(now)
    }
}

/// What one sender has at will: an IPv4 address, or the /64 of an IPv6 address.
fn network(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn of_one_network_and_of_all() {
        let start = Instant::now();
        let mut limit = Limit::new();
        let mut check = |at: u64, from: &dyn Fn(u32) -> IpAddr, asked: u32, allowed: usize| {
            let now = start + Duration::from_millis(at);
            let count = (0..asked).filter(|index| limit.allows(from(*index), now)).count();
            assert_eq!(count, allowed, "at {at} ms");
        };
        let one = |index: u32| IpAddr::from(u128::from(index).to_be_bytes());
        check(0, &one, 5000, 2000);
        check(500, &one, 5000, 1000);
        let many = |index: u32| IpAddr::from(index.to_be_bytes());
        check(2000, &many, 50_000, 10_000);
        check(2000, &one, 10, 0);
        check(3000, &one, 5000, 2000);
    }
}
