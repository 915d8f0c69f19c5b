use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::host::Host;
use crate::{LabError, wait};

/// How the question "who has this address?" ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Somebody answered, with this link-layer address.
    Answered(String),
    /// Nobody did.
    Silent,
}

/// Forgets what `host` knows of a neighbour on `device` and makes it ask anew.
///
/// # Errors
/// When the kernel comes to no conclusion in time.
pub fn resolve(host: &Host, device: &str, address: Ipv4Addr) -> Result<Resolution, LabError> {
    host.run(&["ip", "neigh", "flush", "to", &address.to_string(), "dev", device])?;
    host.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // The kernel asks before it sends; nobody listens on the discard port.
        socket.send_to(b"who has this address?", (address, 9))
    })?
    .map_err(LabError::io(format!("asking for {address}")))?;
    wait::until(&format!("{address} to be resolved or given up"), LIMIT, || {
        let question = format!("neigh show to {address} dev {device}");
        conclusion(&host.ip_json(&question).ok()?)
    })
}

fn conclusion(answer: &Value) -> Option<Resolution> {
    let entry = answer.get(0)?;
    let states = entry.get("state")?.as_array()?;
    let is = |state: &str| states.iter().any(|word| word == state);
    if is("FAILED") {
        return Some(Resolution::Silent);
    }
    let known = is("REACHABLE") || is("STALE") || is("DELAY") || is("PROBE");
    let address = entry.get("lladdr")?.as_str()?;
    known.then(|| Resolution::Answered(address.to_owned()))
}

const LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::{Resolution, conclusion};
    use serde_json::json;

    #[test]
    fn a_question_is_open_until_answered_or_given_up() {
        assert_eq!(conclusion(&json!([])), None);
        assert_eq!(conclusion(&json!([{"dst": "192.0.2.77", "state": ["INCOMPLETE"]}])), None);
        assert_eq!(conclusion(&json!([{"state": ["FAILED"]}])), Some(Resolution::Silent));
        let known = json!([{"lladdr": "02:00:00:00:00:02", "state": ["REACHABLE"]}]);
        assert_eq!(conclusion(&known), Some(Resolution::Answered("02:00:00:00:00:02".into())));
    }
}
