/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What programs behind somebody else's device have. */
#pragma once

#include "kernel.h"

/* The tun device that this one serves. */
const volatile __u32 INTO;

/* How this program is told from others, and what it was told. */
struct {
	MAP_NUMBER(type, MAP_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u8[96]);
} STRADDLE SECTION(".maps");

/* The mark is held as long as the program is; always true. */
INLINE bool is_marked(void)
{
	__u32 first = 0;
	return bpf_map_lookup_elem(&STRADDLE, &first) != 0;
}
