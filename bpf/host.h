/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What a program that passes by a part of the kernel must know of the host. */
#pragma once

#include "kernel.h"

static __u64 (*bpf_jiffies64)(void) = (void *)118;

/* XFRM_POLICY_IN, XFRM_POLICY_OUT, XFRM_POLICY_FWD, XFRM_USERPOLICY_BLOCK (linux/xfrm.h). */
enum { POLICY_IN = 0, POLICY_OUT = 1, POLICY_FWD = 2, DEFAULTS = 3, POLICIES = 6 };
enum { BLOCK = 1 };
/* NF_INET_PRE_ROUTING, NF_INET_FORWARD, NF_INET_POST_ROUTING (linux/netfilter.h). */
enum { PRE_ROUTING = 0, FORWARD = 2, POST_ROUTING = 4, HOOKS = 5 };

/* The way to what IPsec policies the namespace has, and what netfilter calls. */
struct netns_xfrm {
	unsigned int policy_count[POLICIES];
	/* What becomes of packets that there is no policy for. */
	__u8 policy_default[DEFAULTS];
} __attribute__((preserve_access_index));
struct nf_hook_entry {
	void *hook, *priv;
};
struct nf_hook_entries {
	__u16 num_hook_entries;
	/* Behind these, a pointer to the `nf_hook_ops` of each. */
	struct nf_hook_entry hooks[1];
} __attribute__((preserve_access_index));
enum nf_hook_ops_type { NF_HOOK_OP_UNDEFINED };
struct nf_hook_ops {
	enum nf_hook_ops_type hook_ops_type : 8;
	int priority;
} __attribute__((preserve_access_index));
struct netns_nf {
	struct nf_hook_entries *hooks_ipv4[HOOKS], *hooks_ipv6[HOOKS];
} __attribute__((preserve_access_index));
struct hlist_node {
	struct hlist_node *next;
} __attribute__((preserve_access_index));
struct hlist_head {
	struct hlist_node *first;
} __attribute__((preserve_access_index));
struct net {
	/* The namespace's devices by their numbers: NETDEV_HASHENTRIES lists (net/core/dev.h). */
	struct hlist_head *dev_index_head;
	struct netns_xfrm xfrm;
	struct netns_nf nf;
} __attribute__((preserve_access_index));
typedef struct {
	struct net *net;
} __attribute__((preserve_access_index)) possible_net_t;
struct net_device {
	possible_net_t nd_net;
	unsigned short type;
	int ifindex;
	struct hlist_node index_hlist;
	void *rx_handler;
	struct nf_hook_entries *nf_hooks_ingress, *nf_hooks_egress;
} __attribute__((preserve_access_index));
struct sk_buff___dev {
	struct net_device *dev;
} __attribute__((preserve_access_index));

/* The device that a packet is at. */
INLINE struct net_device *device(struct __sk_buff *skb)
{
	struct sk_buff___dev *kernel = (void *)skb;
	struct net_device *dev = 0;
	bpf_probe_read_kernel(&dev, sizeof(dev), __builtin_preserve_access_index(&kernel->dev));
	return dev;
}

/* The network namespace of a device. */
INLINE struct net *namespace(struct net_device *dev)
{
	struct net *net = 0;
	bpf_probe_read_kernel(&net, sizeof(net), __builtin_preserve_access_index(&dev->nd_net.net));
	return net;
}

/* A namespace's device by its number; none where it is not found. */
INLINE struct net_device *device_of(struct net *net, int ifindex)
{
	/* NETDEV_HASHENTRIES, and how long a list is followed. */
	enum { LISTS = 256, MOST = 32 };
	struct hlist_head *lists = 0;
	struct hlist_node *node = 0;
	bpf_probe_read_kernel(&lists, sizeof(lists), __builtin_preserve_access_index(&net->dev_index_head));
	bpf_probe_read_kernel(&node, sizeof(node), &lists[ifindex & (LISTS - 1)]);
	for (int i = 0; i < MOST && node; i++) {
		struct net_device *dev =
			(void *)node - __builtin_preserve_field_info(((struct net_device *)0)->index_hlist, 0);
		int found = 0;
		bpf_probe_read_kernel(&found, sizeof(found), __builtin_preserve_access_index(&dev->ifindex));
		if (found == ifindex)
			return dev;
		bpf_probe_read_kernel(&node, sizeof(node), node);
	}
	return 0;
}

/* Whether netfilter looks at what comes in by a device (nftables' family netdev). */
INLINE bool filters_in(struct net_device *dev)
{
	void *hooks = 0;
	/* Kernels without that hook, and without the one below, have no such field (BPF_FIELD_EXISTS). */
	if (__builtin_preserve_field_info(dev->nf_hooks_ingress, 2))
		bpf_probe_read_kernel(&hooks, sizeof(hooks), __builtin_preserve_access_index(&dev->nf_hooks_ingress));
	return hooks != 0;
}

/* The same of what is sent by it. What a program redirects is not shown to it (nf_skip_egress of the kernel's). */
INLINE bool filters_out(struct net_device *dev)
{
	void *hooks = 0;
	if (__builtin_preserve_field_info(dev->nf_hooks_egress, 2))
		bpf_probe_read_kernel(&hooks, sizeof(hooks), __builtin_preserve_access_index(&dev->nf_hooks_egress));
	return hooks != 0;
}

/* Whether the host has IPsec policies of these directions, a bit each, or lets nothing pass without one: a program's
   packets pass none. */
INLINE bool has_policies(struct net *net, __u32 directions)
{
	unsigned int count[POLICIES] = {};
	__u8 otherwise[DEFAULTS] = {};
	__u32 found = 0;
	/* A kernel without IPsec has no such field (BPF_FIELD_EXISTS). */
	if (!__builtin_preserve_field_info(net->xfrm.policy_count, 2))
		return false;
	bpf_probe_read_kernel(count, sizeof(count), __builtin_preserve_access_index(&net->xfrm.policy_count));
	/* Since Linux 5.16. */
	if (__builtin_preserve_field_info(net->xfrm.policy_default, 2))
		bpf_probe_read_kernel(otherwise, sizeof(otherwise),
				      __builtin_preserve_access_index(&net->xfrm.policy_default));
	for (int direction = POLICY_IN; direction <= POLICY_FWD; direction++)
		found |= directions & 1 << direction ? count[direction] | (otherwise[direction] == BLOCK) : 0;
	return found != 0;
}

INLINE __u32 ip_summed(struct __sk_buff *skb)
{
	struct sk_buff *kernel = (struct sk_buff *)skb;
	return BITS(kernel, ip_summed);
}
