/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Decapsulation of plain packets (RFC 2473, RFC 2784, RFC 4213), behind the uplink that a carrier's outer packets come
   in by. */
#pragma once

#include "clients.h"
#include "ingress.h"

/* The outer addresses of clients that share the device. */
struct {
	MAP_NUMBER(type, MAP_HASH);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u32);
} PEERS SECTION(".maps");

/* The outer header; the length of what is behind it, its traffic class, and its source, which may be no client's. */
INLINE int outer4(struct __sk_buff *skb, __u32 *length, __u8 *class, __u32 *source)
{
	struct ipv4 head;
	if (!load(skb, 0, &head, sizeof(head)) || head.protocol != CARRIER.protocol ||
	    head.destination != CARRIER.local[0] || (!is_shared() && head.source != CARRIER.remote[0]))
		return FOREIGN;
	*source = head.source;
	*length = BE16(head.total_len);
	if (head.version_ihl != 0x45 || *length < sizeof(head) || (head.fragment & BE16(MORE_OR_OFFSET)) ||
	    ones_sum(&head) != 0xffff)
		return SLOW_SHAPE;
	*length -= sizeof(head);
	*class = head.tos;
	return SLOW_REASONS;
}

INLINE bool same(const __u64 *found, const volatile __u32 *expected)
{
	return (found[0] == (expected[0] | (__u64)expected[1] << 32)) &&
	       (found[1] == (expected[2] | (__u64)expected[3] << 32));
}

INLINE int outer6(struct __sk_buff *skb, __u32 *length, __u8 *class)
{
	struct ipv6 head;
	if (!load(skb, 0, &head, sizeof(head)) || head.next_header != CARRIER.protocol ||
	    !same(head.source, CARRIER.remote) || !same(head.destination, CARRIER.local))
		return FOREIGN;
	*length = BE16(head.payload_len);
	*class = BE32(head.first) >> 20;
	return BE32(head.first) >> 28 == 6 ? SLOW_REASONS : SLOW_SHAPE;
}

/* Several carriers of one peer differ by their keys. */
INLINE int open_gre(struct __sk_buff *skb, bool *six)
{
	struct gre gre = {};
	__u32 at = sizeof(struct ipv6);
	if (!load(skb, at, &gre, 4))
		return SLOW_SHAPE;
	bool has_key = (gre.flags & BE16(GRE_KEY)) != 0;
	if (has_key != !!CARRIER.has_key)
		return FOREIGN;
	if (gre.flags != (has_key ? BE16(GRE_KEY) : 0))
		return SLOW_GRE;
	if (has_key && !load(skb, at + 4, &gre.key, 4))
		return SLOW_SHAPE;
	if (has_key && gre.key != CARRIER.key)
		return FOREIGN;
	*six = gre.protocol == BE16(ETH_P_IPV6);
	return *six || gre.protocol == BE16(ETH_P_IP) ? SLOW_REASONS : SLOW_GRE;
}

/* RFC 6040 section 4.2, figure 4: whether the inner mark stays as it is. */
INLINE bool mark_stays(__u8 inner, __u8 outer)
{
	inner &= 3;
	outer &= 3;
	return inner == 3 || (outer != 3 && !(inner == 2 && outer == 1));
}

/* A client sends from its own networks alone (BCP 38). Of networks within one another the slow path knows more. */
INLINE int may_send(const struct inner *inner, __u32 remote, struct owner **owner)
{
	if (of_the_link(&inner->destination) || of_the_link(&inner->source))
		return SLOW_LINK_SCOPE;
	*owner = owner_of(&inner->source);
	return *owner && (*owner)->remote == remote ? SLOW_REASONS : SLOW_FOREIGN_SOURCE;
}

/* Whether a packet that is left to the slow path is a peer's. Asked at the end: what goes fast is some client's. */
INLINE bool is_peers(struct __sk_buff *skb)
{
	__u32 source;
	if (!is_shared())
		return true;
	return load(skb, __builtin_offsetof(struct ipv4, source), &source, sizeof(source)) &&
	       bpf_map_lookup_elem(&PEERS, &source);
}

/* Takes the outer header off, with what stands behind it: `head` bytes; SLOW_REASONS once that is done. */
INLINE int strip(struct __sk_buff *skb, struct counts *counts, __u32 head, bool six)
{
	__u64 decap = six ? DECAP_IPV6 : DECAP_IPV4;
	long end = bpf_skb_adjust_room(skb, -(int)head, BPF_ADJ_ROOM_MAC, FIXED_GSO | decap);
	if (end != INVALID)
		return end ? SLOW_REFUSED : SLOW_REASONS;
	/* This kernel keeps the version that the packet has: the outer header becomes one of the other before. */
	if (six != outer_is_ipv4())
		return bpf_skb_adjust_room(skb, -(int)head, BPF_ADJ_ROOM_MAC, FIXED_GSO) ? SLOW_REFUSED :
											  SLOW_REASONS;
	if (bpf_skb_change_proto(skb, six ? BE16(ETH_P_IPV6) : BE16(ETH_P_IP), 0))
		return SLOW_REFUSED;
	int grown = (int)sizeof(struct ipv6) - (int)sizeof(struct ipv4);
	if (!bpf_skb_adjust_room(skb, -(int)head - (six ? grown : -grown), BPF_ADJ_ROOM_MAC, FIXED_GSO))
		return SLOW_REASONS;
	return lost(counts);
}

/* An outer packet, looked at. */
struct opened {
	struct inner inner;
	struct owner *owner;
	/* Bytes of all that stands before the inner packet, and that are not its own and not these. */
	__u32 head, rest;
	/* What a super-packet consists of. */
	__u32 packets;
};

/* Looks at an outer packet; the reason where it is not plain. Nothing is written. */
INLINE int open(struct __sk_buff *skb, struct opened *opened)
{
	/* What is for another host, or for a VLAN above this device. */
	if (skb->pkt_type || skb->vlan_present)
		return FOREIGN;
	struct inner *inner = &opened->inner;
	opened->packets = skb->gso_segs;
	__u32 length = 0, source = 0;
	__u8 class = 0;
	int slow = outer_is_ipv4() ? outer4(skb, &length, &class, &source) : outer6(skb, &length, &class);
	if (slow != SLOW_REASONS)
		return slow;
	struct asked *asked = ask(skb);
	if (!asked || asked->policies)
		return SLOW_IPSEC;
	inner->six = CARRIER.protocol == IPV6_IN;
	if (CARRIER.protocol == GRE_IN) {
		slow = open_gre(skb, &inner->six);
		if (slow != SLOW_REASONS)
			return slow;
	}
	opened->head = (outer_is_ipv4() ? sizeof(struct ipv4) : sizeof(struct ipv6)) + prefix_length();
	slow = read_inner(skb, opened->head, inner);
	if (slow != SLOW_REASONS)
		return slow;
	/* All that may be before the IP header, or behind the packet, is a link header. */
	opened->rest = skb->len - opened->head - inner->length;
	if (inner->length + prefix_length() != length || opened->rest > ETHERNET)
		return SLOW_SHAPE;
	if (!mark_stays(inner->class, class))
		return SLOW_ECN;
	return is_shared() ? may_send(inner, source, &opened->owner) : SLOW_REASONS;
}

/* Takes the outer header off, and counts what was within. */
INLINE int decapsulate(struct __sk_buff *skb, struct counts *counts, const struct opened *opened)
{
	int slow = strip(skb, counts, opened->head, opened->inner.six);
	if (slow != SLOW_REASONS)
		return slow;
	count(&counts->inward, opened->packets, opened->inner.length);
	if (opened->owner)
		count_client(opened->owner, opened->packets, opened->inner.length);
	return SLOW_REASONS;
}

/* It comes in by the carrier's device as if the slow path had written it. */
INLINE int come_in(struct __sk_buff *skb)
{
	skb->mark = 0;
	/* A stale time of departure would hold it up in the next queue. */
	skb->tstamp = 0;
	return -bpf_redirect(INTO, BPF_F_INGRESS);
}

/* What a program returns for an outer packet: the end of its own that is told below zero, or that others decide. */
INLINE int verdict(struct __sk_buff *skb, struct counts *counts, int end)
{
	if (end < 0)
		return -end;
	if (end < SLOW_REASONS && is_peers(skb) && holds_earlier())
		count_reason(counts->slow, end);
	return TC_ACT_UNSPEC;
}
