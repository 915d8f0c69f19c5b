/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Headers of packets, in the order of the wire, and checksums (RFC 1071, RFC 1624). */
#pragma once

#include "kernel.h"

enum { ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd };
enum { ICMP = 1, TCP = 6, UDP = 17, DCCP = 33, ESP = 50, AH = 51, ICMPV6 = 58, SCTP = 132, UDP_LITE = 136 };

/* Bytes of an Ethernet header, and of the shortest frame without its checksum (IEEE 802.3 section 3.2.7). */
enum { ETHERNET = 14, SHORTEST = 60 };

struct ipv4 {
	__u8 version_ihl, tos;
	__u16 total_len, id, fragment;
	__u8 ttl, protocol;
	__u16 checksum;
	__u32 source, destination;
} __attribute__((packed));

struct ipv6 {
	__u32 first;
	__u16 payload_len;
	__u8 next_header, hop_limit;
	__u64 source[2], destination[2];
} __attribute__((packed));

/* Bits of `fragment`. */
enum { DONT_FRAGMENT = 0x4000, MORE_OR_OFFSET = 0x3fff };

/* An IPv6 address as two numbers in the processor's order. */
struct address6 {
	__u64 upper, lower;
};

/* Folds a sum of 32-bit halves; zero only where everything summed was zero. */
INLINE __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* RFC 1624, equation 3. */
INLINE __u16 update(__u16 checksum, __u16 old, __u16 new)
{
	__u64 sum = (__u16)~checksum;
	return ~fold(sum + (__u16)~old + new);
}

/* Sums of both addresses, as they stand on the wire. */
INLINE __u64 sum4(__u32 source, __u32 destination)
{
	return (__u64)source + destination;
}

INLINE __u64 halves(__u64 word)
{
	return (word & 0xffffffff) + (word >> 32);
}

INLINE __u64 sum6(const __u64 *source, const __u64 *destination)
{
	return halves(source[0]) + halves(source[1]) + halves(destination[0]) + halves(destination[1]);
}

/* Whether it can be the address of one host on the internet (RFC 1812 section 5.3.7, RFC 3927 section 7). */
INLINE bool legal4(__u32 address)
{
	__u32 first = address >> 24;
	return first != 0 && first != 127 && first < 224 && address >> 16 != 0xa9fe;
}

static long (*bpf_skb_change_tail)(struct __sk_buff *skb, __u32 length, __u64 flags) = (void *)38;

/* Whether a frame is longer than its packet of `length` bytes only because Ethernet knows none that short. */
INLINE bool is_padded(struct __sk_buff *skb, __u32 length)
{
	return ETHERNET + length < skb->len && skb->len <= SHORTEST;
}

/* Takes off what was added to a packet of `length` bytes, as a host does that reads it; false where that can't be. */
INLINE bool unpad(struct __sk_buff *skb, __u32 length)
{
	return !bpf_skb_change_tail(skb, ETHERNET + length, 0);
}
