/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What programs share that send packets past a device of ours: all that these pass by is asked for before; what is asked
   holds for a tick of the kernel's clock. The includer says why a packet is left (`enum slow`), and has
   `BOTH`, whether what netfilter has for either version matters or for IPv4 alone, and `WORDS` of a flow. */
#pragma once

#include "headers.h"
#include "host.h"
#include "ingress.h"
#include "route.h"
#include "seed.h"

/* TCP's flag of a packet that begins a connection. */
enum { SYN = 2 };
/* Ethernet and what looks like it (linux/if_arp.h). */
enum { ARPHRD_ETHER = 1 };
/* BPF_FIB_LOOKUP_SKIP_NEIGH: whoever sends finds the neighbour. Linux before 6.3 knows no such flag. */
enum { SKIP_NEIGHBOUR = 4 };
/* Devices of ours that there is room for, and ways that are remembered: a power of two. */
enum { DEVICES = 31, WAYS = 1024 };

static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;

/* What `straddle run` says for a while; crates/kernel has the same structure. */
struct watch {
	/* Until when that holds: CLOCK_MONOTONIC in nanoseconds. */
	__u64 until;
	/* How many chains of ours stand at the forward hook: no direct packet would be held up by them. */
	__u32 chains;
	/* The least MTU that a route of IPv4 says: the kernel forwards by it, but tells programs of it only where it is
	   locked. The largest number where none says one. */
	__u32 mtu;
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
	__u64 words[WORDS];
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

/* Whether netfilter calls nobody but these chains of ours on the way of forwarded packets. */
INLINE bool only_ours(struct nf_hook_entries **entries, __u32 chains)
{
	return !entries[PRE_ROUTING] && only_apparmor(entries[POST_ROUTING]) && hooks(entries[FORWARD]) == chains;
}

/* The same of a namespace; each of the chains is one of either version. */
INLINE bool passes_ours(struct net *net, __u32 chains)
{
	struct nf_hook_entries *entries[HOOKS] = {};
	/* A kernel without netfilter (BPF_FIELD_EXISTS). */
	if (!__builtin_preserve_field_info(net->nf.hooks_ipv4, 2))
		return true;
	bpf_probe_read_kernel(entries, sizeof(entries), __builtin_preserve_access_index(&net->nf.hooks_ipv4));
	if (!only_ours(entries, chains))
		return false;
	if (!BOTH)
		return true;
	bpf_probe_read_kernel(entries, sizeof(entries), __builtin_preserve_access_index(&net->nf.hooks_ipv6));
	return only_ours(entries, chains);
}

/* Why nothing that comes in here may go directly. */
INLINE int look(struct __sk_buff *skb, const struct watch *watch)
{
	struct net_device *dev = device(skb), *into;
	struct net *net = namespace(dev);
	unsigned short type = 0;
	void *handler = 0;
	bpf_probe_read_kernel(&type, sizeof(type), __builtin_preserve_access_index(&dev->type));
	bpf_probe_read_kernel(&handler, sizeof(handler), __builtin_preserve_access_index(&dev->rx_handler));
	if (type != ARPHRD_ETHER)
		return FOREIGN;
	if (handler)
		return PAST_PORT;
	if (has_policies(net, 1 << POLICY_IN | 1 << POLICY_OUT | 1 << POLICY_FWD))
		return PAST_IPSEC;
	if (bpf_ktime_get_ns() >= watch->until)
		return PAST_UNWATCHED;
	into = device_of(net, INTO);
	if (!into || filters_in(into) || filters_out(into) || filters_in(dev) || !passes_ours(net, watch->chains))
		return PAST_FIREWALL;
	return SLOW_REASONS;
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

/* Where the kernel finds ports for its rules behind the IP header (proto_ports_offset, linux/in.h); below zero where it
   looks for none. */
INLINE int ports_at(__u8 protocol)
{
	switch (protocol) {
	case TCP:
	case UDP:
	case DCCP:
	case ESP:
	case SCTP:
	case UDP_LITE:
		return 0;
	case AH:
		return 4;
	}
	return -1;
}

/* A question where packets go that have this header, or, `back`, their answers. */
INLINE void question4(struct fib *fib, const struct ipv4 *head, const __u16 *ports, bool back)
{
	fib->family = AF_INET;
	fib->protocol = head->protocol;
	fib->sport = ports[back];
	fib->dport = ports[!back];
	fib->class = 0;
	*(__u8 *)&fib->class = head->tos;
	fib->source[0] = back ? head->destination : head->source;
	fib->destination[0] = back ? head->source : head->destination;
}

INLINE void question6(struct fib *fib, const struct ipv6 *head, const __u16 *ports, bool back)
{
	fib->family = AF_INET6;
	fib->protocol = head->next_header;
	fib->sport = ports[back];
	fib->dport = ports[!back];
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

INLINE bool is_same(const struct flow *one, const struct flow *other)
{
	__u64 differs = 0;
	for (int i = 0; i < WORDS; i++)
		differs |= one->words[i] ^ other->words[i];
	return !differs;
}

/* Whether packets as long as these, in bytes, fit into whatever a route says. */
INLINE bool fits_routes(const struct watch *watch, __u32 before, __u32 after)
{
	return before <= watch->mtu && after <= watch->mtu;
}

/* Where the way of a flow is remembered, if it is. */
INLINE struct way *place_of_way(const struct flow *flow)
{
	__u64 place = SEED;
	for (int i = 0; i < WORDS; i++)
		place = (place ^ flow->words[i]) * 0x9e3779b97f4a7c15ULL;
	__u32 index = place >> 32 & (WAYS - 1);
	return bpf_map_lookup_elem(&REMEMBERED, &index);
}

/* Whether what stands there is this flow's, asked for in this tick or the last one, for packets as long as these: the
   longest one that goes into the device, and that goes out of the host, in bytes. */
INLINE bool remembers(const struct way *way, const struct flow *flow, __u64 tick, __u32 before, __u32 after)
{
	return tick - way->tick <= 1 && is_same(flow, &way->flow) &&
	       (way->slow != SLOW_REASONS || (before <= way->mtu_in && after <= way->mtu_out));
}

INLINE void remember(struct way *way, const struct flow *flow, __u64 tick, __u64 slow)
{
	way->flow = *flow;
	way->slow = slow;
	/* Another packet may be shorter. */
	way->tick = slow == SLOW_TOO_BIG ? 0 : tick;
}

/* It leaves by the device that a look-up has named. */
INLINE void set_out(struct way *way, const struct fib *fib)
{
	way->mtu_out = fib->total_len;
	way->ifindex = fib->ifindex;
	way->hop.family = fib->family;
	for (int i = 0; i < 4; i++)
		way->hop.address[i] = fib->destination[i];
}

/* It leaves as what the host would have sent. */
INLINE int leave(struct __sk_buff *skb, const struct way *way)
{
	struct next_hop hop = way->hop;
	/* A stale time of departure would hold it up in the next queue. */
	skb->tstamp = 0;
	return -bpf_redirect_neigh(way->ifindex, &hop, sizeof(hop), 0);
}
