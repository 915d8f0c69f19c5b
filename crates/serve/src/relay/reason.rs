//! Every end of a connection or session has a name.

straddle_wire::reasons! {
    /// How a connection through a relay, or a client's session of UDP, came to its end.
    Finished "finished" "Both sides closed, and everything had been handed over."
    ClientReset "client-reset" "The client reset the connection; the target was told so by a reset."
    TargetReset "target-reset" "The target reset the connection; the client was told so by a reset."
    NotAllowed "not-allowed" "The client's address stands in no prefix of `allow`; it got a reset, or with UDP nothing."
    TooMany "too-many" "There were `max-connections` already."
    TooManyFromSource "too-many-from-source" "The client had `max-per-source` already (an IPv6 client: its /64)."
    NoDescriptor "no-descriptor" "Relays have all the files open that they may; see `ulimit -Hn` and fs.nr_open."
    BadHeader "bad-header" "What came from an address of `accept-proxy` did not begin with a PROXY header."
    HeaderTimeout "header-timeout" "A PROXY header was not complete within `connect-timeout`."
    NotEmbeddable "not-embeddable" "With `embed`, the client's address was not IPv4."
    NameUnknown "name-unknown" "The target's name has no address, or the resolver did not answer."
    NamePrivate "name-private" "The target's name has private addresses only, and none stands in `allow-private`."
    Loop "loop" "The target is a place where this straddle's relays listen themselves."
    TargetRefused "target-refused" "The target's host refused: nothing listens at that port."
    TargetUnreachable "target-unreachable" "There is no way to the target."
    TargetTimeout "target-timeout" "The target did not answer within `connect-timeout`."
    Idle "idle" "Nothing moved for `idle-timeout`. With UDP that is the usual end."
    HalfClosed "half-closed" "One side had closed, and nothing moved for `half-close-timeout`."
    Drained "drained" "straddle was ending, and `drain-time` was over."
}
