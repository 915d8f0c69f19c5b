/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What a program is told before it is loaded: constants to the verifier, which leaves out what they rule out. */
#pragma once

#include "headers.h"

enum { PREFIXES = 8, LENGTHS4 = 33, LENGTHS6 = 129 };

/* A prefix of RFC 6052. */
struct prefix {
	struct address6 net, mask;
	__u32 length;
	/* Whether private IPv4 addresses may not stand in it. */
	__u32 public_only;
};

/* The loader has the same structure. */
struct config {
	struct address6 own6;
	__u64 seed;
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
	/* Bytes before the IP header: none in a tun device. */
	__u32 before;
	__u32 prefixes, lengths4, lengths6;
	/* The one that IPv4 addresses are put into. */
	struct prefix first;
	/* All, the longest first. */
	struct prefix pool6[PREFIXES];
	/* Lengths of mappings that occur, the longest first. */
	__u8 length4[LENGTHS4 + 3], length6[LENGTHS6 + 3];
};

const volatile struct config CONFIG;
