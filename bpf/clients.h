/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Clients that share a device: whose an inner address is, as the slow path finds it (crates/serve,
   carrier/clients.rs), and what was carried for each. */
#pragma once

#include "carrier.h"
#include "perfect.h"

/* Whose a network is, and what was carried for it. All stands in one line of memory: of 10,000 clients nothing is near. */
struct owner {
	struct key6 key;
	/* The client's outer address as it stands on the wire, and its place. */
	__u32 remote, place;
	/* The largest inner packet in bytes. */
	__u32 mtu, unused;
	struct traffic traffic;
};

TABLE_OF(struct owner) OWNERS SECTION(".maps");

/* What programs before this one have carried for each client, by its place. */
struct {
	MAP_NUMBER(type, MAP_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct traffic);
} EARLIER SECTION(".maps");

/* The longest of all networks that an address is in. */
INLINE struct owner *owner_of(const struct address6 *address)
{
	for (__u32 i = 0; i < LENGTHS6 && i < CARRIER.lengths; i++) {
		const volatile struct length *length = &CARRIER.length[i];
		if ((address->upper & length->mask.upper) != length->net.upper ||
		    (address->lower & length->mask.lower) != length->net.lower)
			continue;
		struct key6 key = network(address, length->length);
		struct owner *found = place_of(&OWNERS, &key, 3, sizeof(*found));
		if (found && same_network(&found->key, &key))
			return found;
	}
	return 0;
}

/* Whether an address means nothing beyond one link: multicast, link-local, unspecified. */
INLINE bool of_the_link(const struct address6 *address)
{
	return address->upper >> 56 == 0xff || address->upper >> 54 == 0x3fa || !(address->upper | address->lower);
}

/* Counts for a client what `count` counts for all; its packets may be on several processors at once. */
INLINE void count_client(struct owner *owner, __u32 packets, __u32 bytes)
{
	__sync_fetch_and_add(&owner->traffic.packets, packets ? packets : 1);
	__sync_fetch_and_add(&owner->traffic.bytes, bytes);
	__sync_fetch_and_add(&owner->traffic.passes, 1);
}

/* What earlier programs have carried is held as long as this one is; always true. */
INLINE bool holds_earlier(void)
{
	__u32 first = 0;
	return bpf_map_lookup_elem(&EARLIER, &first) != 0;
}
