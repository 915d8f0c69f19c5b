/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* IPv4 to IPv6: RFC 7915 section 4. */
#pragma once

#include "packet.h"

/* What becomes of a packet. */
struct plan6 {
	struct ipv4 old;
	struct ipv6 new;
	struct transport found;
	/* Whether the tables have both addresses, and whether Ethernet's padding stands behind the packet. */
	bool mapped, padded;
};

/* Plans a translation that takes so many hops; the reason where the packet is not plain. Nothing is written. */
INLINE int plan_to6(struct __sk_buff *skb, __u8 hops, struct plan6 *plan)
{
	struct ipv4 *old = &plan->old, *head = header(skb, 0, sizeof(*head));
	struct ipv6 *new = &plan->new;
	struct transport *found = &plan->found;
	if (!head)
		return SLOW_SHAPE;
	*old = *head;
	if (old->version_ihl != 0x45)
		return SLOW_OPTIONS;
	__u32 length = BE16(old->total_len);
	plan->padded = BEFORE && is_padded(skb, length);
	if (length < sizeof(*old) || (length + BEFORE != skb->len && !plan->padded))
		return SLOW_SHAPE;
	const __u16 *words = (const __u16 *)old;
	__u64 sum = 0;
	for (int i = 0; i < 10; i++)
		sum += words[i];
	if (fold(sum) != 0xffff)
		return SLOW_SHAPE;
	if (old->fragment & BE16(MORE_OR_OFFSET))
		return SLOW_FRAGMENT;
	if (old->ttl <= hops)
		return SLOW_HOPS;
	__u32 source4 = BE32(old->source), destination4 = BE32(old->destination);
	if (!legal4(source4) || !legal4(destination4) || (CONFIG.has_own4 && destination4 == CONFIG.own4))
		return SLOW_ADDRESS;
	struct address6 source, destination;
	if (!to6(destination4, CONFIG.clat ? BY_POOL : EITHER, &destination))
		return SLOW_ADDRESS;
	if (!to6(source4, CONFIG.clat ? BY_EAM : CONFIG.simple_hairpin ? BY_POOL : EITHER, &source))
		return SLOW_ADDRESS;
	plan->mapped = true;
	found->at = sizeof(*old);
	found->length = length - sizeof(*old);
	found->protocol = old->protocol;
	if (found->protocol == ICMPV6)
		return SLOW_TRANSPORT;
	int slow = transport(skb, found);
	if (slow != SLOW_REASONS)
		return slow;
	if (found->protocol == ICMP && found->kind != 8 && found->kind != 0)
		return SLOW_ICMP_KIND;
	__u32 limit = old->fragment & BE16(DONT_FRAGMENT) ? CONFIG.limit6 : CONFIG.limit6_fragmentable;
	if (sizeof(*new) + longest(skb, found) > limit)
		return SLOW_TOO_BIG;
	__u32 class = CONFIG.class < 256 ? CONFIG.class : old->tos;
	new->first = BE32(6U << 28 | class << 20);
	new->payload_len = BE16(found->length);
	new->next_header = found->protocol == ICMP ? ICMPV6 : found->protocol;
	new->hop_limit = old->ttl - hops;
	new->source[0] = BE64(source.upper);
	new->source[1] = BE64(source.lower);
	new->destination[0] = BE64(destination.upper);
	new->destination[1] = BE64(destination.lower);
	return SLOW_REASONS;
}

/* Translates as planned: SLOW_REASONS once that is done; the reason where nothing was done, below zero where the packet
   can't be left alone any more. */
INLINE int write_to6(struct __sk_buff *skb, struct counts *counts, struct plan6 *plan)
{
	__u64 sum = sum6(plan->new.source, plan->new.destination);
	__u8 kind = 0;
	__u16 checksum;
	if (plan->found.protocol == ICMP) {
		kind = plan->found.kind ? 128 : 129;
		sum += BE16(ICMPV6) + (__u64)BE32(plan->found.length);
		/* Of the first word only the type changes. */
		checksum = update(plan->found.checksum, BE16(plan->found.kind << 8), fold(sum + BE16(kind << 8)));
	} else {
		checksum = readdressed(&plan->found, sum4(plan->old.source, plan->old.destination), sum);
	}
	__u32 packets = skb->gso_segs;
	if (plan->padded && !unpad(skb, sizeof(plan->old) + plan->found.length))
		return SLOW_REFUSED;
	if (bpf_skb_change_proto(skb, BE16(ETH_P_IPV6), 0))
		return SLOW_REFUSED;
	struct ipv6 *head = bytes(skb, 0, sizeof(*head));
	if (!head)
		goto lost;
	*head = plan->new;
	if (!put(skb, sizeof(*head), &plan->found, kind, checksum))
		goto lost;
	count(&counts->to6, packets, sizeof(*head) + plan->found.length);
	return SLOW_REASONS;
lost:
	counts->lost++;
	return -TC_ACT_SHOT;
}
