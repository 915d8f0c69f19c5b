//! Tool answers as lines, without what may differ while nothing has changed.

use serde_json::{Map, Value};

/// One line per link.
pub(super) fn links(answer: &Value) -> Vec<String> {
    objects(answer).map(fields).collect()
}

/// One line per address, in the kernel's order, with its link's name.
pub(super) fn addresses(answer: &Value) -> Vec<String> {
    let of_link = |link: &Map<String, Value>| {
        let name = link.get("ifname").and_then(Value::as_str).unwrap_or_default().to_owned();
        let addresses: Vec<String> = link.get("addr_info").map_or_else(Vec::new, links);
        addresses.into_iter().map(move |address| format!("dev {name} {address}"))
    };
    objects(answer).flat_map(of_link).collect()
}

/// One line per object of a ruleset, in the kernel's order.
pub(super) fn ruleset(answer: &Value) -> Vec<String> {
    let list = answer.get("nftables").unwrap_or(&Value::Null);
    objects(list).filter(|object| !object.contains_key("metainfo")).map(fields).collect()
}

/// A line of `ip route` without the remaining lifetime.
pub(super) fn without_lifetime(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if word == "expires" {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// A line of a link without what tells whether it has a carrier.
pub(super) fn without_carrier(mut line: String) -> String {
    for flag in ["\"NO-CARRIER\",", ",\"LOWER_UP\""] {
        line = line.replace(flag, "");
    }
    let state = ["UNKNOWN", "DOWN", "UP", "LOWERLAYERDOWN", "DORMANT"];
    state.iter().fold(line, |line, state| line.replace(&format!("operstate {state} "), ""))
}

fn objects(list: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    list.as_array().into_iter().flatten().filter_map(Value::as_object)
}

fn fields(object: &Map<String, Value>) -> String {
    let field = |(key, value): (&String, &Value)| {
        let value = still(key, value)?;
        Some(match value {
            Value::String(text) => format!("{key} {text}"),
            other
            @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                format!("{key} {other}")
            }
        })
    };
    object.iter().filter_map(field).collect::<Vec<_>>().join(" ")
}

/// The part of a value that stands still.
fn still(key: &str, value: &Value) -> Option<Value> {
    if MOVING.contains(&key) {
        return None;
    }
    Some(match value {
        Value::Object(object) => object
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), still(key, value)?)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(list) => list.iter().filter_map(|value| still("", value)).collect(),
        Value::Number(seconds) if LIFETIMES.contains(&key) => {
            let forever = seconds.as_u64() == Some(u64::from(u32::MAX));
            (if forever { "forever" } else { "limited" }).into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    })
}

/// Counters, interface indexes, handles. `addr_info` has lines of its own.
const MOVING: [&str; 9] =
    ["ifindex", "link_index", "handle", "packets", "bytes", "used", "expires", "addr_info", "index"];
const LIFETIMES: [&str; 2] = ["valid_life_time", "preferred_life_time"];

#[cfg(test)]
mod tests {
    use super::{addresses, links, ruleset, without_lifetime};
    use serde_json::json;

    #[test]
    fn what_moves_is_left_out() {
        let answer = json!([{"ifindex": 2, "ifname": "eth0", "mtu": 1500, "addr_info": [
            {"family": "inet", "local": "192.0.2.158", "valid_life_time": 4_294_967_295_u32},
            {"family": "inet", "local": "192.0.2.159", "valid_life_time": 3_600},
        ]}]);
        assert_eq!(links(&answer), ["ifname eth0 mtu 1500"]);
        let expected = [
            "dev eth0 family inet local 192.0.2.158 valid_life_time forever",
            "dev eth0 family inet local 192.0.2.159 valid_life_time limited",
        ];
        assert_eq!(addresses(&answer), expected);
        let answer = json!({"nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"rule": {"chain": "c", "handle": 4, "expr": [{"counter": {"packets": 3, "bytes": 4}}]}},
        ]});
        assert_eq!(ruleset(&answer), [r#"rule {"chain":"c","expr":[{"counter":{}}]}"#]);
        assert_eq!(
            without_lifetime("default via fe80::1  expires 17sec pref low "),
            "default via fe80::1 pref low"
        );
    }
}
