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
        "direct = [DEVICE, ...]",
        "Nothing of an RFC: how far a packet goes. It passes this host's IP layers twice, before the translator and behind \
         it. What comes in by these devices (siit, Ethernet alone) is translated there and leaves at once, with \
         the hops that it would have lost, if the host would lead it so: routes and rules of both packets and of their \
         answers, path MTUs, IPsec policies, netfilter's chains and bridge ports are asked for once a tick of the kernel's \
         clock (1 to 10 ms). All else, and a TCP connection's first packet, goes through the device, and so do all \
         while no straddle run watches: what it says holds for 90 s. /proc/net/snmp counts no such packet, and filters of \
         tc behind the program do not see it.",
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
         concerned. 192.0.0.8 is not global either: with false, the translator's own errors need another prefix or \
         own6.",
    ),
    (
        "own4, own6, and errors of the translator's own",
        "RFC 7915 sections 4.4 and 5.4 have the translator tell whoever sent what it can't pass on: too large, TTL or \
         hop limit run out, a source without an address. These errors come from own4 and own6, which also answer \
         pings; without them from 192.0.0.8 (RFC 7600), in IPv6 from 192.0.0.8 in pool6, and a clat's from its own \
         address. They are limited to 1,000 at once and one each millisecond for each processor (RFC 4443 section \
         2.4 asks for a limit), and none is about an error, a later fragment or multicast.",
    ),
    (
        "ICMP extensions (RFC 4884)",
        "RFC 7915 sections 4.2 and 5.2: an extension goes on as it came, its length attribute adjusted. Where the \
         translated error is too long (1280 bytes in IPv6, 576 in IPv4), the packet in it is shortened, to no less \
         than 128 bytes, and the extension keeps whole; one that does not fit then is left out, since half of one \
         can't be read.",
    ),
    (
        "DF, and identifications",
        "RFC 7915 section 5.1: an IPv4 packet of up to 1260 bytes goes out with DF clear and an identification that \
         can't be foretold (RFC 7739), so that IPv4 routers may fragment it; a longer one with DF set, so that its \
         sender is told. Fragments keep the low 16 bits of theirs.",
    ),
    (
        "fragments of ICMP",
        "The ICMPv6 checksum covers addresses, the ICMPv4 one does not: of a fragment alone it can't be adjusted. RFC \
         7915 section 1.2 leaves them untranslated; they are dropped, and counted as fragmented-icmp.",
    ),
    (
        "169.254.0.0/16, fe80::/10",
        "Link-local addresses are never translated (RFC 3927 section 7): a cloud's metadata service at \
         169.254.169.254 is reached without the translator, or not at all.",
    ),
    (
        "which side of a mapping leads in",
        "RFC 7757 does not say who routes what. Of each pair of eam, the side on which nobody lives gets a route into \
         the translator: the IPv4 side, unless this host has a route to it besides the default one and none to the \
         IPv6 side. A public IPv4 address of the uplink's own network is one that was given to this host: it leads \
         in. plan tells each that is not plain. Single addresses (up to 16 together) of the uplink's network are \
         answered for in ARP and neighbour discovery.",
    ),
    (
        "prefix64 = \"discover\" | PREFIX",
        "A router's PREF64 (RFC 8781) counts more than a DNS64's answer for ipv4only.arpa (RFC 7050), as RFC 8781 \
         section 5.1 has it; resolvers are asked where routers are silent. Of several prefixes the first that was told \
         stays; with probe4, the one through which a connection to that service opens fastest. It is asked for again \
         before it ends. As long as there is none, IPv4 fails at once (network unreachable), so that programs take \
         another way.",
    ),
    (
        "address6, prefix6: a clat's IPv6 address",
        "RFC 6877 section 6.3 wants a /64 of the CLAT's own, and allows one address. Without these keys it is one of \
         the uplink's /64: of one whose addresses are not deprecated (RFC 4862), made of the machine-id and the \
         uplink's link-layer address, and such that checksums need no change (RFC 6052 section 4.1). It moves when its \
         network is deprecated and another is not. up asks the link whether somebody has it before it answers for \
         it.",
    ),
    (
        "a clat, and IPv4 of the host's own",
        "draft-ietf-v6ops-claton: where the host has an IPv4 default route whose source is not link-local, new \
         connections go there, and the clat stands aside; connections through it stay. Its own default route has \
         metric 4700, behind any other, and an MTU 20 bytes below the uplink's, what an IPv6 header is longer.",
    ),
    (
        "forwarding",
        "Translated packets are forwarded ones. Linux forwards IPv6 for the whole host or not at all, so accept_ra \
         becomes 2 before (else the host would lose its routers), and what is newly forwarded is dropped unless the \
         translator takes or gives it. When somebody makes a router of the host meanwhile (ip_forward, \
         all.forwarding), nothing is dropped any more, and down leaves it one.",
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

/// The same of a lender.
pub(super) const LENDER: &[(&str, &str)] = &[(
    "direct = true | false",
    "How far a packet goes. With false, the default, a lender passes each packet through its IP layers, between its uplink \
     and the carrier's device. With true, a program behind the uplink encapsulates what comes in for the address, and \
     decapsulates what the borrower sends, and has it leave by the uplink at once, with the hop that it would have lost, \
     if the host would lead it so: routes and rules, path MTUs, IPsec policies, netfilter's chains and bridge ports are \
     asked for once a tick of the kernel's clock (1 to 10 ms). All else, and the first packet of a TCP \
     connection, goes through the device, and so do all while no straddle run watches: what it says holds for 90 s. The device is a tun device then, \
     even where the kernel has one of its own, if carrier-backend is \"auto\" and the kernel takes the programs. \
     /proc/net/snmp counts no such packet, and neither tcpdump at the carrier's device nor filters of tc behind the program \
     see it. It is the lender's alone: \
     at the borrower nothing changes.",
)];

/// The keys of a relay that decide something, and what.
pub(super) const RELAY: &[(&str, &str)] = &[
    (
        "listen",
        "PROTOCOL/PORT or PROTOCOL/FIRST-LAST, either with ADDRESS: before the port, or a list of them. PROTOCOL is tcp4, \
         tcp6, udp4, udp6, or tcp or udp for both families: \"tcp4/443\", \"udp/53\", \"tcp4/192.0.2.1:8000-8099\", \
         \"tcp6/[2001:db8::1]:443\".",
    ),
    (
        "to",
        "An address or a name, and a port. The ports of a range keep their offset from it. A name is asked for anew with each \
         connection; its addresses are tried IPv6 first, the families in turn, each 250 ms after the former (RFC 8305).",
    ),
    (
        "allow-private",
        "Prefixes. A name may lead to a private, shared, loopback or link-local address (RFC 6890) only within one of these, \
         or else whoever answers for the name could lead clients to what this host alone reaches. An address that \
         stands in the file is reached, whatever it is.",
    ),
    (
        "proxy-protocol",
        "v2: the target gets a PROXY header, with UDP before each datagram. An IPv4 client is told as such.",
    ),
    (
        "accept-proxy",
        "Prefixes. Connections from there must begin with a PROXY header, version 1 or 2, and it says who the client is: for \
         allow, max-per-source, proxy-protocol and embed. From elsewhere a header is payload. TCP only.",
    ),
    (
        "source, embed",
        "source = \"embed\" with embed = a /96: the target sees each client's IPv4 address as the last 32 bits of an IPv6 address \
         in that prefix. It needs a route of the prefix to this host.",
    ),
    (
        "allow",
        "Prefixes. Other clients get a reset, or with UDP no answer. Without it everybody may connect.",
    ),
    (
        "max-connections, max-per-source",
        "Of all listeners of the relay together, sessions of UDP clients included. An IPv6 client counts by its /64.",
    ),
    (
        "connect-timeout",
        "Seconds for a PROXY header, and then for the target's name and answer together: 10.",
    ),
    ("idle-timeout", "Seconds in which nothing moves: 7440 with TCP (RFC 5382), 300 with UDP (RFC 4787)."),
    ("half-close-timeout", "The same once one side has closed: 120."),
    (
        "drain-time",
        "Seconds that connections have left once straddle run was told to end: 30. A second signal ends them at once. When the \
         file is read anew, connections go on as they began, also those of a relay that is gone.",
    ),
];

/// What a server of tunnels has to be told of its hoster and its clients.
pub(super) const BROKER: &[(&str, &str)] = &[
    (
        "on-link",
        "Of the server's [host.NAME]: networks that the hoster delivers on the uplink's link, as its gateway asks for each address \
         by neighbour solicitation. What the uplink's own routes say of that need not be repeated.",
    ),
    (
        "neighbour-source",
        "Of the same: where answers come from. link-local: the uplink's link-local address, as the kernel's proxy answers. global: \
         the host's ipv6; some hosters let nothing else through. as-asked: to a question from a link-local address the one, to \
         any other the other. With the last two straddle run answers for single addresses as well. Answered are addresses and \
         networks of clients whose endpoint is known; never a probe for duplicates, by which another takes an address.",
    ),
    (
        "update-url",
        "Of the same: http:// or https://, a name or an address, and a port if need be. Clients append /nic/update to it. The \
         server listens at every address of its section.",
    ),
    (
        "certificate, certificate-key",
        "Of the same: PEM files, read anew on SIGHUP. The certificate's own comes first. The key's file is not for everybody to \
         read. Whether the certificate is for the name in update-url, and how long, check and run tell.",
    ),
    (
        "update-key-file, update-user, update-hostname",
        "Of [[tunnel6]]: how the client that tells its endpoint by HTTP is known. The key is one line of 16 to 256 visible \
         characters in a file of mode 0600, at the server alone; user and hostname are the bridge's name where nothing else is \
         written. Where the file can't be read, run says so and tries again every half minute; the other tunnels are heard. 10 \
         updates of one tunnel at once, then one in 5 seconds, are taken.",
    ),
    (
        "the answers",
        "good and nochg with the address; badauth: user and key are those of no tunnel, or there are none; nohost: those of \
         a tunnel, but not of this one; badip: no tunnel can end there; abuse: too many; notfqdn, numhost: no tunnel is named, or \
         too many; 911: this is no update.",
    ),
];
