/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What a program is told before it is loaded: constants to the verifier, which leaves out what they rule out. */
#pragma once

#include "lengths.h"

enum { PREFIXES = 8, LENGTHS4 = 33, HANDFUL = 4 };

/* A prefix of RFC 6052. */
struct prefix {
	struct address6 net, mask;
	__u32 length;
	/* Whether private IPv4 addresses may not stand in it. */
	__u32 public_only;
};

/* A mapping of RFC 7757. */
struct mapping {
	struct address6 net6, mask6;
	__u32 net4, mask4;
	/* By how many bits the IPv6 suffix is longer. */
	__u32 padding, unused;
};

/* crates/intent has the same structure. */
struct config {
	struct address6 own6;
	__u32 own4;
	__u32 has_own4, has_own6;
	/* A CLAT maps its own addresses by mappings alone, all others by prefixes alone. */
	__u32 clat;
	/* Sources go into the first prefix (RFC 7757 section 4.2.1). */
	__u32 simple_hairpin;
	/* Packets from one mapped host to another are turned around here (RFC 7757 section 4.2.2). */
	__u32 intrinsic_hairpin;
	/* Largest IPv4 packet; largest IPv6 packet, with DF and without, in bytes. */
	__u32 limit4, limit6, limit6_fragmentable;
	/* Traffic class of what comes out; 256: as it came in. */
	__u32 class;
	/* No mapping touches a prefix, so that these may be looked at first. */
	__u32 prefixes_first;
	/* How many there are of each list below. */
	__u32 few, prefixes, lengths4, lengths6;
	/* The one that IPv4 addresses are put into. */
	struct prefix first;
	/* All, the longest first. */
	struct prefix pool6[PREFIXES];
	/* The mappings where there are no more, the longest first: of IPv4, of IPv6. The tables are empty then. */
	struct mapping few4[HANDFUL], few6[HANDFUL];
	/* Lengths of mappings that occur, the longest first. */
	__u8 length4[LENGTHS4 + 3], length6[LENGTHS6 + 3];
};

const volatile struct config CONFIG;
/* Bytes before the IP header: none in a tun device. */
const volatile __u32 BEFORE;
