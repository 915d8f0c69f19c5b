/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What is sent into a carrier's tun device: plain packets are encapsulated here and leave by the device that the route
   to the peer names; all others go on into the tun device, to the slow path. */

#include "host.h"

/* Of these directions are the IPsec policies that count. */
enum { DIRECTIONS = 1 << POLICY_OUT };

#include "outward.h"

/* Bytes before the IP header: none in a tun device. */
const volatile __u32 BEFORE;

INLINE int carry(struct __sk_buff *skb, struct counts *counts)
{
	struct parcel parcel = { .inner.six = skb->protocol == BE16(ETH_P_IPV6), .way = ask(skb) };
	if (!parcel.inner.six && skb->protocol != BE16(ETH_P_IP))
		return SLOW_VERSION;
	if (!parcel.way || parcel.way->policies)
		return SLOW_IPSEC;
	int slow = read_inner(skb, 0, &parcel.inner);
	if (slow == SLOW_REASONS)
		slow = measure(skb, BEFORE, &parcel);
	if (slow == SLOW_REASONS)
		slow = find_out(skb, skb->ifindex, &parcel);
	if (slow == SLOW_REASONS)
		slow = encapsulate(skb, counts, BEFORE, &parcel);
	return slow == SLOW_REASONS ? send_out(skb, parcel.way) : slow;
}

SECTION("classifier")
int straddle_fast(struct __sk_buff *skb)
{
	__u32 first = 0;
	struct counts *counts = bpf_map_lookup_elem(&COUNTS, &first);
	if (!counts)
		return TC_ACT_UNSPEC;
	int end = carry(skb, counts);
	/* What is below zero is an end of its own, with its sign changed. */
	if (end < 0)
		return -end;
	if (holds_earlier())
		count_reason(counts->slow, end);
	return TC_ACT_UNSPEC;
}

/* Some helpers are for programs under a licence that goes with the kernel's. */
char LICENSE[] SECTION("license") = "Dual MIT/GPL";
