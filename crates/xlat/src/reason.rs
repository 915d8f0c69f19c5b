//! Every end of a packet in a translator other than being translated.

use straddle_wire::Malformed;

straddle_wire::reasons! {
    /// Why a packet was not translated: one name in code, counters, output and manual.
    Truncated "truncated" "The packet ended within a header."
    Version "version" "The packet was neither IPv4 nor IPv6."
    Length "length" "A length in the packet contradicted its other lengths or its bytes."
    HeaderChecksum "header-checksum" "The IPv4 header checksum was wrong."
    TransportCut "transport-cut" "The packet, or the first fragment of one, ended before its transport header did."
    UnspecifiedAddress "unspecified-address" "An address was the unspecified one, or of 0.0.0.0/8."
    LoopbackAddress "loopback-address" "An address was a loopback address."
    LinkLocalAddress "link-local-address" "An address was link-local; such are never translated."
    MulticastAddress "multicast-address" "An address was a multicast address."
    BroadcastAddress "broadcast-address" "An address was the limited broadcast address."
    ReservedAddress "reserved-address" "An address was of 240.0.0.0/4."
    MappedAddress "mapped-address" "An address was an IPv4-mapped IPv6 address, which must not be on a wire."
    NotOurs "not-ours" "The destination is none that the translator knows."
    UOctet "u-octet" "Bits 64 to 71 of an address within a translation prefix were not zero (RFC 6052 section 2.2)."
    Suffix "suffix" "The bits behind the IPv4 address of an address within a translation prefix were not zero (RFC 6052 section 2.2)."
    PrivateThroughWellKnown "private-through-well-known" "A private IPv4 address would have stood in 64:ff9b::/96, which is switched off."
    NoPrefix "no-prefix" "No NAT64 prefix was known by then, so there was no way to IPv4: the program was told at once."
    SourceNotMapped "source-not-mapped" "The source has no address in the other network."
    TimeExceeded "time-exceeded" "The TTL or hop limit ran out at the translator."
    SourceRoute "source-route" "An IPv4 source route was not at its end."
    SegmentsLeft "segments-left" "An IPv6 routing header had segments left."
    ExtensionAfterFragment "extension-after-fragment" "An IPv6 extension header stood behind the fragment header (RFC 7915 section 5.1.1)."
    Protocol "protocol" "The protocol number means something else in the other version of IP."
    Igmp "igmp" "IGMP concerns one link only."
    TooBig "too-big" "The packet did not fit into the next network and its sender had to be told."
    TooLong "too-long" "The packet would have been longer than 65,535 bytes in the other version."
    FragmentLength "fragment-length" "A fragment other than the last had a length that is no multiple of 8 bytes."
    FragmentEnd "fragment-end" "A fragment reached beyond the longest packet."
    FragmentedIcmp "fragmented-icmp" "ICMP came in fragments, whose checksum covers more than the fragment at hand (RFC 7915 section 1.2)."
    UdpZeroChecksum "udp-zero-checksum" "An IPv4 UDP datagram had no checksum, and such are to be dropped."
    UdpZeroChecksumFragment "udp-zero-checksum-fragment" "A fragment of an IPv4 UDP datagram had no checksum, and the whole of the datagram is not at hand to compute one."
    UdpLength "udp-length" "An IPv4 UDP datagram had no checksum, and a length that says not what the checksum is to cover."
    IcmpSingleHop "icmp-single-hop" "The ICMP message concerns one link only: router and neighbour discovery, multicast listeners, redirects."
    IcmpObsolete "icmp-obsolete" "The ICMPv4 message has no counterpart: source quench, timestamp, information, address mask."
    IcmpType "icmp-type" "The ICMP message's type is not one that is translated."
    IcmpCode "icmp-code" "The ICMP error's code has no counterpart."
    IcmpPointer "icmp-pointer" "The pointer of an ICMP parameter problem was to a field without counterpart."
    InnerMalformed "inner-malformed" "The packet quoted in an ICMP error ended within a header, or had a length that can't be."
    InnerIcmp "inner-icmp" "The packet quoted in an ICMP error was an ICMP message other than a whole echo request or reply."
    InnerProtocol "inner-protocol" "The packet quoted in an ICMP error had a protocol or an extension header that is not translated."
    InnerAddress "inner-address" "The packet quoted in an ICMP error had an address that is not translated."
    OffloadHeader "offload-header" "The tun device's offload header contradicted the packet."
    OffloadKind "offload-kind" "The tun device asked for an offload that was not offered to it."
    ErrorAboutError "error-about-error" "No ICMP error is sent about an ICMP error."
    ErrorNotWanted "error-not-wanted" "No ICMP error is sent about a fragment other than the first."
    ErrorRateLimited "error-rate-limited" "An ICMP error was not sent because of the rate limit."
    NoOwnAddress "no-own-address" "There is no IPv6 address that an ICMPv6 error could come from."
    EchoReply "echo-reply" "The translator itself was pinged."
    EchoChecksum "echo-checksum" "An echo request to the translator itself had a wrong checksum."
    ForUs "for-us" "A fragment, or an ICMP message other than an echo request, was for the translator itself."
    PortUnreachable "port-unreachable" "TCP or UDP was for the translator itself."
    ProtocolUnreachable "protocol-unreachable" "Something else than ICMP, TCP and UDP was for the translator itself."
}

impl From<Malformed> for Reason {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Truncated => Self::Truncated,
            Malformed::Version => Self::Version,
            Malformed::HeaderLength | Malformed::TotalLength | Malformed::Reserved => Self::Length,
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
