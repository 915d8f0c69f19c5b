//! What the manual says of a translator where the RFCs leave a choice, or where another was made.

/// The key of the file or what it is about, and what holds.
pub(super) const CHOICES: &[(&str, &str)] = &[
    (
        "udp-zero-checksum = \"compute\" | \"drop\" | \"pass\"",
        "IPv4 allows UDP without a checksum, IPv6 demands one. RFC 7915 section 4.5 lets the operator choose \
         between dropping such a datagram, told by a counter, and computing the checksum. The default is to \
         compute it, since some tunnels and games send nothing else. For a fragment that can't be done, as \
         the rest of the datagram is not at hand: it is dropped. \"pass\" leaves the zero, which RFC 6935 and \
         RFC 6936 allow to tunnel protocols only; other receivers throw it away.",
    ),
    (
        "hairpin = \"intrinsic\" | \"simple\" | \"none\"",
        "A host behind an explicit mapping (eam) may write to the IPv4 address of another such host. RFC 7757 \
         section 4 has two ways to deliver that. \"intrinsic\" (section 4.2.2): the \
         translator turns the packet around itself. \"simple\" (section 4.2.1): a router of the IPv4 network \
         sends it back, and what comes from there gets a source in pool6. \"none\": it goes out, and answers \
         that come back by a shorter way are not recognised.",
    ),
    (
        "traffic-class = \"copy\" | 0 to 255",
        "RFC 7915 sections 4.1 and 5.1: all eight bits of TOS or traffic class (DSCP and ECN) are copied, and \
         the operator may have them ignored and zero written. Straddle takes any value. A fixed one also \
         overwrites ECN: congestion marks are then lost.",
    ),
    (
        "mtu-plateaus = [65535, 32000, ...]",
        "An ICMPv4 \"fragmentation needed\" of an old router names no MTU. RFC 7915 section 4.2 then has the \
         translator guess by the table of RFC 1191 section 7: the largest plateau below the length of the \
         packet that did not fit. The default is that table.",
    ),
    (
        "lowest-ipv6-mtu = 1280",
        "An IPv4 packet without DF is fragmented so that no IPv6 packet is larger (RFC 7915 section 4, where \
         the default is 1280 too: what every IPv6 path carries). Raise it where the path to all hosts \
         is known to carry more. It does not concern packets with DF: those are told the true MTU.",
    ),
    (
        "fast-path = \"auto\" | \"off\" | \"require\"",
        "Nothing of an RFC: who does the work. An eBPF program at the device's egress hook translates plain packets \
         and has them come in by the same device, as the process would: routes, rules and filters see the \
         same. It takes whole TCP (super-packets too), UDP, ICMP echoes and transports without a \
         pseudo-header, and leaves all else to the process; straddle status counts why. \"auto\" has it wherever \
         the kernel takes it, \"require\" is an error where it does not.",
    ),
    (
        "rfc6791v4, and 192.0.0.8",
        "A router of the IPv6 network that has no IPv4 address sends an ICMPv6 error. RFC 6791 section 3 wants \
         its source replaced by one of a pool, so that the error is not lost, and traceroute goes on. With \
         rfc6791v4 it is an address of that network, the same for the same router. Without it, it \
         is 192.0.0.8 (the dummy address of RFC 7600), and the router's IPv6 address stands in an ICMP \
         extension (draft-ietf-v6ops-icmpext-xlat-v6only-source) that newer traceroutes show. rfc6791v6 is the \
         same for errors out of the IPv4 network.",
    ),
    (
        "private-through-well-known = true | false",
        "RFC 6052 section 3.1 forbids to put an IPv4 address that is not global, such as 10.0.0.1, into \
         64:ff9b::/96. Straddle allows it: a host behind such a NAT64 often has to reach just these, and \
         draft-ietf-v6ops-nat64-wkp-1918 lifts the ban. With false they are dropped. Other prefixes are not \
         concerned.",
    ),
    (
        "u-octet",
        "Bits 64 to 71 of an address in a translation prefix must be zero (RFC 6052 section 2.2). An address \
         where they are not was not made by embedding: it is refused.",
    ),
    (
        "suffix",
        "The bits behind the embedded IPv4 address are zero as well, kept for later. RFC 6052 section 2.2 \
         says that a receiver should ignore them; Straddle refuses the address instead. Else many IPv6 \
         addresses stood for one IPv4 host, and its answers came from another address than was written to; and \
         a filter for the one address would be passed by writing another.",
    ),
];
