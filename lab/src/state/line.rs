//! Tool answers as lines, without what may differ while nothing has changed.

use serde_json::{Map, Value};

/// One line per property of a link.
pub(super) fn links(answer: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for link in objects(answer) {
        properties(name(link), link, &mut lines);
    }
    lines
}

fn properties(of: &str, object: &Map<String, Value>, lines: &mut Vec<String>) {
    for (key, value) in object {
        match (still(key, value), value.as_object()) {
            (Some(_), Some(inner)) => properties(&format!("{of} {key}"), inner, lines),
            (Some(value), None) => lines.push(format!("{of} {key} {}", word(&value))),
            (None, _) => {}
        }
    }
}

/// What `tc -batch` is to be asked for the qdiscs and filters of all links.
pub(super) fn questions_for_filters(answer: &Value) -> String {
    let question = |link| {
        let dev = name(link);
        format!("qdisc show dev {dev}\nfilter show dev {dev} ingress\nfilter show dev {dev} egress\n")
    };
    objects(answer).map(question).collect()
}

/// Whether a line of the answer is a filter's, or that of a qdisc which filters stand at: others hold packets, and the
/// kernel names them as it likes.
pub(super) fn filters(line: &str) -> bool {
    !line.starts_with("qdisc ")
        || ["qdisc clsact ", "qdisc ingress "].iter().any(|kind| line.starts_with(kind))
}

/// One line per address, in the kernel's order, with its link's name.
pub(super) fn addresses(answer: &Value) -> Vec<String> {
    let of_link = |link| {
        let addresses = objects(Map::get(link, "addr_info").unwrap_or(&Value::Null)).map(fields);
        addresses.map(move |address| format!("dev {} {address}", name(link)))
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
    without(line, "expires")
}

/// A line of `tc filter` without the number of the program.
pub(super) fn without_program(line: &str) -> String {
    without(line, "id")
}

/// A line without this word and the one behind it.
fn without(line: &str, unwanted: &str) -> String {
    let mut words = line.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if word == unwanted {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// A line without what tells whether a link has a carrier.
pub(super) fn without_carrier(line: &str) -> String {
    if let Some((link, _)) = line.split_once(" operstate ") {
        return format!("{link} operstate");
    }
    let words = line.split(' ').filter(|word| !matches!(*word, "linkdown" | "dead"));
    let line = words.collect::<Vec<_>>().join(" ");
    line.replace("\"NO-CARRIER\",", "").replace(",\"LOWER_UP\"", "")
}

fn objects(list: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    list.as_array().into_iter().flatten().filter_map(Value::as_object)
}

fn name(link: &Map<String, Value>) -> &str {
    link.get("ifname").and_then(Value::as_str).unwrap_or_default()
}

fn fields(object: &Map<String, Value>) -> String {
    let field = |(key, value): (&String, &Value)| Some(format!("{key} {}", word(&still(key, value)?)));
    object.iter().filter_map(field).collect::<Vec<_>>().join(" ")
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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

/// Counters, timers, interface indexes, handles. `addr_info` has lines of its own.
const MOVING: [&str; 13] = [
    "ifindex",
    "link_index",
    "handle",
    "packets",
    "bytes",
    "used",
    "expires",
    "addr_info",
    "index",
    "gc_timer",
    "hello_timer",
    "tcn_timer",
    "topology_change_timer",
];
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
        assert_eq!(links(&answer), ["eth0 ifname eth0", "eth0 mtu 1500"]);
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
