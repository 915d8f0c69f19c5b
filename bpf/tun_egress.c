/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What is sent into a translator's tun device: the plain packets are translated here and come back in by
   the same device, all others go on into it, to the slow path. */

#include "to4.h"
#include "to6.h"

/* The translated packet comes in by the device that it was sent into, as if the slow path had written it. */
INLINE int comes_in(struct __sk_buff *skb)
{
	skb->mark = 0;
	/* A stale time of departure would hold it up in the next queue. */
	skb->tstamp = 0;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

INLINE int translate_to4(struct __sk_buff *skb, struct counts *counts)
{
	struct plan4 plan = {};
	int end = plan_to4(skb, 1, &plan);
	if (end == SLOW_REASONS)
		end = write_to4(skb, counts, &plan);
	return end == SLOW_REASONS ? -comes_in(skb) : end;
}

INLINE int translate_to6(struct __sk_buff *skb, struct counts *counts)
{
	struct plan6 plan = {};
	int end = plan_to6(skb, 1, &plan);
	if (end == SLOW_REASONS)
		end = write_to6(skb, counts, &plan);
	return end == SLOW_REASONS ? -comes_in(skb) : end;
}

SECTION("classifier")
int straddle_fast(struct __sk_buff *skb)
{
	__u32 first = 0;
	struct counts *counts = bpf_map_lookup_elem(&COUNTS, &first);
	if (!counts)
		return TC_ACT_UNSPEC;
	int end;
	if (skb->protocol == BE16(ETH_P_IPV6))
		end = translate_to4(skb, counts);
	else if (skb->protocol == BE16(ETH_P_IP))
		end = translate_to6(skb, counts);
	else
		end = SLOW_SHAPE;
	return verdict(counts, end);
}

/* Some helpers are for programs under a licence that goes with the kernel's. */
char LICENSE[] SECTION("license") = "Dual MIT/GPL";
