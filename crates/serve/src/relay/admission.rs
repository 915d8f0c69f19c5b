//! How many connections a relay has, in all and of each source.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use super::Reason;
use super::settings::Rules;
use super::tally::Tally;

/// What a relay has open. It outlives a reload: what was open before still counts.
#[derive(Debug, Default)]
pub(super) struct Admission(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: u32,
    sources: HashMap<IpAddr, u32>,
}

/// A connection's or session's place among the others; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    tally: Arc<Tally>,
    source: Option<IpAddr>,
}

impl Admission {
    /// Takes a place for a client whose address is not known before its PROXY header.
    pub(super) fn admit(self: &Arc<Self>, rules: &Rules, tally: &Arc<Tally>) -> Result<Admitted, Reason> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rules.max_connections.is_some_and(|most| counts.open >= most) {
            return Err(Reason::TooMany);
        }
        counts.open += 1;
        tally.open.fetch_add(1, Relaxed);
        Ok(Admitted { admission: self.clone(), tally: tally.clone(), source: None })
    }

    /// Whether there is no place left.
    pub(super) fn is_full(&self, rules: &Rules) -> bool {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rules.max_connections.is_some_and(|most| counts.open >= most)
    }
}

impl Admitted {
    /// Looks at who the client is.
    pub(super) fn identify(&mut self, rules: &Rules, client: IpAddr) -> Result<(), Reason> {
        if !rules.allows(client) {
            return Err(Reason::NotAllowed);
        }
        let Some(most) = rules.max_per_source else { return Ok(()) };
        let source = source(client);
        let mut counts = self.admission.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.sources.entry(source).or_default();
        if *count >= most {
            return Err(Reason::TooManyFromSource);
        }
        *count += 1;
        self.source = Some(source);
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.tally.open.fetch_sub(1, Relaxed);
        let mut counts = self.admission.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.open -= 1;
        if let Some(source) = self.source
            && let Some(count) = counts.sources.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                counts.sources.remove(&source);
            }
        }
    }
}

/// Whom a limit is about: an IPv4 address, or a network of IPv6, in which a client has any number of them.
fn source(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_and_given_back() {
        let rules = Rules {
            max_connections: Some(3),
            max_per_source: Some(2),
            allow: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            ..Rules::default()
        };
        let (admission, tally) = (Arc::new(Admission::default()), Arc::new(Tally::new()));
        let mut held = Vec::new();
        let mut check = |client: &str, expected: Result<(), Reason>| {
            let admitted = admission.admit(&rules, &tally).and_then(|mut admitted| {
                admitted.identify(&rules, client.parse().unwrap())?;
                Ok(admitted)
            });
            let found = admitted.map(|admitted| held.push(admitted));
            assert_eq!(found, expected, "{client}");
        };
        check("198.51.100.1", Err(Reason::NotAllowed));
        check("2001:db8::1", Ok(()));
        check("2001:db8::ffff:1", Ok(()));
        check("2001:db8::2", Err(Reason::TooManyFromSource));
        check("2001:db8:0:1::2", Ok(()));
        check("192.0.2.1", Err(Reason::TooMany));
        held.clear();
        assert_eq!(tally.open.load(Relaxed), 0);
        assert!(admission.0.lock().unwrap().sources.is_empty());
    }
}
