//! `publish`: an IPv4 address of one host leads through a carrier to a server behind another.

mod home;
mod outside;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use crate::model::{End, Endpoint, Model, Publish, Share, Side, derived};
use crate::object::{Address, Chain, FilterRule, Match, Object, Origin, Verdict, Wanted};

use super::translate::{host, object};
use super::{Awaited, Bridge, Carrier, Facts, Plan, Updates, Via, carrier, kind_word};

/// The first of our rules, and the table and mark before the first of these bridges'.
const RULE: u32 = 4600;
const TABLE: u32 = 4700;

/// One end of a publish on this host.
struct Here<'a> {
    publish: &'a Publish,
    carrier: &'a Carrier,
    /// The uplink.
    uplink: &'a str,
    /// The number of its table and mark.
    number: u32,
    /// Whether a `via6` gives this host a default route.
    by_via6: bool,
    facts: &'a Facts<'a>,
}

/// Why nothing goes past a device of this host, where it has an end of a publish: packets pass by netfilter's hooks then.
pub(super) fn tracks(model: &Model, host: &str) -> Option<String> {
    let ends_here =
        |publish: &&Publish| [&publish.from.host, &publish.to.host].iter().any(|end| *end == host);
    let publish = model.publishes.iter().find(ends_here)?;
    Some(format!("netfilter tracks connections for {}", publish.name))
}

pub(super) fn add(plan: &mut Plan, model: &Model, publish: &Publish, index: usize, facts: &Facts<'_>) {
    let number = TABLE + 1 + u32::try_from(index).unwrap_or(0);
    let outside = plan.host == publish.from.host;
    let (side, other) = if outside { (&publish.from, &publish.to) } else { (&publish.to, &publish.from) };
    if plan.host != side.host {
        return;
    }
    let local = endpoint(publish, side, true, facts);
    plan.updates.extend(updates(publish, outside, local));
    if outside {
        plan.remarks.extend(outside::remarks(publish, facts));
    }
    let ends = local.zip(endpoint(publish, other, false, facts));
    let Some((local, remote)) = ends else {
        plan.bridges.push(awaited(publish, side, outside));
        return;
    };
    let (here, there) = (end(side, local), end(other, remote));
    let carrier = carrier::between(model, (&publish.device, publish.kind.into()), &here, &there, facts);
    held(&mut plan.wanted, &side.uplink, local, facts);
    let end = if outside { 1 } else { 2 };
    carrier::device(&mut plan.wanted, &publish.name, end, &carrier);
    carrier::fast(&mut plan.wanted, model, &plan.host, &carrier, facts);
    plan.wanted.push(Wanted::LooseReversePath { dev: publish.device.clone() });
    let mut via6s = model.via6s.iter().filter(|via6| via6.host == side.host);
    let by_via6 = via6s.any(|via6| via6.routes.contains(&Ipv4Net::default()));
    let here = Here { publish, carrier: &carrier, uplink: &side.uplink, number, by_via6, facts };
    if outside {
        outside::add(plan, &here);
    } else {
        home::add(plan, &here);
    }
    plan.bridges.push(bridge(publish, outside, Via::Carrier(Box::new(carrier))));
}

/// Where the carrier ends; none as long as that can't be known.
fn endpoint(publish: &Publish, side: &Side, here: bool, facts: &Facts<'_>) -> Option<Ipv6Addr> {
    match side.endpoint {
        Endpoint::Fixed(address) => Some(address),
        Endpoint::Follows if here => network(publish, &side.uplink, facts),
        Endpoint::Follows => match facts.endpoints.get(&publish.name) {
            Some(IpAddr::V6(address)) => Some(*address),
            Some(IpAddr::V4(_)) | None => None,
        },
    }
}

/// The endpoint inside a /64 of the uplink: of the one that it is in already as long as that is preferred,
/// else of the first that is. Networks that are going are the last resort.
fn network(publish: &Publish, uplink: &str, facts: &Facts<'_>) -> Option<Ipv6Addr> {
    let global = |held: &&Address| match held.net {
        IpNet::V6(net) => net.addr().segments()[0] & 0xe000 == 0x2000 && net.prefix_len() == 64,
        IpNet::V4(_) => false,
    };
    let theirs =
        facts.live.addresses.iter().filter(|held| held.dev == uplink && held.origin != Origin::Straddle);
    let inside = |held: &Address| match held.net {
        IpNet::V6(net) => Some((derived(net.addr(), publish.address), held.deprecated)),
        IpNet::V4(_) => None,
    };
    let present =
        |address: &Ipv6Addr| facts.live.holder((*address).into()).any(|held| held.origin == Origin::Straddle);
    let candidates = theirs.filter(global).filter_map(inside);
    candidates
        .min_by_key(|(address, deprecated)| (*deprecated, !present(address)))
        .map(|(address, _)| address)
}

/// The endpoint is an address of the uplink that is never chosen as a source. One that the host has by
/// itself is as good.
fn held(wanted: &mut Vec<Wanted>, uplink: &str, endpoint: Ipv6Addr, facts: &Facts<'_>) {
    if facts.live.holder(endpoint.into()).any(|held| held.origin != Origin::Straddle) {
        return;
    }
    let address = Address { deprecated: true, ..Address::ours(uplink, host(endpoint)) };
    wanted.push(object(Object::Address(address)));
}

fn end(side: &Side, endpoint: Ipv6Addr) -> End {
    End { host: side.host.clone(), uplink: side.uplink.clone(), endpoint: endpoint.into(), mtu: side.mtu }
}

fn updates(publish: &Publish, outside: bool, local: Option<Ipv6Addr>) -> Option<Updates> {
    let update = publish.update.as_ref()?;
    let server = SocketAddr::new(update.server, update.port);
    let tells = if outside { None } else { Some(local?.into()) };
    Some(Updates { bridge: publish.name.clone(), key_file: update.key_file.value.clone(), server, tells })
}

fn awaited(publish: &Publish, side: &Side, outside: bool) -> Bridge {
    let why = if outside {
        format!("waits until {} tells its endpoint", publish.to.host)
    } else {
        format!("waits until {} has a global /64", side.uplink)
    };
    let device = publish.device.clone();
    bridge(publish, outside, Via::Awaited(Awaited { device, why }))
}

fn bridge(publish: &Publish, outside: bool, via: Via) -> Bridge {
    let address = publish.address;
    let targets: Vec<String> = publish.share.targets().iter().map(ToString::to_string).collect();
    let are = if targets.len() == 1 { "is" } else { "are" };
    let targets = targets.join(" and ");
    let (what, leads) = match publish.share {
        Share::Whole(_) => (address.to_string(), "it leads"),
        Share::Ports(_) => (format!("ports of {address}"), "they lead"),
    };
    let part = if outside {
        format!("publishes {what}: {leads} to {targets} behind {}", publish.to.host)
    } else {
        format!("{targets} {are} reached at {what}, which {} has", publish.from.host)
    };
    let part = format!("{part}, over {}", kind_word(publish.kind));
    Bridge { name: publish.name.clone(), recipe: "publish", part, via }
}

impl Here<'_> {
    fn dev(&self) -> String {
        self.publish.device.clone()
    }

    fn rule(&self, chain: Chain, matches: Vec<Match>, verdict: Verdict) -> FilterRule {
        FilterRule { bridge: self.publish.name.clone(), chain, matches, verdict }
    }

    /// Segments of both directions fit into the carrier.
    fn clamps(&self) -> [FilterRule; 2] {
        let mss = Verdict::ClampMss(self.carrier.mtu.mss4());
        [Match::In(self.dev()), Match::Out(self.dev())]
            .map(|by| self.rule(Chain::Forward, vec![by, Match::TcpSyn], mss))
    }

    /// Whatever else comes by the carrier, or would leave by it.
    fn nothing_else(&self) -> [FilterRule; 3] {
        [
            (Chain::Forward, Match::Out(self.dev())),
            (Chain::Forward, Match::In(self.dev())),
            (Chain::Input, Match::In(self.dev())),
        ]
        .map(|(chain, by)| self.rule(chain, vec![by], Verdict::Drop))
    }

    /// What arrives for the public address is for the servers; `by` narrows what is meant.
    fn redirections(&self, by: Option<Match>) -> Vec<FilterRule> {
        let matches: Vec<Match> = by.into_iter().chain([Match::Destination(self.publish.address)]).collect();
        let verdicts = match &self.publish.share {
            Share::Whole(target) => vec![Verdict::Dnat(*target)],
            Share::Ports(list) => {
                let one = |forwarding: &crate::model::Forwarding| {
                    let (first, last) = (*forwarding.outer.start(), *forwarding.outer.end());
                    Verdict::DnatPorts(forwarding.transport, first, last, forwarding.target, forwarding.inner)
                };
                list.iter().map(one).collect()
            }
        };
        verdicts.into_iter().map(|verdict| self.rule(Chain::Dnat, matches.clone(), verdict)).collect()
    }
}

fn everywhere() -> IpNet {
    IpNet::V4(ipnet::Ipv4Net::default())
}

fn host4(address: Ipv4Addr) -> IpNet {
    host(address)
}
