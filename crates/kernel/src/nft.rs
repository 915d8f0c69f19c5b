//! Our one nft table, written and read as JSON (libnftables-json(5)).

use nftables::helper::{DEFAULT_NFT, NftablesError, apply_ruleset_raw, get_current_ruleset_raw};
use serde_json::{Value, json};
use straddle_intent::object::{Chain, Filter, FilterRule, Match, Verdict};

use crate::Error;

const TABLE: &str = "straddle";
/// `NF_IP_PRI_MANGLE`: before the rules of a firewall.
const PRIORITY: i32 = -150;

/// The comments of the rules in the table of our name; none where there is no such table.
pub(crate) fn read() -> Result<Option<Vec<String>>, Error> {
    let listed = match get_current_ruleset_raw(DEFAULT_NFT, ["list", "table", "inet", TABLE]) {
        Ok(listed) => listed,
        Err(NftablesError::NftFailed { stderr, .. }) if stderr.contains("No such file") => return Ok(None),
        Err(NftablesError::NftExecution { .. }) => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    let listed: Value = serde_json::from_str(&listed).map_err(|error| Error::Nft(error.to_string()))?;
    let objects = listed["nftables"].as_array().cloned().unwrap_or_default();
    let rules = objects.iter().filter_map(|object| object.get("rule"));
    Ok(Some(rules.map(|rule| rule["comment"].as_str().unwrap_or_default().to_string()).collect()))
}

/// Loads the table as a whole, in one transaction, in the place of what it held.
pub(crate) fn load(filter: &Filter) -> Result<(), Error> {
    let table = json!({"table": {"family": "inet", "name": TABLE}});
    let chain = |name: &str| {
        json!({"add": {"chain": {
            "family": "inet", "table": TABLE, "name": name,
            "type": "filter", "hook": name, "prio": PRIORITY, "policy": "accept",
        }}})
    };
    let mut objects = vec![json!({"add": table}), json!({"delete": table}), json!({"add": table})];
    objects.extend([Chain::Forward, Chain::Output].map(|hook| chain(word(hook))));
    objects.extend(filter.rules.iter().map(|rule| json!({"add": {"rule": self::rule(rule)}})));
    run(objects)
}

/// Deletes the table.
pub(crate) fn delete() -> Result<(), Error> {
    let table = json!({"table": {"family": "inet", "name": TABLE}});
    run(vec![json!({"add": table}), json!({"delete": table})])
}

fn run(objects: Vec<Value>) -> Result<(), Error> {
    let ruleset = json!({"nftables": objects}).to_string();
    apply_ruleset_raw(&ruleset, DEFAULT_NFT, ["-j", "-f", "-"]).map(drop).map_err(refused)
}

fn rule(rule: &FilterRule) -> Value {
    let mut expressions: Vec<Value> = rule.matches.iter().flat_map(matched).collect();
    expressions.push(match rule.verdict {
        Verdict::Accept => json!({"accept": null}),
        Verdict::Drop => json!({"drop": null}),
        Verdict::ClampMss(size) => {
            json!({"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": size}})
        }
    });
    json!({"family": "inet", "table": TABLE, "chain": word(rule.chain), "comment": rule.to_string(), "expr": expressions})
}

fn word(chain: Chain) -> &'static str {
    match chain {
        Chain::Forward => "forward",
        Chain::Output => "output",
    }
}

fn matched(part: &Match) -> Vec<Value> {
    let equal = |left: Value, right: Value| json!({"match": {"op": "==", "left": left, "right": right}});
    let meta = |key: &str| json!({"meta": {"key": key}});
    let ip = |field: &str| json!({"payload": {"protocol": "ip", "field": field}});
    let one = match part {
        Match::In(dev) => equal(meta("iifname"), json!(dev)),
        Match::Out(dev) => equal(meta("oifname"), json!(dev)),
        Match::Source(address) => equal(ip("saddr"), json!(address)),
        Match::Destination(address) => equal(ip("daddr"), json!(address)),
        Match::Ipv4 => equal(meta("nfproto"), json!("ipv4")),
        Match::Ipv6 => equal(meta("nfproto"), json!("ipv6")),
        Match::Icmp => equal(meta("l4proto"), json!("icmp")),
        Match::Destination6(address) => {
            equal(json!({"payload": {"protocol": "ip6", "field": "daddr"}}), json!(address))
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
