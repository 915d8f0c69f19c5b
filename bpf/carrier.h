/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What both ends of a carrier share: what they are told, what they count, and what they need of the kernel. */
#pragma once

#include "host.h"
#include "lengths.h"
#include "traffic.h"

/* Protocol numbers in the outer header. */
enum { IPIP = 4, IPV6_IN = 41, GRE_IN = 47 };
/* GRE's flag for a key (RFC 2890). */
enum { GRE_KEY = 0x2000 };
/* Hop limit of outer packets. */
enum { HOPS = 64 };

/* A length of clients' networks, and where all of that length lie. */
struct length {
	struct address6 mask, net;
	__u64 length;
};

/* crates/intent has the same structure. */
struct carrier {
	/* The outer addresses as they stand on the wire; one of IPv4 is the first word. */
	__u32 local[4], remote[4];
	/* The outer header's protocol number. */
	__u32 protocol;
	/* GRE's key, in the order of the network. */
	__u32 has_key, key;
	/* The largest inner packet in bytes. */
	__u32 mtu;
	/* Where clients share the device, how many lengths their networks have, the longest first. Then each has a peer's
	   address and a largest packet of its own, and what they carry is IPv6 in IPv4. */
	__u32 lengths, unused;
	struct length length[LENGTHS6];
};

const volatile struct carrier CARRIER;

/* Why a packet is left to the slow path. */
enum slow {
#define SLOW(name) SLOW_##name,
#include "slow_carrier.h"
#undef SLOW
#define SLOW(name) PAST_##name,
#include "slow_direct.h"
#include "slow_lender.h"
#undef SLOW
	SLOW_REASONS,
	/* It is none of this carrier's. */
	FOREIGN,
};
_Static_assert(SLOW_REASONS <= SLOW_ROOM, "a counter for each reason");

/* The loader has the same structure, the translator's: what came out as one and as the other version. */
struct counts {
	struct traffic outward, inward;
	__u64 unused;
	/* Packets that could not be left alone any more when trouble showed: none, if the kernel is right. */
	__u64 lost;
	__u64 slow[SLOW_ROOM];
};

COUNTED_BY(COUNTS, struct counts);

/* What the kernel was asked in a tick of its clock: asking for each packet would cost more than the rest. */
struct asked {
	__u64 tick;
	/* Whether there are IPsec policies. */
	__u32 policies;
	/* The way to a peer of outer packets of a class; none where `ifindex` is zero. Of clients' it is the last. */
	__u32 ifindex, peer, class, family, mtu, next_hop[4];
};

struct {
	MAP_NUMBER(type, MAP_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct asked);
} ASKED SECTION(".maps");

/* GRE, with the key where there is one. */
struct gre {
	__u16 flags, protocol;
	__u32 key;
};

/* Bits of bpf_skb_adjust_room (linux/bpf.h); Linux before 6.3 does not know those of decapsulation. */
enum {
	BPF_ADJ_ROOM_MAC = 1,
	FIXED_GSO = 1 << 0,
	ENCAP_IPV4 = 1 << 1,
	ENCAP_IPV6 = 1 << 2,
	ENCAP_GRE = 1 << 3,
	DECAP_IPV4 = 1 << 7,
	DECAP_IPV6 = 1 << 8,
};
/* Offsets count from the IP header, whatever the device has before it. */
enum { BPF_HDR_START_NET = 1 };
static long (*bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 at, const void *from, __u32 length,
				   __u64 flags) = (void *)9;
static long (*bpf_skb_change_head)(struct __sk_buff *skb, __u32 length, __u64 flags) = (void *)43;
static long (*bpf_skb_adjust_room)(struct __sk_buff *skb, int difference, __u32 mode, __u64 flags) = (void *)50;
static long (*bpf_skb_load_bytes_relative)(const void *skb, __u32 at, void *to, __u32 length,
					   __u32 start) = (void *)68;

/* What is known of this tick; whether there are policies of the includer's `DIRECTIONS`. */
INLINE struct asked *ask(struct __sk_buff *skb)
{
	__u32 first = 0;
	struct asked *asked = bpf_map_lookup_elem(&ASKED, &first);
	__u64 tick = bpf_jiffies64();
	if (asked && asked->tick != tick) {
		asked->tick = tick;
		asked->policies = has_policies(namespace(device(skb)), DIRECTIONS);
		asked->ifindex = 0;
	}
	return asked;
}

/* The bytes from `at` on behind the beginning of the IP header; false where the packet ends before. */
INLINE bool load(struct __sk_buff *skb, __u32 at, void *to, __u32 length)
{
	return !bpf_skb_load_bytes_relative(skb, at, to, length, BPF_HDR_START_NET);
}

/* Whether clients share the device. */
INLINE bool is_shared(void)
{
	return CARRIER.lengths != 0;
}

INLINE bool outer_is_ipv4(void)
{
	return CARRIER.protocol == IPV6_IN;
}

/* Bytes between the outer IP header and the inner packet. */
INLINE __u32 prefix_length(void)
{
	return CARRIER.protocol != GRE_IN ? 0 : CARRIER.has_key ? 8 : 4;
}

/* Whether the carrier takes inner packets of a version. */
INLINE bool takes(bool six)
{
	return CARRIER.protocol == GRE_IN || (CARRIER.protocol == IPV6_IN) == six;
}

INLINE __u16 ones_sum(const struct ipv4 *head)
{
	const __u16 *words = (const __u16 *)head;
	__u64 sum = 0;
	for (int i = 0; i < 10; i++)
		sum += words[i];
	return fold(sum);
}

/* An inner IP header. */
struct inner {
	bool six;
	__u8 class, protocol;
	/* Bytes of the header, and of the whole packet. */
	__u32 header, length;
	/* Where clients share the device. */
	struct address6 source, destination;
	/* One of IPv4. */
	struct ipv4 four;
};

INLINE struct address6 address6(const __u64 *on_the_wire)
{
	return (struct address6){ BE64(on_the_wire[0]), BE64(on_the_wire[1]) };
}

/* Reads the inner header that begins at `at`; the reason where it is not plain. */
INLINE int read_inner(struct __sk_buff *skb, __u32 at, struct inner *inner)
{
	if (!takes(inner->six))
		return SLOW_VERSION;
	if (inner->six) {
		struct ipv6 head;
		if (!load(skb, at, &head, sizeof(head)) || BE32(head.first) >> 28 != 6)
			return SLOW_SHAPE;
		/* A jumbogram's length stands in an option (RFC 2675 section 3). */
		if (!head.payload_len && !head.next_header)
			return SLOW_SHAPE;
		inner->class = BE32(head.first) >> 20;
		inner->protocol = head.next_header;
		inner->header = sizeof(head);
		inner->length = sizeof(head) + BE16(head.payload_len);
		if (is_shared()) {
			inner->source = address6(head.source);
			inner->destination = address6(head.destination);
		}
	} else {
		struct ipv4 head;
		if (!load(skb, at, &head, sizeof(head)) || head.version_ihl >> 4 != 4)
			return SLOW_SHAPE;
		inner->four = head;
		inner->class = head.tos;
		inner->protocol = head.protocol;
		inner->header = (head.version_ihl & 0xf) * 4;
		inner->length = BE16(head.total_len);
		if (inner->header < sizeof(head) || inner->length < inner->header)
			return SLOW_SHAPE;
	}
	return SLOW_REASONS;
}

/* The longest inner packet that a device makes of this one, which begins at `at`; zero where that can't be told. */
INLINE __u32 longest(struct __sk_buff *skb, __u32 at, const struct inner *inner)
{
	if (!skb->gso_size)
		return inner->length;
	__u32 header = inner->header;
	if (inner->protocol == TCP) {
		__u8 offset;
		if (!load(skb, at + inner->header + 12, &offset, 1))
			return 0;
		header += (offset >> 4) * 4;
	} else if (inner->protocol == UDP) {
		header += 8;
	} else {
		return 0;
	}
	return header + skb->gso_size;
}

/* What can neither be left alone nor sent. */
INLINE int lost(struct counts *counts)
{
	counts->lost++;
	return -TC_ACT_SHOT;
}
