/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What every program counts. */
#pragma once

#include "kernel.h"

/* Counters of reasons that there is room for: a power of two. */
enum { SLOW_ROOM = 32 };

struct traffic {
	__u64 packets, bytes, passes;
};

/* The map of what a program counts. The second entry is what programs before this one have counted. */
#define COUNTED_BY(name, structure)                                                                                  \
	struct {                                                                                                     \
		MAP_NUMBER(type, MAP_PERCPU_ARRAY);                                                                  \
		MAP_NUMBER(max_entries, 2);                                                                          \
		MAP_TYPE(key, __u32);                                                                                \
		MAP_TYPE(value, structure);                                                                          \
	} name SECTION(".maps")

/* Packets as a wire would see them, bytes with the headers of a super-packet once. */
INLINE void count(struct traffic *traffic, __u32 packets, __u32 bytes)
{
	traffic->packets += packets ? packets : 1;
	traffic->bytes += bytes;
	traffic->passes += 1;
}

INLINE void count_reason(__u64 *slow, __u64 reason)
{
	/* Linux 6.1's verifier does not follow a comparison of 32 bits; the compiler would leave the mask out. */
	asm volatile("%0 &= %1" : "+r"(reason) : "i"(SLOW_ROOM - 1));
	slow[reason]++;
}
