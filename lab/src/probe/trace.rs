use std::net::IpAddr;

use serde::Serialize;

use crate::LabError;
use crate::host::Host;

/// A line of traceroute.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Hop {
    /// Time to live of the probe that ended here.
    pub ttl: u8,
    /// Who answered; absent for `*`.
    pub address: Option<IpAddr>,
    /// Round trip in milliseconds.
    pub rtt_ms: Option<f64>,
}

/// The hops to `target`, the target included, as a real traceroute with ICMP echo sees them; none where the
/// host has no route.
///
/// # Errors
/// When traceroute fails for another reason.
pub fn trace(from: &Host, target: IpAddr) -> Result<Vec<Hop>, LabError> {
    let target = target.to_string();
    let words = ["traceroute", "-n", "-I", "-q", "1", "-w", "3", "-m", "12", &target];
    let output = from.try_run(&words)?;
    if output.stderr.contains("Network is unreachable") {
        return Ok(Vec::new());
    }
    Ok(hops(&output.good()?.stdout))
}

fn hops(text: &str) -> Vec<Hop> {
    text.lines().filter_map(hop).collect()
}

fn hop(line: &str) -> Option<Hop> {
    let mut words = line.split_whitespace();
    let ttl = words.next()?.parse().ok()?;
    let address = words.next()?.parse().ok();
    let rtt_ms = words.next().and_then(|word| word.parse().ok());
    Some(Hop { ttl, address, rtt_ms })
}

#[cfg(test)]
mod tests {
    use super::{Hop, hops};

    #[test]
    fn lines_become_hops() {
        let text = "traceroute to 192.0.2.158 (192.0.2.158), 12 hops max, 60 byte packets\n \
                    1  198.51.100.1  0.046 ms\n 2  *\n 3  192.0.2.158  0.081 ms\n";
        let hop =
            |ttl, address: Option<[u8; 4]>, rtt_ms| Hop { ttl, address: address.map(Into::into), rtt_ms };
        let expected = [
            hop(1, Some([198, 51, 100, 1]), Some(0.046)),
            hop(2, None, None),
            hop(3, Some([192, 0, 2, 158]), Some(0.081)),
        ];
        assert_eq!(hops(text), expected);
    }
}
