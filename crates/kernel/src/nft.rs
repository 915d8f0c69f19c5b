//! Our one nft table, written and read as JSON (libnftables-json(5)).

use std::net::Ipv4Addr;

use ipnet::Ipv6Net;
use nftables::helper::{DEFAULT_NFT, NftablesError, apply_ruleset_raw, get_current_ruleset_raw};
use serde_json::{Value, json};
use straddle_intent::model::Transport;
use straddle_intent::object::{Chain, Filter, FilterRule, Match, Verdict};

use crate::Error;

const TABLE: &str = "straddle";
/// `NF_IP_PRI_MANGLE`: before the rules of a firewall.
const PRIORITY: i32 = -150;
/// Just before `NF_IP_PRI_NAT_DST`: of chains with one priority the older goes first, and whoever is first
/// decides.
const DNAT: i32 = -101;
/// Just before `NF_IP_PRI_NAT_SRC`.
const SNAT: i32 = 99;

/// The comments of the rules in the table of our name; none where there is no such table.
pub(crate) fn read() -> Result<Option<Vec<String>>, Error> {
    let rules = rules()?;
    Ok(rules.map(|rules| rules.iter().map(comment).collect()))
}

/// How many packets each rule that counts has met, by its comment.
pub(crate) fn counted() -> Result<Vec<(String, u64)>, Error> {
    let rules = rules()?.unwrap_or_default();
    let one = |rule: &Value| {
        let packets = |expression: &Value| expression["counter"]["packets"].as_u64();
        let packets = rule["expr"].as_array()?.iter().find_map(packets)?;
        Some((comment(rule), packets))
    };
    Ok(rules.iter().filter_map(one).collect())
}

fn comment(rule: &Value) -> String {
    rule["comment"].as_str().unwrap_or_default().into()
}

/// The rules in the table of our name; none where there is no such table.
fn rules() -> Result<Option<Vec<Value>>, Error> {
    let listed = match get_current_ruleset_raw(DEFAULT_NFT, ["list", "table", "inet", TABLE]) {
        Ok(listed) => listed,
        Err(NftablesError::NftFailed { stderr, .. }) if stderr.contains("No such file") => return Ok(None),
        Err(NftablesError::NftExecution { .. }) => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    let listed: Value = serde_json::from_str(&listed).map_err(|error| Error::Nft(error.to_string()))?;
    let objects = listed["nftables"].as_array().cloned().unwrap_or_default();
    Ok(Some(objects.iter().filter_map(|object| object.get("rule")).cloned().collect()))
}

/// Others' chains that drop what they don't accept: those at the forward hook, and those at the input hook.
pub(crate) fn barriers() -> Result<[Vec<String>; 2], Error> {
    let listed = match get_current_ruleset_raw(DEFAULT_NFT, ["list", "chains"]) {
        Ok(listed) => listed,
        Err(NftablesError::NftExecution { .. }) => return Ok(Default::default()),
        Err(error) => return Err(refused(error)),
    };
    let listed: Value = serde_json::from_str(&listed).map_err(|error| Error::Nft(error.to_string()))?;
    let objects = listed["nftables"].as_array().cloned().unwrap_or_default();
    Ok(["forward", "input"].map(|hook| dropping(&objects, hook)))
}

fn dropping(objects: &[Value], hook: &str) -> Vec<String> {
    let chains = objects.iter().filter_map(|object| object.get("chain"));
    let dropping = chains.filter(|chain| {
        chain["hook"] == hook
            && chain["policy"] == "drop"
            && ["inet", "ip", "ip6"].iter().any(|family| chain["family"] == *family)
            && chain["table"] != TABLE
    });
    let word = |chain: &Value, key: &str| chain[key].as_str().unwrap_or_default().to_string();
    dropping.map(|chain| ["family", "table", "name"].map(|key| word(chain, key)).join(" ")).collect()
}

/// Loads the table as a whole, in one transaction, in the place of what it held.
pub(crate) fn load(filter: &Filter) -> Result<(), Error> {
    run(objects(filter), &["-j", "-f", "-"])
}

/// Has nft and the kernel say whether they would take the table; nothing is changed.
pub(crate) fn check(filter: &Filter) -> Result<(), Error> {
    run(objects(filter), &["-c", "-j", "-f", "-"])
}

fn objects(filter: &Filter) -> Vec<Value> {
    let table = json!({"table": {"family": "inet", "name": TABLE}});
    let mut objects = vec![json!({"add": table}), json!({"delete": table}), json!({"add": table})];
    // A chain of connections has the kernel track them: it is there only for rules.
    let used = |chain: &Chain| filter.rules.iter().any(|rule| rule.chain == *chain);
    objects.extend(Chain::ALL.into_iter().filter(used).map(chain));
    objects.extend(filter.rules.iter().map(|rule| json!({"add": {"rule": self::rule(rule)}})));
    objects
}

fn chain(chain: Chain) -> Value {
    let (kind, hook, priority) = match chain {
        Chain::Forward => ("filter", "forward", PRIORITY),
        Chain::Output => ("filter", "output", PRIORITY),
        Chain::Input => ("filter", "input", PRIORITY),
        Chain::Mark => ("filter", "prerouting", PRIORITY),
        Chain::Reroute => ("route", "output", PRIORITY),
        Chain::Dnat => ("nat", "prerouting", DNAT),
        Chain::Snat => ("nat", "postrouting", SNAT),
    };
    json!({"add": {"chain": {
        "family": "inet", "table": TABLE, "name": chain.word(),
        "type": kind, "hook": hook, "prio": priority, "policy": "accept",
    }}})
}

/// Deletes the table.
pub(crate) fn delete() -> Result<(), Error> {
    let table = json!({"table": {"family": "inet", "name": TABLE}});
    run(vec![json!({"add": table}), json!({"delete": table})], &["-j", "-f", "-"])
}

fn run(objects: Vec<Value>, words: &[&str]) -> Result<(), Error> {
    let ruleset = json!({"nftables": objects}).to_string();
    apply_ruleset_raw(&ruleset, DEFAULT_NFT, words).map(drop).map_err(refused)
}

fn rule(rule: &FilterRule) -> Value {
    // Hardly a packet opens a connection: all others are done with the rule at once. The words keep the plan's order.
    let (syn, rest): (Vec<_>, Vec<_>) = rule.matches.iter().partition(|part| **part == Match::TcpSyn);
    let mut expressions: Vec<Value> = syn.into_iter().chain(rest).flat_map(matched).collect();
    expressions.extend(done(&rule.verdict));
    json!({"family": "inet", "table": TABLE, "chain": rule.chain.word(), "comment": rule.to_string(), "expr": expressions})
}

fn done(verdict: &Verdict) -> Vec<Value> {
    let set = |key: Value, value: Value| json!({"mangle": {"key": key, "value": value}});
    let one = match verdict {
        Verdict::Accept => json!({"accept": null}),
        Verdict::Drop => json!({"drop": null}),
        Verdict::Count => return vec![json!({"counter": null}), json!({"drop": null})],
        Verdict::ClampMss(size) => {
            set(json!({"tcp option": {"name": "maxseg", "field": "size"}}), json!(size))
        }
        Verdict::Dnat(address) => json!({"dnat": {"family": "ip", "addr": address}}),
        Verdict::DnatPorts(transport, first, last, address, inner) => {
            let ports = matched(&Match::Ports(*transport, *first, *last));
            let onto = json!({"dnat": dnat(*transport, (*first, *last), *address, *inner)});
            return ports.into_iter().chain([onto]).collect();
        }
        Verdict::Snat(address) => json!({"snat": {"family": "ip", "addr": address}}),
        Verdict::Masquerade => json!({"masquerade": null}),
        Verdict::MarkConnection(mark) => set(json!({"ct": {"key": "mark"}}), json!(mark)),
        Verdict::MarkPacket(mark) => set(json!({"meta": {"key": "mark"}}), json!(mark)),
    };
    vec![one]
}

/// Ports that stay are not named. A range that moves is a map: of a range as such the kernel takes any port.
fn dnat(transport: Transport, (first, last): (u16, u16), address: Ipv4Addr, inner: u16) -> Value {
    if first == inner {
        return json!({"family": "ip", "addr": address});
    }
    if first == last {
        return json!({"family": "ip", "addr": address, "port": inner});
    }
    let pairs: Vec<Value> = (first..=last).zip(inner..).map(|(outer, inner)| json!([outer, inner])).collect();
    json!({"family": "ip", "addr": address, "port": {"map": {"key": port(transport), "data": {"set": pairs}}}})
}

fn port(transport: Transport) -> Value {
    json!({"payload": {"protocol": transport.word(), "field": "dport"}})
}

fn matched(part: &Match) -> Vec<Value> {
    let equal = |left: Value, right: Value| json!({"match": {"op": "==", "left": left, "right": right}});
    let meta = |key: &str| json!({"meta": {"key": key}});
    let ip = |field: &str| json!({"payload": {"protocol": "ip", "field": field}});
    let one = match part {
        Match::In(dev) => equal(meta("iifname"), json!(dev)),
        Match::NotIn(dev) => {
            json!({"match": {"op": "!=", "left": meta("iifname"), "right": dev}})
        }
        Match::Ports(transport, first, last) if first == last => equal(port(*transport), json!(first)),
        Match::Ports(transport, first, last) => equal(port(*transport), json!({"range": [first, last]})),
        Match::Redirected => within("status", json!("dnat")),
        Match::Known => within("state", json!(["established", "related"])),
        Match::Marked(mark) => equal(json!({"ct": {"key": "mark"}}), json!(mark)),
        Match::Out(dev) => equal(meta("oifname"), json!(dev)),
        Match::Source(address) => equal(ip("saddr"), json!(address)),
        Match::Within(net) => {
            let prefix = json!({"prefix": {"addr": net.network(), "len": net.prefix_len()}});
            equal(ip("saddr"), prefix)
        }
        Match::Destination(address) => equal(ip("daddr"), json!(address)),
        Match::Ipv4 => equal(meta("nfproto"), json!("ipv4")),
        Match::Ipv6 => equal(meta("nfproto"), json!("ipv6")),
        Match::Icmp => equal(meta("l4proto"), json!("icmp")),
        Match::Destination6(address) => equal(ip6("daddr"), json!(address)),
        Match::Source6(net) => equal(ip6("saddr"), prefix(net)),
        Match::Destination6Net(net) => equal(ip6("daddr"), prefix(net)),
        Match::WayBack => {
            let way = json!({"fib": {"result": "oif", "flags": ["saddr", "iif"]}});
            equal(way, json!(true))
        }
        Match::NotBehind(dev) => {
            let way = json!({"fib": {"result": "oifname", "flags": ["saddr"]}});
            json!({"match": {"op": "!=", "left": way, "right": dev}})
        }
        Match::Errors6 => {
            let kind = json!({"payload": {"base": "th", "offset": 0, "len": 8}});
            let error = json!({"match": {"op": "<", "left": kind, "right": 128}});
            return vec![equal(meta("l4proto"), json!("ipv6-icmp")), error];
        }
        // Type and code, then what the error quotes behind its 8 bytes: the next header of the packet,
        // that of its destination options (a tunnel encapsulation limit), or the protocol.
        Match::UnreachableAbout(protocol) => return quoting("ipv6-icmp", 0x0104, &[(112, *protocol)]),
        Match::UnreachableBehindOptions(protocol) => {
            return quoting("ipv6-icmp", 0x0104, &[(112, DESTINATION_OPTIONS), (384, *protocol)]);
        }
        Match::UnreachableAbout4(protocol) => return quoting("icmp", 0x0303, &[(136, *protocol)]),
        Match::TcpSyn => {
            let flags = json!({"payload": {"protocol": "tcp", "field": "flags"}});
            equal(json!({"&": [flags, {"|": ["syn", "rst"]}]}), json!("syn"))
        }
    };
    vec![one]
}

fn ip6(field: &str) -> Value {
    json!({"payload": {"protocol": "ip6", "field": field}})
}

fn prefix(net: &Ipv6Net) -> Value {
    json!({"prefix": {"addr": net.addr(), "len": net.prefix_len()}})
}

/// One of these of a connection.
fn within(key: &str, values: Value) -> Value {
    json!({"match": {"op": "in", "left": {"ct": {"key": key}}, "right": values}})
}

/// An ICMP error of this type and code, with these bytes at these bits of it.
fn quoting(protocol: &str, kind: u16, bytes: &[(u32, u8)]) -> Vec<Value> {
    let equal = |left: Value, right: Value| json!({"match": {"op": "==", "left": left, "right": right}});
    let bits = |offset: u32, len: u32| json!({"payload": {"base": "th", "offset": offset, "len": len}});
    let mut all =
        vec![equal(json!({"meta": {"key": "l4proto"}}), json!(protocol)), equal(bits(0, 16), json!(kind))];
    all.extend(bytes.iter().map(|(offset, byte)| equal(bits(*offset, 8), json!(byte))));
    all
}

/// The next header number of destination options (RFC 8200 §4.6).
const DESTINATION_OPTIONS: u8 = 60;

fn refused(error: NftablesError) -> Error {
    match error {
        NftablesError::NftExecution { program, inner } => {
            let program = program.to_string_lossy();
            Error::Nft(format!("{program} can't be run ({inner}); Debian has it in the package nftables"))
        }
        NftablesError::NftFailed { stderr, .. } => Error::Nft(stderr.trim().to_string()),
        NftablesError::NftOutputEncoding { .. } | NftablesError::NftInvalidJson(_) => {
            Error::Nft(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_opens_no_connection_is_done_with_a_clamp_at_once() {
        let matches = vec![Match::In("eth0".into()), Match::Ipv4, Match::TcpSyn];
        let clamp = FilterRule {
            bridge: "b".into(),
            chain: Chain::Forward,
            matches,
            verdict: Verdict::ClampMss(1400),
        };
        let found = rule(&clamp);
        assert_eq!(found["comment"], json!(clamp.to_string()), "told in the order of the plan");
        let asked = ["/match/left/&", "/match/left/meta/key", "/match/left/meta/key", "/mangle"];
        for (number, part) in asked.iter().enumerate() {
            assert!(found["expr"][number].pointer(part).is_some(), "{number}: {found}");
        }
    }
}
