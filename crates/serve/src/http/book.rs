//! What is known of the tunnels, and what a request makes of it. Told the time; opens nothing.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use straddle_wire::ip::Version;

use super::Reason;
use super::credentials::{Tag, Tagger};
use super::query::parameter;
use super::request::Request;
use super::response::{line, response};
use super::server::Expected;
use crate::bucket::Bucket;
use crate::limit::{Limit, network};
use crate::told::Endpoints;
use crate::update::is_suitable;

/// Requests at once and in a second: from one network, in all, and updates of one tunnel.
const NETWORK: (f64, f64) = (30.0, 1.0);
const ALL: (f64, f64) = (500.0, 100.0);
const TUNNEL: (f64, f64) = (10.0, 0.2);
/// Tunnels in one request; as many as the protocol has always had.
const HOSTS: usize = 20;

/// All tunnels, with what is theirs.
pub(super) struct Book {
    tagger: Tagger,
    endpoints: Arc<Endpoints>,
    tunnels: Vec<Tunnel>,
    /// By names in lower case.
    names: HashMap<String, usize>,
    tags: HashSet<Tag>,
    limit: Limit,
}

struct Tunnel {
    bridge: String,
    tag: Tag,
    version: Version,
    bucket: Bucket,
}

/// What a request came to.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Outcome {
    /// Each tunnel that was named and is known, by its place, and what became of its update.
    pub(super) named: Vec<(usize, Reason)>,
    /// What else is to be counted.
    pub(super) others: Vec<Reason>,
    /// What is sent back.
    pub(super) response: String,
}

impl Book {
    pub(super) fn new(tagger: Tagger, expected: &[Expected], endpoints: Arc<Endpoints>) -> Book {
        let tunnels = expected.iter().map(|one| Tunnel {
            bridge: one.bridge.clone(),
            tag: tagger.of_expected(&one.user, &one.key),
            version: one.version,
            bucket: bucket(TUNNEL),
        });
        let tunnels: Vec<_> = tunnels.collect();
        let names = expected.iter().enumerate().map(|(place, one)| (one.hostname.to_lowercase(), place));
        Book {
            tags: tunnels.iter().map(|tunnel| tunnel.tag).collect(),
            names: names.collect(),
            limit: Limit::new(bucket(NETWORK), bucket(ALL)),
            tagger,
            endpoints,
            tunnels,
        }
    }

    /// Takes what came, if it was a request.
    pub(super) fn hear(&mut self, came: Result<Request, Reason>, peer: IpAddr, now: Instant) -> Outcome {
        let peer = peer.to_canonical();
        if !self.limit.allows(network(peer), now) {
            return Outcome::of(Reason::RateLimited);
        }
        match came {
            Ok(request) => self.update(&request, peer, now).unwrap_or_else(Outcome::of),
            Err(reason) => Outcome::of(reason),
        }
    }

    fn update(&mut self, request: &Request, peer: IpAddr, now: Instant) -> Result<Outcome, Reason> {
        let query = &request.query;
        let credentials = request.credentials.clone().or_else(|| in_query(query));
        let credentials = credentials.ok_or(Reason::NoCredentials)?;
        let hosts = parameter(query, "hostname").unwrap_or_default();
        let hosts: Vec<&str> = hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
        if hosts.is_empty() || hosts.len() > HOSTS {
            let known = self.tags.contains(&self.tagger.of_sent(&credentials));
            let reason = if hosts.is_empty() { Reason::NoHost } else { Reason::TooManyHosts };
            return Err(if known { reason } else { Reason::WrongCredentials });
        }
        let told = parameter(query, "myip").filter(|told| !told.is_empty());
        let (mut named, mut others, mut body) = (Vec::new(), Vec::new(), String::new());
        for host in hosts {
            let place = self.names.get(&host.to_lowercase()).copied();
            let (reason, address) = self.one(place, &credentials, told.as_deref(), peer, now);
            match place {
                Some(place) => named.push((place, reason)),
                None => others.push(reason),
            }
            body.push_str(&line(reason, address));
        }
        // That some were updated and others not is told by the lines alone.
        Ok(Outcome { named, others, response: response(Reason::Accepted, &body) })
    }

    /// One tunnel's update, and the address that goes with the answer.
    fn one(
        &mut self,
        place: Option<usize>,
        credentials: &[u8],
        told: Option<&str>,
        peer: IpAddr,
        now: Instant,
    ) -> (Reason, Option<IpAddr>) {
        let tunnel = place.and_then(|place| self.tunnels.get_mut(place));
        let Some(tunnel) = tunnel.filter(|tunnel| self.tagger.verifies(credentials, &tunnel.tag)) else {
            // Who has no key of ours does not learn which tunnels there are.
            let known = self.tags.contains(&self.tagger.of_sent(credentials));
            return (if known { Reason::UnknownHost } else { Reason::WrongCredentials }, None);
        };
        if !tunnel.bucket.allows(now) {
            return (Reason::TunnelRateLimited, None);
        }
        let Some(address) = endpoint(told, peer, tunnel.version) else {
            return (Reason::UnsuitableAddress, None);
        };
        match self.endpoints.learn(&tunnel.bridge, address, peer) {
            Some(true) => (Reason::Accepted, Some(address)),
            Some(false) => (Reason::Unchanged, Some(address)),
            None => (Reason::UnsuitableAddress, None),
        }
    }
}

impl Outcome {
    /// One word for the whole request.
    pub(super) fn of(reason: Reason) -> Outcome {
        Outcome { named: Vec::new(), others: vec![reason], response: response(reason, &line(reason, None)) }
    }
}

/// User and key as some routers send them: as parameters.
fn in_query(query: &str) -> Option<Vec<u8>> {
    let (user, key) = (parameter(query, "username")?, parameter(query, "password")?);
    Some(format!("{user}:{key}").into_bytes())
}

/// What was told, or the peer; the first that has the tunnel's version, if a tunnel can end there.
fn endpoint(told: Option<&str>, peer: IpAddr, version: Version) -> Option<IpAddr> {
    let told =
        told.map(|told| told.split(',').map(|one| one.trim().parse().ok()).collect::<Option<Vec<IpAddr>>>());
    let candidates = told.unwrap_or_else(|| Some(vec![peer]))?;
    let fits = |address: &IpAddr| match version {
        Version::V4 => address.is_ipv4(),
        Version::V6 => address.is_ipv6(),
    };
    candidates.into_iter().find(fits).filter(|found| is_suitable(*found))
}

fn bucket((burst, rate): (f64, f64)) -> Bucket {
    Bucket::new(burst, rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Secret;
    use std::time::Duration;

    const PEER: &str = "198.51.100.7";

    fn book() -> Book {
        let one = |hostname: &str, user: &str, key: &str, version| Expected {
            bridge: hostname.into(),
            hostname: hostname.into(),
            user: user.into(),
            key: Secret::new(key.into()),
            version,
        };
        let all = [
            one("Home", "ann", "key1", Version::V4),
            one("office", "ann", "key2", Version::V4),
            one("six", "bob", "key3", Version::V6),
            one("shed", "ann", "key1", Version::V4),
        ];
        Book::new(Tagger::new().unwrap(), &all, Arc::new(Endpoints::new([]).unwrap()))
    }

    fn request(query: &str, credentials: Option<&str>) -> Request {
        let credentials = credentials.map(|credentials| credentials.as_bytes().to_vec());
        Request { query: query.into(), credentials }
    }

    /// The answer's status and body, to requests one after the other.
    fn check(asked: &[(&str, Option<&str>, &str)]) {
        let mut book = book();
        let now = Instant::now();
        for (query, credentials, expected) in asked {
            let outcome = book.hear(Ok(request(query, *credentials)), PEER.parse().unwrap(), now);
            let (head, body) = outcome.response.split_once("\r\n\r\n").unwrap();
            let status = head.split(' ').nth(1).unwrap();
            assert_eq!(format!("{status} {}", body.trim_end().replace('\n', ", ")), *expected, "{query}");
        }
    }

    #[test]
    fn updates() {
        let ann = Some("ann:key1");
        check(&[
            ("hostname=home&myip=192.0.2.1", ann, "200 good 192.0.2.1"),
            ("hostname=HOME&myip=192.0.2.1", ann, "200 nochg 192.0.2.1"),
            ("hostname=home", ann, "200 good 198.51.100.7"),
            ("hostname=home&myip=", ann, "200 nochg 198.51.100.7"),
            ("hostname=home&myip=10.0.0.1", ann, "200 good 10.0.0.1"),
            ("hostname=home&myip=::ffff:10.0.0.2", ann, "200 badip"),
            ("hostname=home&myip=2001:db8::1,100.64.0.1", ann, "200 good 100.64.0.1"),
        ]);
        check(&[
            ("hostname=shed,home,%20six&myip=192.0.2.1", ann, "200 good 192.0.2.1, badip, nohost"),
            ("hostname=home&username=ann&password=key1", None, "200 good 198.51.100.7"),
            ("hostname=office&myip=192.0.2.9", Some("ann:key2"), "200 good 192.0.2.9"),
            // Where another tunnel ends only who is there can say that it has gone.
            ("hostname=office&myip=192.0.2.1", Some("ann:key2"), "200 badip"),
            ("hostname=office", Some("ann:key2"), "200 good 198.51.100.7"),
            ("hostname=home", ann, "200 good 198.51.100.7"),
        ]);
        check(&[
            ("hostname=six&myip=2001:db8::1", Some("bob:key3"), "200 good 2001:db8::1"),
            ("hostname=six", Some("bob:key3"), "200 badip"),
        ]);
    }

    #[test]
    fn who_may() {
        check(&[
            ("hostname=home", None, "401 badauth"),
            ("hostname=home", Some("ann:key3"), "200 badauth"),
            ("hostname=home", Some("ann:"), "200 badauth"),
            ("hostname=home", Some(""), "200 badauth"),
            ("hostname=home", Some("bob:key1"), "200 badauth"),
            ("hostname=home", Some("ann:key2"), "200 nohost"),
            // Who has no key learns nothing of what there is.
            ("hostname=nowhere", Some("ann:key"), "200 badauth"),
            ("hostname=nowhere", Some("ann:key1"), "200 nohost"),
            ("", Some("ann:key1"), "200 notfqdn"),
            ("hostname=,", Some("ann:key1"), "200 notfqdn"),
            ("", Some("ann:key"), "200 badauth"),
            ("hostname=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u", Some("ann:key1"), "200 numhost"),
        ]);
    }

    #[test]
    fn addresses_that_are_no_endpoint() {
        for address in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.0.1", "192.0.2", "x"]
        {
            check(&[(&format!("hostname=home&myip={address}"), Some("ann:key1"), "200 badip")]);
        }
    }

    #[test]
    fn a_flood_changes_nothing() {
        let mut book = book();
        let begin = Instant::now();
        let mut ask = |second: u64, query: &str, credentials: &str, peer: &str| {
            let now = begin + Duration::from_secs(second);
            let outcome = book.hear(Ok(request(query, Some(credentials))), peer.parse().unwrap(), now);
            outcome.named.first().map_or_else(|| outcome.others[0], |(_, reason)| *reason)
        };
        for index in 0..10 {
            let query = format!("hostname=home&myip=192.0.2.{index}");
            assert_eq!(ask(0, &query, "ann:key1", PEER), Reason::Accepted);
        }
        assert_eq!(ask(0, "hostname=home&myip=192.0.2.99", "ann:key1", PEER), Reason::TunnelRateLimited);
        // Neither the tunnel beside it nor, after a while, the same is held up.
        assert_eq!(ask(0, "hostname=shed", "ann:key1", PEER), Reason::Accepted);
        assert_eq!(ask(5, "hostname=home&myip=192.0.2.9", "ann:key1", PEER), Reason::Unchanged);
        for _ in 0..24 {
            let reason = ask(5, "hostname=home", "ann:guess", PEER);
            assert!(matches!(reason, Reason::WrongCredentials | Reason::RateLimited));
        }
        assert_eq!(ask(5, "hostname=home", "ann:key1", PEER), Reason::RateLimited);
        assert_eq!(ask(5, "hostname=office", "ann:key2", "198.51.100.8"), Reason::Accepted);
    }
}
