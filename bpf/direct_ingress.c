/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What comes in by a device that is somebody else's, and would be led into a translator's tun device and out of it: the
   plain packets are translated here and leave at once by the device that the route of the translated one names. All
   that they pass by is asked for before; what is asked holds for a tick of the kernel's clock. All others go their way. */

#include "to4.h"
#include "to6.h"

/* Each pass through the host takes one hop, and so does the translator. */
enum { HOPS = 3 };
/* See past.h. */
enum { BOTH = 1, WORDS = 6 };

#include "past.h"

INLINE bool is_ours(const struct watch *watch, __u32 ifindex)
{
	for (__u32 i = 0; i < DEVICES && i < watch->devices; i++)
		if (watch->device[i] == ifindex)
			return true;
	return ifindex == INTO;
}

/* What of a question differs between the versions. */
struct versions {
	const struct ipv4 *four;
	const struct ipv6 *six;
	const struct transport *found;
	/* Whether the packet comes in as IPv6, and the longest one before and after, in bytes. */
	bool six_first;
	__u32 before, after;
};

INLINE void question(struct fib *fib, const struct versions *packet, bool six, bool back)
{
	if (six)
		question6(fib, packet->six, packet->found->ports, back);
	else
		question4(fib, packet->four, packet->found->ports, back);
}

/* Asks the host where it would lead a packet; the reason where that is not through the translator and out. */
INLINE int ask(struct __sk_buff *skb, const struct versions *packet, const struct watch *watch, struct way *way)
{
	bool six = packet->six_first;
	struct fib fib = {};
	question(&fib, packet, six, false);
	long end = lead(skb, &fib, skb->ifindex, packet->before);
	if (end == TOO_LONG)
		return SLOW_TOO_BIG;
	if (end != FOUND || fib.ifindex != INTO)
		return PAST_ROUTE;
	way->mtu_in = fib.total_len;
	question(&fib, packet, six, true);
	if (lead(skb, &fib, INTO, 1) != FOUND || fib.ifindex != skb->ifindex)
		return PAST_ROUTE;
	question(&fib, packet, !six, true);
	if (lead(skb, &fib, INTO, 1) != FOUND || fib.ifindex != INTO)
		return PAST_ROUTE;
	question(&fib, packet, !six, false);
	end = lead(skb, &fib, INTO, packet->after);
	if (end == TOO_LONG)
		return SLOW_TOO_BIG;
	if (end != FOUND || is_ours(watch, fib.ifindex))
		return PAST_ROUTE;
	struct net_device *out = device_of(namespace(device(skb)), fib.ifindex);
	if (!out || filters_out(out))
		return PAST_FIREWALL;
	set_out(way, &fib);
	return SLOW_REASONS;
}

/* The way of a packet, as it was asked for in this tick or the last one. */
INLINE int find_way(struct __sk_buff *skb, const struct flow *flow, const struct versions *packet,
		    const struct watch *watch, __u64 tick, struct way **found)
{
	struct way *way = place_of_way(flow);
	if (!way)
		return FOREIGN;
	if (!fits_routes(watch, packet->before, packet->after))
		return SLOW_TOO_BIG;
	*found = way;
	if (!remembers(way, flow, tick, packet->before, packet->after))
		remember(way, flow, tick, ask(skb, packet, watch, way));
	return way->slow;
}

/* Whether nothing that is known of the packet itself is against it. */
INLINE int admit(struct __sk_buff *skb, const struct transport *found, __u64 facts)
{
	if (facts != SLOW_REASONS)
		return facts;
	if (found->protocol == TCP && (found->flags & SYN))
		return PAST_SYN;
	/* Rules may go by the mark. */
	return skb->mark ? PAST_ROUTE : SLOW_REASONS;
}

INLINE __u64 ports(struct __sk_buff *skb, struct transport *found)
{
	int at = ports_at(found->protocol);
	/* Those of TCP and UDP are known; what is too short has none. */
	bool unknown = at >= 0 && !found->header && found->length >= at + sizeof(found->ports);
	__u16 *start = unknown ? header(skb, found->at + at, sizeof(found->ports)) : 0;
	if (start) {
		found->ports[0] = start[0];
		found->ports[1] = start[1];
	}
	return (__u64)found->ports[0] << 32 | (__u64)found->ports[1] << 48;
}

INLINE int direct_to4(struct __sk_buff *skb, struct counts *counts, const struct watch *watch)
{
	__u64 tick = bpf_jiffies64(), known = facts(skb, watch, tick);
	struct plan4 plan = {};
	if (known == FOREIGN)
		return FOREIGN;
	int end = plan_to4(skb, HOPS, &plan);
	if (end == SLOW_REASONS)
		end = admit(skb, &plan.found, known);
	if (end != SLOW_REASONS)
		return plan.mapped ? end : FOREIGN;
	struct flow flow = { { plan.old.source[0], plan.old.source[1], plan.old.destination[0],
			       plan.old.destination[1], plan.old.first | ports(skb, &plan.found),
			       plan.old.next_header } };
	__u32 length = longest(skb, &plan.found);
	struct versions packet = { &plan.new, &plan.old, &plan.found, true, sizeof(plan.old) + length,
				   sizeof(plan.new) + length };
	struct way *way = 0;
	end = find_way(skb, &flow, &packet, watch, tick, &way);
	if (end == SLOW_REASONS)
		end = write_to4(skb, counts, &plan);
	return end == SLOW_REASONS ? leave(skb, way) : end;
}

INLINE int direct_to6(struct __sk_buff *skb, struct counts *counts, const struct watch *watch)
{
	__u64 tick = bpf_jiffies64(), known = facts(skb, watch, tick);
	struct plan6 plan = {};
	if (known == FOREIGN)
		return FOREIGN;
	int end = plan_to6(skb, HOPS, &plan);
	if (end == SLOW_REASONS)
		end = admit(skb, &plan.found, known);
	if (end != SLOW_REASONS)
		return plan.mapped ? end : FOREIGN;
	/* No IPv6 packet has the unspecified address in these places. */
	struct flow flow = { { plan.old.source | (__u64)plan.old.destination << 32, 0, 0, 0,
			       plan.old.tos | ports(skb, &plan.found), plan.old.protocol } };
	__u32 length = longest(skb, &plan.found);
	struct versions packet = { &plan.old, &plan.new, &plan.found, false, sizeof(plan.old) + length,
				   sizeof(plan.new) + length };
	struct way *way = 0;
	end = find_way(skb, &flow, &packet, watch, tick, &way);
	if (end == SLOW_REASONS)
		end = write_to6(skb, counts, &plan);
	return end == SLOW_REASONS ? leave(skb, way) : end;
}

SECTION("classifier")
int straddle_fast(struct __sk_buff *skb)
{
	__u32 first = 0;
	struct counts *counts = bpf_map_lookup_elem(&COUNTS, &first);
	const struct watch *watch = bpf_map_lookup_elem(&WATCH, &first);
	/* What is for another host, or for a VLAN above this device. */
	if (!counts || !watch || skb->pkt_type || skb->vlan_present || !is_marked())
		return TC_ACT_UNSPEC;
	int end = FOREIGN;
	if (skb->protocol == BE16(ETH_P_IPV6))
		end = direct_to4(skb, counts, watch);
	else if (skb->protocol == BE16(ETH_P_IP))
		end = direct_to6(skb, counts, watch);
	return verdict(counts, end);
}

/* Some helpers are for programs under a licence that goes with the kernel's. */
char LICENSE[] SECTION("license") = "Dual MIT/GPL";
