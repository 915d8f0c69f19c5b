//! How often something may be done: a bucket of tokens.

use std::time::Instant;

/// One bucket.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    burst: f64,
    rate: f64,
    tokens: f64,
    then: Option<Instant>,
}

impl Bucket {
    /// `burst` times at once after a silence, `rate` times in a second in the long run.
    pub(crate) fn new(burst: f64, rate: f64) -> Bucket {
        Bucket { burst, rate, tokens: burst, then: None }
    }

    /// Whether once more is allowed.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let since = self.then.map_or(0.0, |then| now.saturating_duration_since(then).as_secs_f64());
        let tokens = (self.tokens + since * self.rate).min(self.burst);
        let allowed = tokens >= 1.0;
        self.tokens = if allowed { tokens - 1.0 } else { tokens };
        self.then = Some(now);
        allowed
    }
}
