/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* IPv6 to IPv4: RFC 7915 section 5. */
#pragma once

#include "packet.h"

/* The longest IPv4 packet that goes out with DF clear (RFC 7915 section 5.1), in bytes. */
enum { ALWAYS_FITS = 1260 };

INLINE int to4_addresses(const struct ipv6 *old, struct ipv4 *new)
{
	struct address6 source = { BE64(old->source[0]), BE64(old->source[1]) };
	struct address6 destination = { BE64(old->destination[0]), BE64(old->destination[1]) };
	if (!legal6(&source) || !legal6(&destination))
		return SLOW_ADDRESS;
	if (CONFIG.has_own6 && destination.upper == CONFIG.own6.upper && destination.lower == CONFIG.own6.lower)
		return SLOW_ADDRESS;
	__u32 source4, destination4;
	bool by_pool;
	if (!to4(&source, CONFIG.clat ? BY_POOL : EITHER, &source4, &by_pool))
		return SLOW_ADDRESS;
	if (!to4(&destination, CONFIG.clat ? BY_EAM : EITHER, &destination4, &by_pool))
		return SLOW_ADDRESS;
	if (!legal4(source4) || !legal4(destination4))
		return SLOW_ADDRESS;
	struct address6 turned;
	if (CONFIG.intrinsic_hairpin && by_pool && eam_to6(destination4, &turned))
		return SLOW_HAIRPIN;
	new->source = BE32(source4);
	new->destination = BE32(destination4);
	return SLOW_REASONS;
}

/* What becomes of a packet. */
struct plan4 {
	struct ipv6 old;
	struct ipv4 new;
	struct transport found;
	/* Whether the tables have both addresses. */
	bool mapped;
};

/* Plans a translation that takes so many hops; the reason where the packet is not plain. Nothing is written. */
INLINE int plan_to4(struct __sk_buff *skb, __u8 hops, struct plan4 *plan)
{
	struct ipv6 *old = &plan->old, *head = header(skb, 0, sizeof(*head));
	struct ipv4 *new = &plan->new;
	struct transport *found = &plan->found;
	if (!head)
		return SLOW_SHAPE;
	*old = *head;
	__u32 length = BE16(old->payload_len);
	if (sizeof(*old) + length + BEFORE != skb->len)
		return SLOW_SHAPE;
	if (old->hop_limit <= hops)
		return SLOW_HOPS;
	int slow = to4_addresses(old, new);
	if (slow != SLOW_REASONS)
		return slow;
	plan->mapped = true;
	found->at = sizeof(*old);
	found->length = length;
	found->protocol = old->next_header;
	switch (found->protocol) {
	case 44:
		return SLOW_FRAGMENT;
	case 0:
	case 43:
	case 60:
		return SLOW_OPTIONS;
	case ICMP:
		return SLOW_TRANSPORT;
	}
	slow = transport(skb, found);
	if (slow != SLOW_REASONS)
		return slow;
	if (found->protocol == ICMPV6 && found->kind != 128 && found->kind != 129)
		return SLOW_ICMP_KIND;
	__u32 packet = sizeof(*new) + longest(skb, found);
	if (packet > CONFIG.limit4 || sizeof(*new) + length > 65535)
		return SLOW_TOO_BIG;
	new->version_ihl = 0x45;
	new->tos = CONFIG.class < 256 ? CONFIG.class : BE32(old->first) >> 20;
	new->total_len = BE16(sizeof(*new) + length);
	new->id = 0;
	new->fragment = packet > ALWAYS_FITS ? BE16(DONT_FRAGMENT) : 0;
	new->ttl = old->hop_limit - hops;
	new->protocol = found->protocol == ICMPV6 ? ICMP : found->protocol;
	new->checksum = 0;
	return SLOW_REASONS;
}

INLINE void seal(struct ipv4 *new)
{
	const __u16 *words = (const __u16 *)new;
	__u64 sum = 0;
	for (int i = 0; i < 10; i++)
		sum += words[i];
	new->checksum = ~fold(sum);
}

/* Translates as planned: SLOW_REASONS once that is done; the reason where nothing was done, below zero where the packet
   can't be left alone any more. */
INLINE int write_to4(struct __sk_buff *skb, struct counts *counts, struct plan4 *plan)
{
	__u64 sum = sum6(plan->old.source, plan->old.destination);
	__u8 kind = 0;
	__u16 checksum;
	if (plan->found.protocol == ICMPV6) {
		kind = plan->found.kind == 128 ? 8 : 0;
		sum += BE16(ICMPV6) + (__u64)BE32(plan->found.length);
		checksum = update(plan->found.checksum, fold(sum + BE16(plan->found.kind << 8)), BE16(kind << 8));
	} else {
		checksum = readdressed(&plan->found, sum, sum4(plan->new.source, plan->new.destination));
	}
	__u32 packets = skb->gso_segs;
	if (bpf_skb_change_proto(skb, BE16(ETH_P_IP), 0))
		return SLOW_REFUSED;
	if (!plan->new.fragment)
		plan->new.id = identification(counts, bpf_get_smp_processor_id());
	seal(&plan->new);
	struct ipv4 *head = bytes(skb, 0, sizeof(*head));
	if (!head)
		goto lost;
	*head = plan->new;
	if (!put(skb, sizeof(*head), &plan->found, kind, checksum))
		goto lost;
	count(&counts->to4, packets, sizeof(*head) + plan->found.length);
	return SLOW_REASONS;
lost:
	counts->lost++;
	return -TC_ACT_SHOT;
}
