//! Relays on loopback: every end that a connection or session can come to, and what is told of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::sync::PoisonError;

use straddle_serve::relay::Reason;

use world::SEEN;

mod tcp;
mod udp;
mod world;

/// Every reason is provoked by a test, which is named here: one that nobody can provoke is no reason.
#[test]
fn no_end_without_a_test() {
    let seen = |reason| SEEN.lock().unwrap_or_else(PoisonError::into_inner).contains(&reason);
    for reason in Reason::ALL.iter().copied() {
        let provoke = match reason {
            Reason::Finished => tcp::both_directions_close_by_themselves,
            Reason::ClientReset | Reason::TargetReset => tcp::a_reset_is_carried_on,
            Reason::NotAllowed | Reason::TooMany | Reason::TooManyFromSource => {
                tcp::who_may_not_connect_is_told_at_once
            }
            // `tests/descriptors` does, in a process of its own.
            Reason::NoDescriptor => continue,
            Reason::BadHeader | Reason::HeaderTimeout | Reason::NotEmbeddable => tcp::proxy_headers,
            Reason::NameUnknown | Reason::NamePrivate | Reason::Loop => tcp::names,
            Reason::TargetRefused | Reason::TargetUnreachable => tcp::a_target_that_is_down_is_told_at_once,
            Reason::TargetTimeout => tcp::a_target_that_does_not_answer_has_its_time,
            Reason::Idle | Reason::HalfClosed => tcp::silence_has_an_end,
            Reason::Drained => tcp::draining,
        };
        if !seen(reason) {
            provoke();
        }
        assert!(seen(reason), "{reason:?} is not provoked by the test that is named for it");
    }
}
