use serde::Serialize;

use crate::LabError;
use crate::host::Host;

/// Small HTTP requests, each with a connection of its own, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Requests {
    /// How many were made.
    pub sent: u32,
    /// How many were answered with 200.
    pub answered: u32,
    /// Shortest, mean and longest time of those, and how far they are from their mean, in milliseconds;
    /// absent when none was.
    pub ms: Option<[f64; 4]>,
}

impl Requests {
    /// Whether every request was answered.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.answered == self.sent && self.sent > 0
    }
}

/// Has a real curl ask `authority` (an address, or address and port) for a small file `count` times.
///
/// # Errors
/// When curl cannot be run.
pub fn requests(client: &Host, authority: &str, count: u32) -> Result<Requests, LabError> {
    let url = format!("http://{authority}/small?[1-{count}]");
    let told = "%{http_code} %{time_total}\\n";
    let words = ["curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", told, "-H", "Connection: close", &url];
    let text = client.try_run(&words)?.stdout;
    Ok(summary(&text, count))
}

fn summary(text: &str, sent: u32) -> Requests {
    let time = |line: &str| line.strip_prefix("200 ")?.trim().parse().ok().map(|seconds: f64| seconds * 1e3);
    let times: Vec<f64> = text.lines().filter_map(time).collect();
    let answered = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let mean = times.iter().sum::<f64>() / f64::from(answered.max(1));
    let mdev =
        (times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / f64::from(answered.max(1))).sqrt();
    let ends = times.iter().copied().reduce(f64::min).zip(times.iter().copied().reduce(f64::max));
    Requests { sent, answered, ms: ends.map(|(min, max)| [min, mean, max, mdev]) }
}

#[cfg(test)]
mod tests {
    use super::{Requests, summary};

    #[test]
    fn times_of_answers_are_summed_up() {
        let check = |text: &str, answered, ms: Option<[f64; 4]>| {
            assert_eq!(summary(text, 3), Requests { sent: 3, answered, ms }, "{text}");
        };
        check("200 0.25\n200 0.75\n200 0.5\n", 3, Some([250.0, 500.0, 750.0, (125_000.0_f64 / 3.0).sqrt()]));
        check("200 0.25\n404 9\n000 10.0\n", 1, Some([250.0, 250.0, 250.0, 0.0]));
        check("", 0, None);
    }
}
