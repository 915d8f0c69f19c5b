/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What comes in by an uplink from a carrier's peer: plain outer packets are opened here, and come in by the carrier's tun
   device as if the slow path had written them; all others go their way. */

#include "host.h"

/* Of these directions are the IPsec policies that count. */
enum { DIRECTIONS = 1 << POLICY_IN };

#include "inward.h"

SECTION("classifier")
int straddle_fast(struct __sk_buff *skb)
{
	__u32 first = 0;
	if (skb->protocol != (outer_is_ipv4() ? BE16(ETH_P_IP) : BE16(ETH_P_IPV6)))
		return TC_ACT_UNSPEC;
	struct counts *counts = bpf_map_lookup_elem(&COUNTS, &first);
	if (!counts || !is_marked())
		return TC_ACT_UNSPEC;
	struct opened opened = {};
	int end = open(skb, &opened);
	if (end == SLOW_REASONS)
		end = decapsulate(skb, counts, &opened);
	return verdict(skb, counts, end == SLOW_REASONS ? come_in(skb) : end);
}

/* Some helpers are for programs under a licence that goes with the kernel's. */
char LICENSE[] SECTION("license") = "Dual MIT/GPL";
