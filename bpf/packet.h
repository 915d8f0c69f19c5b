/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What both directions share between reading one header and writing the other. */
#pragma once

#include "count.h"
#include "host.h"
#include "tables.h"

/* What is behind the IP header. */
struct transport {
	__u32 at, length;
	__u8 protocol;
	/* Where the checksum is, from the transport's start; none where this is zero. */
	__u8 field;
	/* Bytes of the header that are looked at, and its length where it is that of a super-packet. */
	__u8 header, super_header;
	/* The checksum's sum of the pseudo-header alone stands there: the device is to finish it. */
	bool partial;
	/* Numbers of ICMP messages; TCP's flags. */
	__u8 kind, flags;
	__u16 checksum;
	/* TCP's and UDP's, as they stand on the wire. */
	__u16 ports[2];
};

/* A pointer out of the context. Written so, the compiler can't cut it to the 32 bits that the field has,
   which the verifier takes for a number. */
#define POINTER(skb, field)                                                                         \
	({                                                                                          \
		void *pointer;                                                                      \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                               \
			     : "=r"(pointer)                                                        \
			     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, field)));         \
		pointer;                                                                            \
	})

/* The bytes from `at` on, `length` of them; none where the packet ends before. */
INLINE void *bytes(struct __sk_buff *skb, __u32 at, __u32 length)
{
	void *start = POINTER(skb, data) + BEFORE + at;
	return start + length > POINTER(skb, data_end) ? 0 : start;
}

/* As `bytes`, for headers that may not yet be where they can be read. */
INLINE void *header(struct __sk_buff *skb, __u32 at, __u32 length)
{
	void *found = bytes(skb, at, length);
	if (found || BEFORE + at + length > skb->len)
		return found;
	if (bpf_skb_pull_data(skb, BEFORE + at + length))
		return 0;
	return bytes(skb, at, length);
}

/* Whether a checksum left to the device is the transport's own; that of something within is not. */
INLINE bool own_checksum(struct __sk_buff *skb, const struct transport *transport)
{
	struct sk_buff *kernel = (struct sk_buff *)skb;
	struct {
		__u16 start, offset;
	} csum = {};
	__u16 network = 0;
	/* Both stand in the room of one 32-bit number. */
	bpf_probe_read_kernel(&csum, 4, __builtin_preserve_access_index(&kernel->csum_start));
	bpf_probe_read_kernel(&network, 2, __builtin_preserve_access_index(&kernel->network_header));
	return csum.start == (__u16)(network + transport->at) && csum.offset == transport->field;
}

/* Reads what must be known of the transport; the reason where it is not plain. */
INLINE int transport(struct __sk_buff *skb, struct transport *found)
{
	switch (found->protocol) {
	case TCP:
		found->header = 20;
		found->field = 16;
		break;
	case UDP:
		found->header = 8;
		found->field = 6;
		break;
	case ICMP:
	case ICMPV6:
		found->header = 8;
		found->field = 2;
		break;
	/* Extension headers of IPv6, IGMP, and what has its checksum where UDP has it. */
	case 0:
	case 2:
	case 43:
	case 44:
	case 60:
	case DCCP:
	case UDP_LITE:
		return SLOW_TRANSPORT;
	}
	if (found->length < found->header)
		return SLOW_SHAPE;
	__u32 summed = ip_summed(skb);
	if (summed == CHECKSUM_COMPLETE)
		return SLOW_OFFLOAD;
	found->partial = summed == CHECKSUM_PARTIAL;
	if (skb->gso_size && !(found->partial && found->protocol == TCP))
		return SLOW_OFFLOAD;
	if (!found->header)
		return found->partial ? SLOW_OFFLOAD : SLOW_REASONS;
	if (found->partial && (found->protocol == ICMP || found->protocol == ICMPV6 || !own_checksum(skb, found)))
		return SLOW_OFFLOAD;
	__u8 *start = header(skb, found->at, 8);
	if (!start)
		return SLOW_SHAPE;
	found->kind = start[0];
	if (found->protocol == TCP || found->protocol == UDP) {
		found->ports[0] = ((__u16 *)start)[0];
		found->ports[1] = ((__u16 *)start)[1];
	}
	if (found->protocol == TCP) {
		start = header(skb, found->at, 20);
		if (!start)
			return SLOW_SHAPE;
		found->super_header = (start[12] >> 4) * 4;
		found->flags = start[13];
		if (skb->gso_size && (found->super_header < 20 || found->super_header > found->length))
			return SLOW_SHAPE;
		found->checksum = *(__u16 *)(start + 16);
	} else if (found->protocol == UDP) {
		found->checksum = *(__u16 *)(start + 6);
		if (!found->checksum)
			return SLOW_ZERO_CHECKSUM;
	} else {
		found->checksum = *(__u16 *)(start + 2);
	}
	return SLOW_REASONS;
}

/* Length of transport header and payload of the longest packet that a device makes of this one. */
INLINE __u32 longest(struct __sk_buff *skb, const struct transport *found)
{
	__u32 one = found->super_header + skb->gso_size;
	return skb->gso_size && one < found->length ? one : found->length;
}

/* The checksum of TCP or UDP after the addresses changed whose sums are given. */
INLINE __u16 readdressed(const struct transport *found, __u64 old, __u64 new)
{
	__u16 checksum = found->checksum;
	if (found->partial)
		return ~update(~checksum, fold(old), fold(new));
	checksum = update(checksum, fold(old), fold(new));
	return found->protocol == UDP && !checksum ? 0xffff : checksum;
}

/* Puts a checksum, and an ICMP type, in place; false where that can't be. */
INLINE bool put(struct __sk_buff *skb, __u32 at, const struct transport *found, __u8 kind, __u16 checksum)
{
	if (!found->header)
		return true;
	__u8 *start = bytes(skb, at, 8);
	if (!start)
		return false;
	if (found->protocol == UDP) {
		*(__u16 *)(start + 6) = checksum;
	} else if (found->protocol == TCP) {
		start = bytes(skb, at, 18);
		if (!start)
			return false;
		*(__u16 *)(start + 16) = checksum;
	} else {
		start[0] = kind;
		*(__u16 *)(start + 2) = checksum;
	}
	return true;
}
