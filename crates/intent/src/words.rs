//! Steps in the words of ip(8), sysctl(8) and nft(8).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::object::{
    Address, Chain, Displaced, FastPath, FilterRule, Format, Hook, Link, LinkKind, MAIN, Neighbour,
    NeighbourKind, Object, Origin, Route, RouteKind, Rule, Selector, Tunnel,
};
use crate::step::Step;

/// A step as a list of lines: what is done, and what that takes along.
pub fn step(step: &Step) -> Vec<String> {
    match step {
        Step::Create(object) => added(object),
        Step::Remove(object) => vec![removed(object)],
        Step::Change { from: _, to } => changed(to),
        Step::Set(setting) => {
            let mut lines = vec![format!("sysctl {}={}", setting.key, setting.to)];
            lines.extend(
                setting.disturbed.iter().map(|(key, before)| format!("keeps in mind {key} = {before}")),
            );
            lines
        }
        Step::Vacate(displaced) => vacated(displaced),
        Step::Reinstate(displaced) => reinstated(displaced),
    }
}

/// How a step is taken back, in one line.
pub fn undo(taken: &Step) -> String {
    match taken {
        Step::Set(setting) => format!("sysctl {}={}", setting.key, setting.from),
        Step::Vacate(displaced) => {
            let record = displaced
                .record()
                .map_or_else(|| displaced.address.to_string(), |record| record.net.to_string());
            format!("ip addr add {record} dev {}, then what went with it", displaced.dev)
        }
        // What its rules were, their comments tell the next time; nobody reads them here.
        Step::Change { from: Object::Filter(_), .. } | Step::Remove(Object::Filter(_)) => {
            "nft table inet straddle as it was".into()
        }
        Step::Create(_) | Step::Remove(_) | Step::Change { .. } | Step::Reinstate(_) => {
            step(&taken.inverse()).into_iter().next().unwrap_or_default()
        }
    }
}

/// An object in one line.
pub fn object(object: &Object) -> String {
    match object {
        Object::Link(link) => format!("link {}", self::link(link)),
        Object::Address(address) => format!("addr {}", self::address(address)),
        Object::Route(route) => format!("route {}", self::route(route)),
        Object::Rule(rule) => format!("rule {}", self::rule(rule)),
        Object::Neighbour(neighbour) => format!("neigh {}", self::neighbour(neighbour)),
        Object::Filter(filter) => format!("nft table inet straddle, {} rules", filter.rules.len()),
        Object::FastPath(fast) => format!("fast path {}", self::fast_path(fast)),
    }
}

fn added(object: &Object) -> Vec<String> {
    match object {
        Object::Link(link) => vec![format!("ip link add {}", self::link(link))],
        Object::Address(address) => vec![format!("ip addr add {}", self::address(address))],
        Object::Route(route) => vec![format!("{} route add {}", ip6(route), self::route(route))],
        Object::Rule(rule) => vec![format!("{} rule add {}", ip(rule), self::rule(rule))],
        Object::Neighbour(neighbour) => vec![format!("ip neigh add {}", self::neighbour(neighbour))],
        Object::Filter(filter) => {
            let used = |chain: &Chain| filter.rules.iter().any(|rule| rule.chain == *chain);
            let chains: Vec<&str> = Chain::ALL.into_iter().filter(used).map(Chain::word).collect();
            let mut lines = vec![format!("nft add table inet straddle, chains {}:", chains.join(", "))];
            lines.extend(filter.rules.iter().map(filter_rule));
            lines
        }
        Object::FastPath(fast) => vec![format!("{} {}", fast_verbs(fast)[0], fast_path(fast))],
    }
}

fn removed(object: &Object) -> String {
    match object {
        Object::Link(link) => format!("ip link del {}", link.name),
        Object::Address(address) => format!("ip addr del {}", self::address(address)),
        Object::Route(route) => format!("{} route del {}", ip6(route), self::route(route)),
        Object::Rule(rule) => format!("{} rule del {}", ip(rule), self::rule(rule)),
        Object::Neighbour(neighbour) => format!("ip neigh del {}", self::neighbour(neighbour)),
        Object::Filter(_) => "nft delete table inet straddle".into(),
        Object::FastPath(fast) => format!("{} {}", fast_verbs(fast)[1], fast_path(fast)),
    }
}

fn changed(to: &Object) -> Vec<String> {
    match to {
        Object::Link(link) => vec![format!("ip link set {}", self::link(link))],
        Object::Address(address) => vec![format!("ip addr replace {}", self::address(address))],
        Object::Route(route) => vec![format!("{} route replace {}", ip6(route), self::route(route))],
        Object::Rule(rule) => vec![format!("{} rule add {}, delete the former", ip(rule), self::rule(rule))],
        Object::Neighbour(neighbour) => vec![format!("ip neigh replace {}", self::neighbour(neighbour))],
        Object::Filter(_) => added(to),
        Object::FastPath(fast) => vec![format!("{} {}", fast_verbs(fast)[2], fast_path(fast))],
    }
}

/// ip(8) takes a `default` without a next hop for the IPv4 one.
fn ip6(route: &Route) -> &'static str {
    if route.dst.addr().is_ipv6() && route.dst.prefix_len() == 0 { "ip -6" } else { "ip" }
}

fn vacated(displaced: &Displaced) -> Vec<String> {
    let record =
        displaced.record().map_or_else(|| displaced.address.to_string(), |record| record.net.to_string());
    let mut lines = vec![format!("ip addr del {record} dev {}", displaced.dev)];
    let going = crate::snapshot::Snapshot {
        addresses: displaced.addresses.clone(),
        routes: displaced.routes.clone(),
        ..Default::default()
    };
    let lost = displaced.record().map(|address| going.routes_lost_with(address)).unwrap_or_default();
    let worth_telling = |route: &&&Route| route.kind == RouteKind::Unicast;
    lines.extend(lost.iter().filter(worth_telling).map(|lost| format!("takes along {}", route(lost))));
    lines
}

fn reinstated(displaced: &Displaced) -> Vec<String> {
    let record =
        displaced.record().map_or_else(|| displaced.address.to_string(), |record| record.net.to_string());
    let mut lines = vec![format!("ip addr add {record} dev {}", displaced.dev)];
    let worth_telling = |route: &&Route| route.kind == RouteKind::Unicast;
    lines.extend(
        displaced.routes.iter().filter(worth_telling).map(|back| format!("brings back {}", route(back))),
    );
    lines
}

fn link(link: &Link) -> String {
    let kind = match &link.kind {
        LinkKind::Tun => "tun".into(),
        LinkKind::Tunnel(tunnel) => self::tunnel(tunnel),
        LinkKind::Other(kind) => kind.clone(),
    };
    let state = if link.up { "up" } else { "down" };
    format!("{} type {kind} mtu {} {state}", link.name, link.mtu)
}

fn tunnel(tunnel: &Tunnel) -> String {
    let (local, remote, hops) = (tunnel.local, tunnel.remote, tunnel.hop_limit);
    let limit = tunnel.encap_limit.map_or("none".to_string(), |limit| limit.to_string());
    let class = if tunnel.copy_class { " tclass inherit" } else { "" };
    let word = tunnel.format.word();
    let ends = format!("local {local} remote {remote}");
    match tunnel.format {
        Format::Ip6gre { key } => {
            let key = key.map(|key| format!(" key {key}")).unwrap_or_default();
            format!("{word} {ends}{key} hoplimit {hops} encaplimit {limit}{class}")
        }
        Format::Ip4ip6 => format!("{word} mode ipip6 {ends} hoplimit {hops} encaplimit {limit}{class}"),
        Format::Sit => format!("{word} {ends} ttl {hops}{}", class.replace("tclass", "tos")),
    }
}

/// As `ip addr add` takes it.
pub fn address(address: &Address) -> String {
    let preferred =
        if address.deprecated && address.origin == Origin::Straddle { " preferred_lft 0" } else { "" };
    format!("{} dev {}{preferred}", address.net, address.dev)
}

/// As `ip route add` takes it.
pub fn route(route: &Route) -> String {
    let mut words = match route.kind {
        RouteKind::Unicast => String::new(),
        RouteKind::Local => "local ".into(),
        RouteKind::Unreachable => "unreachable ".into(),
        RouteKind::Other(number) => format!("type {number} "),
    };
    // ip(8) takes a `default` by way of an IPv6 next hop for the IPv6 one.
    let crosses = |gateway: IpAddr| gateway.is_ipv6() && route.dst.addr().is_ipv4();
    let gateways = route.gateway.into_iter().chain(route.hops.iter().filter_map(|hop| hop.gateway));
    let plain = route.dst.prefix_len() == 0 && !gateways.into_iter().any(crosses);
    words += &if plain { "default".to_string() } else { route.dst.to_string() };
    let via =
        |gateway: IpAddr| if crosses(gateway) { format!("inet6 {gateway}") } else { gateway.to_string() };
    let mut word = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words += &format!(" {name} {value}");
        }
    };
    word("via", route.gateway.map(via));
    word("dev", route.dev.clone());
    word("src", route.source.map(|source| source.to_string()));
    word("mtu", route.mtu.map(|mtu| mtu.to_string()));
    word("metric", (route.metric != 0).then(|| route.metric.to_string()));
    word("table", (route.table != MAIN).then(|| route.table.to_string()));
    if route.onlink {
        words += " onlink";
    }
    for hop in &route.hops {
        let mut word = |name: &str, value: Option<String>| {
            words += &value.map(|value| format!(" {name} {value}")).unwrap_or_default();
        };
        word("nexthop via", hop.gateway.map(via));
        word(if hop.gateway.is_some() { "dev" } else { "nexthop dev" }, hop.dev.clone());
        word("weight", Some(hop.weight.to_string()));
        if hop.onlink {
            words += " onlink";
        }
    }
    words
}

/// ip(8) takes rules of IPv6 with a word more.
fn ip(rule: &Rule) -> &'static str {
    match rule.selector {
        Selector::From(IpNet::V6(_)) => "ip -6",
        Selector::From(IpNet::V4(_)) | Selector::Incoming(_) | Selector::Marked(_) | Selector::Other => "ip",
    }
}

/// As `ip rule add` takes it.
pub fn rule(rule: &Rule) -> String {
    let selector = match &rule.selector {
        Selector::Incoming(dev) => format!("iif {dev}"),
        Selector::From(net) if net.prefix_len() == net.max_prefix_len() => format!("from {}", net.addr()),
        Selector::From(net) => format!("from {net}"),
        Selector::Marked(mark) => format!("fwmark {mark}"),
        Selector::Other => "…".into(),
    };
    let table = if rule.table == MAIN { "main".to_string() } else { rule.table.to_string() };
    let suppress = if rule.no_default { " suppress_prefixlength 1" } else { "" };
    format!("{selector} lookup {table}{suppress} pref {}", rule.priority)
}

fn neighbour(neighbour: &Neighbour) -> String {
    let (address, dev) = (neighbour.address, &neighbour.dev);
    match &neighbour.kind {
        NeighbourKind::Proxy => format!("proxy {address} dev {dev}"),
        NeighbourKind::Permanent(mac) => format!("{address} lladdr {mac} dev {dev} nud permanent"),
        NeighbourKind::Learnt(mac) => format!("{address} lladdr {mac} dev {dev}"),
    }
}

/// To add, delete and replace it.
fn fast_verbs(fast: &FastPath) -> [&'static str; 3] {
    match fast.hook {
        Hook::Egress | Hook::Clsact(_) => ["tc filter add", "tc filter del", "tc filter replace"],
        Hook::Tcx(_) => ["bpftool net attach", "bpftool net detach", "bpftool net attach"],
    }
}

fn fast_path(fast: &FastPath) -> String {
    let dev = &fast.dev;
    match &fast.hook {
        Hook::Egress => format!("dev {dev} egress bpf straddle_fast direct-action"),
        Hook::Clsact(into) => format!("dev {dev} ingress bpf straddle_fast direct-action (for {into})"),
        Hook::Tcx(into) => format!("tcx_ingress name straddle_fast dev {dev} (for {into})"),
    }
}

/// A rule without the bridge that it is for.
pub(crate) fn filter_rule(rule: &FilterRule) -> String {
    let text = rule.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, rule)| rule.to_string())
}
