/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Clients that share a device: whose an inner address is, as the slow path finds it (crates/serve,
   carrier/clients.rs), and what was carried for each. */
#pragma once

#include "carrier.h"

/* Whose a network is. */
struct owner {
	/* The client's outer address as it stands on the wire, and its place. */
	__u32 remote, place;
	/* The largest inner packet in bytes. */
	__u32 mtu, unused;
};

struct {
	MAP_NUMBER(type, MAP_HASH);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, struct key6);
	MAP_TYPE(value, struct owner);
} OWNERS SECTION(".maps");

/* What was carried for each client, by its place; behind them all, what programs before this one have carried. */
struct {
	MAP_NUMBER(type, MAP_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, 2);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct traffic);
} TRAFFIC SECTION(".maps");

/* The longest of all networks that an address is in. */
INLINE const struct owner *owner_of(const struct address6 *address)
{
	for (__u32 i = 0; i < LENGTHS6 && i < CARRIER.lengths; i++) {
		struct key6 key = network(address, CARRIER.length[i]);
		const struct owner *found = bpf_map_lookup_elem(&OWNERS, &key);
		if (found)
			return found;
	}
	return 0;
}

/* Whether an address means nothing beyond one link: multicast, link-local, unspecified. */
INLINE bool of_the_link(const struct address6 *address)
{
	return address->upper >> 56 == 0xff || address->upper >> 54 == 0x3fa || !(address->upper | address->lower);
}

/* Counts for a client what `count` counts for all. */
INLINE void count_client(__u32 place, __u32 packets, __u32 bytes)
{
	struct traffic *traffic = bpf_map_lookup_elem(&TRAFFIC, &place);
	if (traffic)
		count(traffic, packets, bytes);
}
