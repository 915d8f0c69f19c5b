/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Networks of IPv6 in tables: one look-up for each length that occurs. */
#pragma once

#include "headers.h"

/* How many lengths there can be. */
enum { LENGTHS6 = 129 };

struct key6 {
	struct address6 net;
	__u64 length;
};

/* The bits behind a prefix. */
INLINE __u64 suffix_mask64(__u32 length)
{
	return length >= 64 ? 0 : ~0ULL >> length;
}

/* The network of this length that an address is in. */
INLINE struct key6 network(const struct address6 *address, __u32 length)
{
	__u64 upper = suffix_mask64(length), lower = suffix_mask64(length < 64 ? 0 : length - 64);
	return (struct key6){ { address->upper & ~upper, address->lower & ~lower }, length };
}

INLINE bool same_network(const struct key6 *one, const struct key6 *other)
{
	return one->net.upper == other->net.upper && one->net.lower == other->net.lower &&
	       one->length == other->length;
}
