//! Every end of a packet in a carrier other than being carried.

use straddle_wire::Malformed;

straddle_wire::reasons! {
    /// Why a packet was not carried: one name in code, counters, output and manual.
    Truncated "truncated" "The packet ended within a header."
    InnerVersion "inner-version" "The inner packet was not of a version that the carrier takes, or not of the one announced."
    InnerLength "inner-length" "A length in the inner packet contradicted its other lengths or its bytes."
    GreVersion "gre-version" "The GRE version was not 0."
    GreReserved "gre-reserved" "A GRE flag was set that a receiver must not accept (RFC 2784 section 2.3)."
    GreChecksum "gre-checksum" "The GRE checksum was wrong."
    GreKey "gre-key" "The GRE key was not the configured one, missing, or there without being configured."
    GreProtocol "gre-protocol" "GRE carried something else than IPv4 or IPv6."
    EcnNotEct "ecn-not-ect" "The tunnel marked congestion on a packet whose sender does not understand the mark (RFC 6040 section 4.2)."
    UnknownPeer "unknown-peer" "The outer packet came from an address that is no peer of the carrier."
    TooBig "too-big" "The packet did not fit into the tunnel and was answered by an ICMP error."
    CannotFragment "cannot-fragment" "The packet did not fit into the tunnel and could not be divided."
    SendFailed "send-failed" "The kernel refused to send the outer packet."
    NoRoute "no-route" "There was no route to the peer."
    SendBufferFull "send-buffer-full" "The socket's send buffer was full."
    TunRefused "tun-refused" "The tun device refused the inner packet."
    OffloadHeader "offload-header" "The tun device's offload header contradicted the packet."
    OffloadKind "offload-kind" "The tun device asked for an offload that was not offered to it."
    AggregatedUdp "aggregated-udp" "The kernel had joined UDP datagrams whose boundaries can no longer be told."
    ErrorAboutError "error-about-error" "No ICMP error is sent about an ICMP error."
    ErrorNotWanted "error-not-wanted" "The packet is one about which no ICMP error is sent: a later fragment, multicast, an unusable source, or one that the error does not concern."
    ErrorRateLimited "error-rate-limited" "An ICMP error was not sent because of the rate limit."
    ForeignSource "foreign-source" "The inner packet came from an address that is not the client's (BCP 38)."
    NoClient "no-client" "The inner packet was for an address that no client has."
    LinkScope "link-scope" "The inner packet was for the link alone, or from it: clients that share a device share no link."
    ErrorUnusable "error-unusable" "The part of our packet quoted in an ICMP error from the path could not be read."
}

impl Reason {
    /// What is wrong with an inner packet.
    pub(crate) const fn of_inner(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Truncated => Self::Truncated,
            Malformed::Version => Self::InnerVersion,
            Malformed::HeaderLength | Malformed::TotalLength | Malformed::Reserved => Self::InnerLength,
        }
    }

    /// What is wrong with a GRE header.
    pub(crate) const fn of_gre(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Version => Self::GreVersion,
            Malformed::Reserved => Self::GreReserved,
            Malformed::Truncated | Malformed::HeaderLength | Malformed::TotalLength => Self::Truncated,
        }
    }
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
