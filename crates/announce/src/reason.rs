//! Every end of a message, at the server and at the client.

straddle_wire::reasons! {
    /// What became of a message: one name in code, counters, output and manual.
    Accepted "accepted" "The update told another endpoint, which is the bridge's since."
    Refreshed "refreshed" "The update told the endpoint that was known already."
    Taken "taken" "The update was good, but told an endpoint that another bridge has already; the client was told so."
    Repeated "repeated" "The update had been accepted before and was acknowledged once more."
    Unproven "unproven" "The update was of no session that is going on, as after a start of either end or from a replay, and was challenged."
    Behind "behind" "The update had a counter that was not greater than the last one accepted, as one that was overtaken or a replay has, and was challenged."
    UnsuitableEndpoint "unsuitable-endpoint" "The endpoint is an address that no carrier can have, or of the other version of IP than the bridge's."
    Length "length" "The datagram was shorter or longer than a message."
    Version "version" "The datagram was of another protocol, or of a version that is not known."
    Malformed "malformed" "The message was of no known kind, or had bytes set that are reserved."
    Direction "direction" "The message was of a kind that only this end sends."
    UnknownBridge "unknown-bridge" "The message was for a bridge that nobody serves here."
    RateLimited "rate-limited" "There were more messages, from one network or in all, than are verified in that time."
    Forged "forged" "The message was not signed with the bridge's key."
    Acknowledged "acknowledged" "The server has accepted the latest update."
    Refused "refused" "The server knows another bridge at the endpoint of the latest update, and has not accepted it."
    Challenged "challenged" "The server wanted proof that the latest update is no replay; it was given."
    Stale "stale" "The server's answer was not to the latest update."
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_has_one_place_and_one_name() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::COUNT);
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
            let name = reason.name();
            assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c == b'-'), "{name}");
            let sentence = reason.describe();
            assert!(sentence.ends_with('.') && sentence.starts_with(char::is_uppercase));
        }
    }
}
