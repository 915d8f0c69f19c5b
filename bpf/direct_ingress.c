/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What comes in by a device that is somebody else's, and would be led into a translator's tun device and out of it: the
   plain packets are translated here and leave at once by the device that the route of the translated one names. All
   that they pass by is asked for before; what is asked holds for a tick of the kernel's clock. All others go their way. */

#include "to4.h"
#include "to6.h"
#include "host.h"
#include "ingress.h"
#include "route.h"

/* Each pass through the host takes one hop, and so does the translator. */
enum { HOPS = 3 };
/* TCP's flag of a packet that begins a connection. */
enum { SYN = 2 };
/* Ethernet and what looks like it (linux/if_arp.h). */
enum { ARPHRD_ETHER = 1 };
/* BPF_FIB_LOOKUP_SKIP_NEIGH: whoever sends finds the neighbour. Linux before 6.3 knows no such flag. */
enum { SKIP_NEIGHBOUR = 4 };
/* Devices of ours that there is room for, and ways that are remembered: a power of two. */
enum { DEVICES = 30, WAYS = 1024 };

static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;

/* The packet is not for the translator: nothing to count. */
enum { FOREIGN = SLOW_REASONS + 1 };

/* What `straddle run` says for a while; crates/kernel has the same structure. */
struct watch {
	/* Until when that holds: CLOCK_MONOTONIC in nanoseconds. */
	__u64 until;
	/* How many chains of ours stand at the forward hook: no direct packet would be held up by them. */
	__u32 chains;
	/* The host's devices that are ours: nothing goes out by them directly. */
	__u32 devices, device[DEVICES];
};

struct {
	MAP_NUMBER(type, MAP_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct watch);
} WATCH SECTION(".maps");

/* What is so of the host in a tick: the reason why nothing goes directly, SLOW_REASONS where there is none. */
struct facts {
	__u64 tick, slow;
};

struct {
	MAP_NUMBER(type, MAP_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct facts);
} FACTS SECTION(".maps");

/* All of a packet that routes and rules may look at, as it stands on the wire. */
struct flow {
	__u64 words[6];
};

/* The way of a flow. */
struct way {
	struct flow flow;
	/* When the host was asked, and the reason why there is none. */
	__u64 tick, slow;
	/* The longest packet that may go into the translator, and out of the host, in bytes. */
	__u32 mtu_in, mtu_out;
	__u32 ifindex;
	struct next_hop hop;
};

/* Each processor's own: nobody sees one half written. */
struct {
	MAP_NUMBER(type, MAP_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, WAYS);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct way);
} REMEMBERED SECTION(".maps");

INLINE __u32 hooks(struct nf_hook_entries *entries)
{
	__u16 count = 0;
	if (entries)
		bpf_probe_read_kernel(&count, sizeof(count),
				      __builtin_preserve_access_index(&entries->num_hook_entries));
	return count;
}

/* Whether nobody is called but AppArmor, which has this place to itself (NF_IP_PRI_SELINUX_FIRST, linux/netfilter_ipv4.h),
   and looks at what the host's own sockets send. Debian and Ubuntu have it in each namespace. A chain of nftables' that
   takes the place says what it is. */
INLINE bool only_apparmor(struct nf_hook_entries *entries)
{
	enum { FIRST = -225 };
	struct nf_hook_ops *one = 0;
	int priority = 0;
	if (hooks(entries) > 1)
		return false;
	if (!entries)
		return true;
	struct nf_hook_entry *begin = __builtin_preserve_access_index(&entries->hooks[0]);
	bpf_probe_read_kernel(&one, sizeof(one), begin + 1);
	bpf_probe_read_kernel(&priority, sizeof(priority), __builtin_preserve_access_index(&one->priority));
	return priority == FIRST && BITS(one, hook_ops_type) == NF_HOOK_OP_UNDEFINED;
}

/* Whether netfilter calls nobody but these chains of ours, each of which is one of either version. */
INLINE bool only_ours(struct net *net, __u32 chains)
{
	struct nf_hook_entries *four[HOOKS] = {}, *six[HOOKS] = {};
	/* A kernel without netfilter (BPF_FIELD_EXISTS). */
	if (!__builtin_preserve_field_info(net->nf.hooks_ipv4, 2))
		return true;
	bpf_probe_read_kernel(four, sizeof(four), __builtin_preserve_access_index(&net->nf.hooks_ipv4));
	bpf_probe_read_kernel(six, sizeof(six), __builtin_preserve_access_index(&net->nf.hooks_ipv6));
	return !four[PRE_ROUTING] && !six[PRE_ROUTING] && only_apparmor(four[POST_ROUTING]) &&
	       only_apparmor(six[POST_ROUTING]) && hooks(four[FORWARD]) == chains && hooks(six[FORWARD]) == chains;
}

/* Why nothing that comes in here may go directly. */
INLINE int look(struct __sk_buff *skb, const struct watch *watch)
{
	struct net_device *dev = device(skb);
	struct net *net = namespace(dev);
	unsigned short type = 0;
	void *handler = 0, *ingress = 0;
	bpf_probe_read_kernel(&type, sizeof(type), __builtin_preserve_access_index(&dev->type));
	bpf_probe_read_kernel(&handler, sizeof(handler), __builtin_preserve_access_index(&dev->rx_handler));
	if (__builtin_preserve_field_info(dev->nf_hooks_ingress, 2))
		bpf_probe_read_kernel(&ingress, sizeof(ingress),
				      __builtin_preserve_access_index(&dev->nf_hooks_ingress));
	if (type != ARPHRD_ETHER)
		return FOREIGN;
	if (handler)
		return SLOW_PORT;
	if (has_policies(net, 1 << POLICY_IN | 1 << POLICY_OUT | 1 << POLICY_FWD))
		return SLOW_IPSEC;
	if (bpf_ktime_get_ns() >= watch->until)
		return SLOW_UNWATCHED;
	return ingress || !only_ours(net, watch->chains) ? SLOW_FIREWALL : SLOW_REASONS;
}

INLINE __u64 facts(struct __sk_buff *skb, const struct watch *watch, __u64 tick)
{
	__u32 first = 0;
	struct facts *facts = bpf_map_lookup_elem(&FACTS, &first);
	if (!facts)
		return FOREIGN;
	if (facts->tick != tick) {
		facts->tick = tick;
		facts->slow = look(skb, watch);
	}
	return facts->slow;
}

/* A question where packets go that have this header, or, `back`, their answers. */
INLINE void question4(struct fib *fib, const struct ipv4 *head, const struct transport *found, bool back)
{
	fib->family = AF_INET;
	fib->protocol = head->protocol;
	fib->sport = found->ports[back];
	fib->dport = found->ports[!back];
	fib->class = 0;
	*(__u8 *)&fib->class = head->tos;
	fib->source[0] = back ? head->destination : head->source;
	fib->destination[0] = back ? head->source : head->destination;
}

INLINE void question6(struct fib *fib, const struct ipv6 *head, const struct transport *found, bool back)
{
	fib->family = AF_INET6;
	fib->protocol = head->next_header;
	fib->sport = found->ports[back];
	fib->dport = found->ports[!back];
	fib->class = head->first & BE32(0x0fffffff);
	__builtin_memcpy(fib->source, back ? head->destination : head->source, sizeof(fib->source));
	__builtin_memcpy(fib->destination, back ? head->source : head->destination, sizeof(fib->destination));
}

/* The device that the host leads it to, of what comes in by a device; none where it may not be followed. `total` bytes. */
INLINE long lead(struct __sk_buff *skb, struct fib *fib, __u32 from, __u32 total)
{
	fib->ifindex = from;
	fib->total_len = total;
	long end = bpf_fib_lookup(skb, fib, sizeof(*fib), SKIP_NEIGHBOUR);
	if (end == INVALID)
		end = bpf_fib_lookup(skb, fib, sizeof(*fib), 0);
	return end == NO_NEIGHBOUR ? FOUND : end;
}

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
		question6(fib, packet->six, packet->found, back);
	else
		question4(fib, packet->four, packet->found, back);
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
		return SLOW_ROUTE;
	way->mtu_in = fib.total_len;
	question(&fib, packet, six, true);
	if (lead(skb, &fib, INTO, 1) != FOUND || fib.ifindex != skb->ifindex)
		return SLOW_ROUTE;
	question(&fib, packet, !six, true);
	if (lead(skb, &fib, INTO, 1) != FOUND || fib.ifindex != INTO)
		return SLOW_ROUTE;
	question(&fib, packet, !six, false);
	end = lead(skb, &fib, INTO, packet->after);
	if (end == TOO_LONG)
		return SLOW_TOO_BIG;
	if (end != FOUND || is_ours(watch, fib.ifindex))
		return SLOW_ROUTE;
	way->mtu_out = fib.total_len;
	way->ifindex = fib.ifindex;
	way->hop.family = fib.family;
	for (int i = 0; i < 4; i++)
		way->hop.address[i] = fib.destination[i];
	return SLOW_REASONS;
}

INLINE bool is_same(const struct flow *one, const struct flow *other)
{
	__u64 differs = 0;
	for (int i = 0; i < 6; i++)
		differs |= one->words[i] ^ other->words[i];
	return !differs;
}

/* The way of a packet, as it was asked for in this tick or the last one. */
INLINE int find_way(struct __sk_buff *skb, const struct flow *flow, const struct versions *packet,
		    const struct watch *watch, __u64 tick, struct way **found)
{
	__u64 place = SEED;
	for (int i = 0; i < 6; i++)
		place = (place ^ flow->words[i]) * 0x9e3779b97f4a7c15ULL;
	__u32 index = place >> 32 & (WAYS - 1);
	struct way *way = bpf_map_lookup_elem(&REMEMBERED, &index);
	if (!way)
		return FOREIGN;
	*found = way;
	if (tick - way->tick <= 1 && is_same(flow, &way->flow) &&
	    (way->slow != SLOW_REASONS || (packet->before <= way->mtu_in && packet->after <= way->mtu_out)))
		return way->slow;
	way->flow = *flow;
	way->slow = ask(skb, packet, watch, way);
	/* Another packet may be shorter. */
	way->tick = way->slow == SLOW_TOO_BIG ? 0 : tick;
	return way->slow;
}

/* It leaves as what the host would have sent. */
INLINE int leave(struct __sk_buff *skb, const struct way *way)
{
	struct next_hop hop = way->hop;
	/* A stale time of departure would hold it up in the next queue. */
	skb->tstamp = 0;
	return -bpf_redirect_neigh(way->ifindex, &hop, sizeof(hop), 0);
}

/* Whether nothing that is known of the packet itself is against it. */
INLINE int admit(struct __sk_buff *skb, const struct transport *found, __u64 facts)
{
	if (facts != SLOW_REASONS)
		return facts;
	if (found->protocol == TCP && (found->flags & SYN))
		return SLOW_SYN;
	/* Rules may go by the mark. */
	return skb->mark ? SLOW_ROUTE : SLOW_REASONS;
}

INLINE __u64 ports(const struct transport *found)
{
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
			       plan.old.destination[1], plan.old.first | ports(&plan.found),
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
			       plan.old.tos | ports(&plan.found), plan.old.protocol } };
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
