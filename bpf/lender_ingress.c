/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What comes in by the uplink of a host that lends an IPv4 address. Plain outer packets from the borrower are opened here,
   and what was within leaves by the uplink at once; plain packets for the address are encapsulated here and sent to the
   borrower. Both would else pass through the host by the carrier's tun device, and what stands there is asked for before.
   What may not leave at once comes in by that device; all others go their way. */

#include "host.h"

/* Of these directions are the IPsec policies that count for decapsulation; for all else those of any (past.h). */
enum { DIRECTIONS = 1 << POLICY_IN };

#include "inward.h"
#include "outward.h"

/* See past.h. What is sent in the tunnel is IPv4; the outer packets are the host's own. */
enum { BOTH = 0, WORDS = 2 };

#include "past.h"

/* The address that is lent, as it stands on the wire. */
const volatile __u32 LENT;

/* What of all that went past the device, and why other packets did not. */
COUNTED_BY(PAST, struct counts);

/* What is looked at of a TCP header. */
struct tcp {
	__u16 ports[2];
	__u32 numbers[2];
	__u8 offset, flags;
} __attribute__((packed));

/* An inner packet as the host's routes and rules would see it. */
struct seen {
	struct flow flow;
	__u16 ports[2];
};

/* Looks at the inner packet that begins at `at`; the reason where a host that passes it on would do more than that. */
INLINE int see(struct __sk_buff *skb, __u32 at, const struct inner *inner, struct seen *seen)
{
	const struct ipv4 *head = &inner->four;
	if (head->version_ihl != 0x45)
		return PAST_OPTIONS;
	if (head->fragment & BE16(MORE_OR_OFFSET))
		return PAST_FRAGMENT;
	if (ones_sum(head) != 0xffff)
		return SLOW_SHAPE;
	if (head->ttl <= 1)
		return PAST_HOPS;
	if (!legal4(BE32(head->source)) || !legal4(BE32(head->destination)))
		return PAST_ADDRESS;
	struct tcp tcp = {};
	__u32 length = inner->length - sizeof(*head);
	int ports = ports_at(head->protocol);
	at += sizeof(*head);
	if (head->protocol == TCP) {
		if (length < 20 || !load(skb, at, &tcp, sizeof(tcp)))
			return SLOW_SHAPE;
		if (tcp.flags & SYN)
			return PAST_SYN;
	} else if (head->protocol == UDP && length < 8) {
		return SLOW_SHAPE;
	} else if (ports >= 0 && length >= ports + sizeof(tcp.ports)) {
		if (!load(skb, at + ports, &tcp.ports, sizeof(tcp.ports)))
			return SLOW_SHAPE;
	}
	seen->ports[0] = tcp.ports[0];
	seen->ports[1] = tcp.ports[1];
	seen->flow.words[0] = head->source | (__u64)head->destination << 32;
	seen->flow.words[1] = head->tos | (__u64)head->protocol << 8 | (__u64)tcp.ports[0] << 32 |
			      (__u64)tcp.ports[1] << 48;
	return SLOW_REASONS;
}

/* Where the host would lead a packet that came in by one of two devices: by the other, and its answers back. */
INLINE long leads(struct __sk_buff *skb, const struct inner *inner, const struct seen *seen, __u32 from, __u32 to,
		  __u32 total, struct fib *fib)
{
	question4(fib, &inner->four, seen->ports, true);
	if (lead(skb, fib, to, 1) != FOUND || fib->ifindex != from)
		return INVALID;
	*fib = (struct fib){};
	question4(fib, &inner->four, seen->ports, false);
	long end = lead(skb, fib, from, total);
	return end == FOUND && fib->ifindex != to ? INVALID : end;
}

/* Whether the host would pass it on from one device to the other as it is: SLOW_REASONS, with its way. `total` bytes is
   the longest packet that a device makes of this one. */
INLINE int find_way(struct __sk_buff *skb, const struct inner *inner, const struct seen *seen, bool inward,
		    __u32 total, const struct watch *watch, __u64 tick, struct way **found)
{
	struct way *way = place_of_way(&seen->flow);
	if (!way)
		return FOREIGN;
	if (!fits_routes(watch, total, total))
		return SLOW_TOO_BIG;
	*found = way;
	if (remembers(way, &seen->flow, tick, 0, total))
		return way->slow;
	if (inward && filters_out(device(skb))) {
		remember(way, &seen->flow, tick, PAST_FIREWALL);
		return way->slow;
	}
	struct fib fib = {};
	long end = leads(skb, inner, seen, inward ? INTO : skb->ifindex, inward ? skb->ifindex : INTO, total, &fib);
	if (end == FOUND)
		set_out(way, &fib);
	remember(way, &seen->flow, tick,
		 end == FOUND ? SLOW_REASONS : end == TOO_LONG ? SLOW_TOO_BIG : PAST_ROUTE);
	return way->slow;
}

/* Why nothing goes past the device in this tick. */
INLINE int admit(struct __sk_buff *skb, const struct watch *watch, __u64 tick)
{
	__u64 known = facts(skb, watch, tick);
	if (known != SLOW_REASONS)
		return known == FOREIGN ? PAST_PORT : known;
	return ip_summed(skb) == CHECKSUM_COMPLETE ? PAST_CHECKSUM : SLOW_REASONS;
}

/* The host takes a hop of what it passes on (RFC 1812 section 5.3.1), and lets its class say how urgent it is, as
   rt_tos2priority of the kernel's does. The header stands at `at`. */
INLINE bool pass_on(struct __sk_buff *skb, __u32 at, const struct ipv4 *head)
{
	struct {
		__u8 ttl, protocol;
		__u16 checksum;
	} new = { head->ttl - 1, head->protocol, 0 };
	__u16 before, after;
	__builtin_memcpy(&before, &head->ttl, sizeof(before));
	__builtin_memcpy(&after, &new, sizeof(after));
	new.checksum = update(head->checksum, before, after);
	/* TC_PRIO_BESTEFFORT, BULK, INTERACTIVE_BULK, INTERACTIVE (linux/pkt_sched.h), by two bits of the class. */
	skb->priority = 0x4620 >> (head->tos >> 3 & 3) * 4 & 7;
	return !bpf_skb_store_bytes(skb, at + __builtin_offsetof(struct ipv4, ttl), &new, sizeof(new), 0);
}

/* A packet for the address, to the borrower. */
INLINE int lend(struct __sk_buff *skb, struct counts *counts, struct counts *past, const struct watch *watch)
{
	__u32 packets = skb->gso_segs;
	struct parcel parcel = { .way = ask(skb) };
	const struct ipv4 *head = &parcel.inner.four;
	int slow = read_inner(skb, 0, &parcel.inner);
	if (head->destination != LENT || !parcel.way)
		return FOREIGN;
	__u64 tick = bpf_jiffies64();
	struct seen seen = {};
	struct way *way = 0;
	if (slow == SLOW_REASONS)
		slow = admit(skb, watch, tick);
	/* Rules may go by the mark. */
	if (slow == SLOW_REASONS && skb->mark)
		slow = PAST_ROUTE;
	if (slow == SLOW_REASONS)
		slow = see(skb, 0, &parcel.inner, &seen);
	__u32 length = parcel.inner.length;
	bool padded = is_padded(skb, length);
	if (slow == SLOW_REASONS)
		slow = measure(skb, padded ? skb->len - length : ETHERNET, &parcel);
	if (slow == SLOW_REASONS)
		slow = find_way(skb, &parcel.inner, &seen, false, parcel.longest, watch, tick, &way);
	if (slow == SLOW_REASONS)
		slow = find_out(skb, INTO, &parcel);
	if (slow == SLOW_REASONS && padded && !unpad(skb, length))
		slow = SLOW_REFUSED;
	if (slow == SLOW_REASONS)
		slow = encapsulate(skb, counts, ETHERNET, &parcel);
	if (slow != SLOW_REASONS)
		return slow;
	if (!pass_on(skb, ETHERNET + parcel.head, head))
		return lost(counts);
	count(&past->outward, packets, length);
	/* A stale time of departure would hold it up in the next queue. */
	skb->tstamp = 0;
	return send_out(skb, parcel.way);
}

/* Whether what is within an outer packet may leave at once. */
INLINE int may_leave(struct __sk_buff *skb, const struct opened *opened, const struct watch *watch, struct way **way)
{
	__u64 tick = bpf_jiffies64();
	const struct inner *inner = &opened->inner;
	struct seen seen = {};
	if (inner->six)
		return FOREIGN;
	int slow = admit(skb, watch, tick);
	if (slow == SLOW_REASONS)
		slow = see(skb, opened->head, inner, &seen);
	if (slow != SLOW_REASONS)
		return slow;
	if (inner->four.source != LENT)
		return PAST_ADDRESS;
	__u32 one = longest(skb, opened->head, inner);
	if (!one)
		return SLOW_OFFLOAD;
	/* Nothing takes off what may stand behind the packet. */
	return opened->rest == ETHERNET ? find_way(skb, inner, &seen, true, one, watch, tick, way) : SLOW_SHAPE;
}

/* An outer packet from the borrower. */
INLINE int take_back(struct __sk_buff *skb, struct counts *counts, struct counts *past, const struct watch *watch)
{
	struct opened opened = {};
	struct way *way = 0;
	int end = open(skb, &opened);
	if (end != SLOW_REASONS)
		return end;
	int slow = may_leave(skb, &opened, watch, &way);
	end = decapsulate(skb, counts, &opened);
	if (end != SLOW_REASONS)
		return end;
	if (slow < SLOW_REASONS)
		count_reason(past->slow, slow);
	if (slow != SLOW_REASONS || !way)
		return come_in(skb);
	if (!pass_on(skb, ETHERNET, &opened.inner.four))
		return lost(counts);
	count(&past->inward, opened.packets, opened.inner.length);
	skb->mark = 0;
	return leave(skb, way);
}

SECTION("classifier")
int straddle_fast(struct __sk_buff *skb)
{
	__u32 first = 0;
	struct counts *counts = bpf_map_lookup_elem(&COUNTS, &first);
	struct counts *past = bpf_map_lookup_elem(&PAST, &first);
	const struct watch *watch = bpf_map_lookup_elem(&WATCH, &first);
	if (!counts || !past || !watch || !is_marked())
		return TC_ACT_UNSPEC;
	if (skb->protocol == BE16(ETH_P_IPV6))
		return verdict(skb, counts, take_back(skb, counts, past, watch));
	/* What is for another host, or for a VLAN above this device. */
	if (skb->protocol != BE16(ETH_P_IP) || skb->pkt_type || skb->vlan_present)
		return TC_ACT_UNSPEC;
	int end = lend(skb, counts, past, watch);
	if (end < 0)
		return -end;
	if (end < SLOW_REASONS)
		count_reason(past->slow, end);
	return TC_ACT_UNSPEC;
}

/* Some helpers are for programs under a licence that goes with the kernel's. */
char LICENSE[] SECTION("license") = "Dual MIT/GPL";
