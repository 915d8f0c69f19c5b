/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What became of packets, and the numbers of those that may be fragmented: each processor's own. */
#pragma once

#include "config.h"
#include "seed.h"
#include "traffic.h"

/* Why a packet is left to the slow path. */
enum slow {
#define SLOW(name) SLOW_##name,
#include "slow.h"
#undef SLOW
#define SLOW(name) PAST_##name,
#include "slow_direct.h"
#undef SLOW
	SLOW_REASONS,
	/* The packet is not for the translator: nothing to count. */
	FOREIGN,
};
_Static_assert(SLOW_REASONS <= SLOW_ROOM, "a counter for each reason");

/* The loader has the same structure. */
struct counts {
	struct traffic to4, to6;
	/* Identifications that were handed out. */
	__u64 identifications;
	/* Packets that could not be left alone any more when trouble showed: none, if the kernel is right. */
	__u64 lost;
	__u64 slow[SLOW_ROOM];
};

COUNTED_BY(COUNTS, struct counts);

INLINE void count_slow(struct counts *counts, __u64 reason)
{
	count_reason(counts->slow, reason);
}

/* What a program returns: the end of its own that is told below zero, or that others decide. */
INLINE int verdict(struct counts *counts, int end)
{
	if (end < 0)
		return -end;
	if (end < SLOW_REASONS)
		count_slow(counts, end);
	return TC_ACT_UNSPEC;
}

/* SplitMix64's finalizer. */
INLINE __u64 mix(__u64 number)
{
	number += 0x9e3779b97f4a7c15ULL;
	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9ULL;
	number = (number ^ number >> 27) * 0x94d049bb133111ebULL;
	return number ^ number >> 31;
}

/* An IPv4 identification as the slow path makes them: each run of 65,536 is all numbers in an order
   that can't be foretold (RFC 7739 section 5.3). */
INLINE __u16 identification(struct counts *counts, __u32 processor)
{
	__u64 number = counts->identifications++;
	__u64 key = mix(SEED ^ (__u64)processor << 48 ^ number >> 16);
	__u16 id = (__u16)number ^ (__u16)key;
	id *= (__u16)(key >> 16) | 1;
	id ^= id >> 7;
	id *= (__u16)(key >> 32) | 1;
	id ^= id >> 9;
	return id ^ (__u16)(key >> 48);
}
