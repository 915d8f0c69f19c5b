//! How often each of many may do something, and all of them together.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use crate::bucket::Bucket;

/// They are told apart by as many buckets; which share one is not to be foreseen.
const BUCKETS: usize = 256;

/// The buckets of all.
pub(crate) struct Limit {
    all: Bucket,
    each: Vec<Bucket>,
    hasher: RandomState,
}

impl Limit {
    /// The bucket that each one has, and the one for all together.
    pub(crate) fn new(each: Bucket, all: Bucket) -> Limit {
        Limit { all, each: vec![each; BUCKETS], hasher: RandomState::new() }
    }

    /// Whether this one may once more.
    pub(crate) fn allows(&mut self, who: impl Hash, now: Instant) -> bool {
        let place = self.hasher.hash_one(who) % BUCKETS as u64;
        let each = usize::try_from(place).ok().and_then(|place| self.each.get_mut(place));
        // What one has used up takes nothing from the others.
        each.is_some_and(|each| each.allows(now)) && self.all.allows(now)
    }
}

/// What one sender has at will: an IPv4 address, or the /64 of an IPv6 address.
pub(crate) fn network(address: IpAddr) -> u64 {
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
    fn of_one_and_of_all() {
        let start = Instant::now();
        let mut limit = Limit::new(Bucket::new(2000.0, 2000.0), Bucket::new(10_000.0, 10_000.0));
        let mut check = |at: u64, from: &dyn Fn(u32) -> IpAddr, asked: u32, allowed: usize| {
            let now = start + Duration::from_millis(at);
            let count = (0..asked).filter(|index| limit.allows(network(from(*index)), now)).count();
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
