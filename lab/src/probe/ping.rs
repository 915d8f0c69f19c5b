use std::net::IpAddr;

use serde::Serialize;

use crate::LabError;
use crate::host::Host;

/// What a real `ping` counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ping {
    /// Requests.
    pub sent: u32,
    /// Answers.
    pub received: u32,
    /// Shortest, mean and longest round trip in milliseconds; absent when nothing came back.
    pub rtt_ms: Option<[f64; 3]>,
    /// How far round trips are from their mean, in milliseconds.
    pub mdev_ms: Option<f64>,
}

impl Ping {
    /// Whether every request was answered.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.received == self.sent && self.sent > 0
    }
}

/// Pings `target` `count` times, 10 ms apart.
///
/// # Errors
/// When ping cannot be run or its summary cannot be read.
pub fn ping(from: &Host, target: IpAddr, count: u32) -> Result<Ping, LabError> {
    let (number, target) = (count.to_string(), target.to_string());
    let output = from.try_run(&["ping", "-n", "-q", "-i", "0.01", "-W", "0.5", "-c", &number, &target])?;
    let text = format!("{}{}", output.stdout, output.stderr);
    if text.contains("connect: Network is unreachable") {
        return Ok(Ping { sent: count, received: 0, rtt_ms: None, mdev_ms: None });
    }
    summary(&text).ok_or(LabError::Unreadable { tool: "ping", text })
}

fn summary(text: &str) -> Option<Ping> {
    let counts = text.lines().find(|line| line.contains("packets transmitted"))?;
    let mut numbers = counts.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    let sent = numbers.next()?.parse().ok()?;
    let received = numbers.next()?.parse().ok()?;
    let times = text.lines().find_map(|line| line.strip_prefix("rtt min/avg/max/mdev = "));
    let mut times = times.into_iter().flat_map(|times| times.split(['/', ' ']));
    let mut next = || times.next().and_then(|time| time.parse().ok());
    let rtt_ms = (|| Some([next()?, next()?, next()?]))();
    Some(Ping { sent, received, rtt_ms, mdev_ms: next() })
}

#[cfg(test)]
mod tests {
    use super::{Ping, summary};

    fn check(text: &str, expected: Option<Ping>) {
        assert_eq!(summary(text), expected, "{text}");
    }

    #[test]
    fn summaries_are_read() {
        let ping = |sent, received, rtt_ms, mdev_ms| Some(Ping { sent, received, rtt_ms, mdev_ms });
        check(
            "20 packets transmitted, 19 received, 5% packet loss, time 190ms\n\
             rtt min/avg/max/mdev = 0.021/0.035/0.120/0.020 ms\n",
            ping(20, 19, Some([0.021, 0.035, 0.120]), Some(0.020)),
        );
        check(
            "1 packets transmitted, 1 received, 0% packet loss, time 0ms\n\
             rtt min/avg/max/mdev = 1/2/3/0.5 ms, pipe 2\n",
            ping(1, 1, Some([1.0, 2.0, 3.0]), Some(0.5)),
        );
        check(
            "3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 9ms\n",
            ping(3, 0, None, None),
        );
        check("ping: connect: Network is unreachable\n", None);
    }
}
