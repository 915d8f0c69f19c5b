/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Encapsulation of plain packets (RFC 2473, RFC 2784, RFC 4213), and where they leave. */
#pragma once

#include "clients.h"
#include "route.h"

/* The outer header, with what stands between it and the inner packet. */
struct outer4 {
	struct ipv4 ip;
} __attribute__((packed));
struct outer6 {
	struct ipv6 ip;
	struct gre gre;
} __attribute__((packed));

/* Whom a packet goes to: its address, where that is one of IPv4, and the largest inner packet in bytes. */
struct peer {
	__u32 remote, mtu;
	/* Where it is one of several. */
	struct owner *owner;
};

INLINE int find(const struct inner *inner, struct peer *peer)
{
	if (!is_shared()) {
		peer->remote = CARRIER.remote[0];
		peer->mtu = CARRIER.mtu;
		return SLOW_REASONS;
	}
	if (of_the_link(&inner->destination))
		return SLOW_LINK_SCOPE;
	peer->owner = owner_of(&inner->destination);
	if (!peer->owner)
		return SLOW_NO_CLIENT;
	peer->remote = peer->owner->remote;
	peer->mtu = peer->owner->mtu;
	return SLOW_REASONS;
}

INLINE void addresses(struct fib *fib, __u32 remote, __u8 class)
{
	if (outer_is_ipv4()) {
		fib->family = AF_INET;
		*(__u8 *)&fib->class = class;
		fib->source[0] = CARRIER.local[0];
		fib->destination[0] = remote;
		return;
	}
	fib->family = AF_INET6;
	fib->class = BE32((__u32)class << 20);
	for (int i = 0; i < 4; i++) {
		fib->source[i] = CARRIER.local[i];
		fib->destination[i] = CARRIER.remote[i];
	}
}

/* The way of outer packets of a class from the device `from`, as the kernel's routes name it; the path's MTU counts. */
INLINE int route(struct __sk_buff *skb, __u32 from, __u32 remote, __u32 total, __u8 class, struct asked *way)
{
	if (way->ifindex && way->peer == remote && way->class == class && total <= way->mtu)
		return SLOW_REASONS;
	struct fib fib = { .protocol = CARRIER.protocol, .total_len = total, .ifindex = from };
	addresses(&fib, remote, class);
	way->ifindex = 0;
	long end = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (end == TOO_LONG)
		return SLOW_TOO_BIG;
	if ((end != FOUND && end != NO_NEIGHBOUR) || fib.ifindex == from)
		return SLOW_NO_ROUTE;
	way->ifindex = fib.ifindex;
	way->peer = remote;
	way->class = class;
	way->family = fib.family;
	/* What is found has the MTU in it; else it is the length still. */
	way->mtu = fib.total_len;
	for (int i = 0; i < 4; i++)
		way->next_hop[i] = fib.destination[i];
	return SLOW_REASONS;
}

INLINE long write4(struct __sk_buff *skb, const struct inner *inner, __u32 remote)
{
	struct outer4 outer = {};
	outer.ip.version_ihl = 0x45;
	outer.ip.tos = inner->class;
	outer.ip.total_len = BE16(sizeof(outer) + inner->length);
	outer.ip.fragment = BE16(DONT_FRAGMENT);
	outer.ip.ttl = HOPS;
	outer.ip.protocol = CARRIER.protocol;
	outer.ip.source = CARRIER.local[0];
	outer.ip.destination = remote;
	outer.ip.checksum = ~ones_sum(&outer.ip);
	return bpf_skb_store_bytes(skb, ETHERNET, &outer, sizeof(outer), 0);
}

INLINE long write6(struct __sk_buff *skb, const struct inner *inner)
{
	struct outer6 outer = {};
	outer.ip.first = BE32(6U << 28 | (__u32)inner->class << 20);
	outer.ip.payload_len = BE16(prefix_length() + inner->length);
	outer.ip.next_header = CARRIER.protocol;
	outer.ip.hop_limit = HOPS;
	for (int i = 0; i < 2; i++) {
		outer.ip.source[i] = CARRIER.local[2 * i] | (__u64)CARRIER.local[2 * i + 1] << 32;
		outer.ip.destination[i] = CARRIER.remote[2 * i] | (__u64)CARRIER.remote[2 * i + 1] << 32;
	}
	outer.gre.flags = CARRIER.has_key ? BE16(GRE_KEY) : 0;
	outer.gre.protocol = inner->six ? BE16(ETH_P_IPV6) : BE16(ETH_P_IP);
	outer.gre.key = CARRIER.key;
	switch (prefix_length()) {
	case 0:
		return bpf_skb_store_bytes(skb, ETHERNET, &outer, sizeof(outer.ip), 0);
	case 4:
		return bpf_skb_store_bytes(skb, ETHERNET, &outer, sizeof(outer.ip) + 4, 0);
	default:
		return bpf_skb_store_bytes(skb, ETHERNET, &outer, sizeof(outer.ip) + 8, 0);
	}
}

/* What becomes of an inner packet. */
struct parcel {
	struct inner inner;
	struct peer peer;
	struct asked *way;
	/* Bytes of all that stands before the inner packet then. */
	__u32 head;
	/* The longest inner packet that a device makes of this one, in bytes. */
	__u32 longest;
};

/* Finds whom the inner packet goes to that was read, and whether it fits; with `before` bytes of a link header. */
INLINE int measure(struct __sk_buff *skb, __u32 before, struct parcel *parcel)
{
	struct inner *inner = &parcel->inner;
	if (inner->length + before != skb->len)
		return SLOW_SHAPE;
	int slow = find(inner, &parcel->peer);
	if (slow != SLOW_REASONS)
		return slow;
	parcel->longest = longest(skb, 0, inner);
	if (!parcel->longest)
		return SLOW_OFFLOAD;
	parcel->head = (outer_is_ipv4() ? sizeof(struct ipv4) : sizeof(struct ipv6)) + prefix_length();
	return parcel->longest > parcel->peer.mtu || parcel->head + inner->length > 65535 ? SLOW_TOO_BIG :
											      SLOW_REASONS;
}

/* Finds its way out, as one that comes from the device `from`. */
INLINE int find_out(struct __sk_buff *skb, __u32 from, struct parcel *parcel)
{
	return route(skb, from, parcel->peer.remote, parcel->head + parcel->longest, parcel->inner.class,
		     parcel->way);
}

/* Adds what stands before the inner packet; SLOW_REASONS once that is done. With `before` bytes of a link header. */
INLINE int encapsulate(struct __sk_buff *skb, struct counts *counts, __u32 before, const struct parcel *parcel)
{
	__u64 flags = FIXED_GSO | (outer_is_ipv4() ? ENCAP_IPV4 : ENCAP_IPV6);
	if (CARRIER.protocol == GRE_IN)
		flags |= ENCAP_GRE;
	__u32 packets = skb->gso_segs;
	if (bpf_skb_adjust_room(skb, parcel->head, BPF_ADJ_ROOM_MAC, flags))
		return SLOW_REFUSED;
	/* Whoever fills in the link header begins by taking one off. */
	if (!before && bpf_skb_change_head(skb, ETHERNET, 0))
		return lost(counts);
	if (outer_is_ipv4() ? write4(skb, &parcel->inner, parcel->peer.remote) : write6(skb, &parcel->inner))
		return lost(counts);
	count(&counts->outward, packets, parcel->inner.length);
	if (parcel->peer.owner)
		count_client(parcel->peer.owner, packets, parcel->inner.length);
	return SLOW_REASONS;
}

INLINE int send_out(struct __sk_buff *skb, const struct asked *way)
{
	skb->mark = 0;
	struct next_hop next = { way->family, { way->next_hop[0], way->next_hop[1], way->next_hop[2],
						way->next_hop[3] } };
	return -bpf_redirect_neigh(way->ifindex, &next, sizeof(next), 0);
}
