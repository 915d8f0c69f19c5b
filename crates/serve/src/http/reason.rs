//! Every end of a request, and of a connection that brought none.

straddle_wire::reasons! {
    /// What became of a request: one name in code, counters, output and manual.
    Accepted "accepted" "The update told another endpoint, which is the tunnel's since."
    Unchanged "unchanged" "The update told the endpoint that was known already."
    NoCredentials "no-credentials" "The request came without user and key."
    WrongCredentials "wrong-credentials" "User and key were those of no tunnel."
    UnknownHost "unknown-host" "User and key were right for a tunnel, but not for the one that was named."
    NoHost "no-host" "The request named no tunnel."
    TooManyHosts "too-many-hosts" "The request named more tunnels than are taken at once."
    UnsuitableAddress "unsuitable-address" "The address is none that a tunnel can end at, of the other version of IP, or another tunnel's."
    TunnelRateLimited "tunnel-rate-limited" "There were more updates of one tunnel than are taken in that time."
    RateLimited "rate-limited" "There were more requests, from one network or in all, than are answered in that time."
    ConnectionLimited "connection-limited" "There were more connections, at a time or in that time, than are heard; it was closed unheard."
    Method "method" "The request was not a GET."
    NotFound "not-found" "The request was for something else than an update."
    Malformed "malformed" "What came was no HTTP request."
    TooLong "too-long" "The request had more bytes, or more header fields, than are taken."
    TimedOut "timed-out" "The request was not complete in time."
    CutShort "cut-short" "The connection ended before a request was complete."
    Handshake "handshake" "No agreement on TLS was found, as with a client that does not trust the certificate or speaks plain HTTP."
}
