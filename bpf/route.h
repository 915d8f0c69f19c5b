/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Ways, as the kernel's routes name them. */
#pragma once

#include "kernel.h"

/* `struct bpf_fib_lookup` of linux/bpf.h. */
struct fib {
	__u8 family, protocol;
	__u16 sport, dport, total_len;
	__u32 ifindex, class;
	__u32 source[4], destination[4];
	__u8 rest[16];
};
/* `struct bpf_redir_neigh`. */
struct next_hop {
	__u32 family, address[4];
};
enum { AF_INET = 2, AF_INET6 = 10 };
/* What a look-up ends with (enum in linux/bpf.h): found, and perhaps with the neighbour yet to be asked for. */
enum { FOUND = 0, NO_NEIGHBOUR = 7, TOO_LONG = 8 };

static long (*bpf_fib_lookup)(void *skb, struct fib *fib, int length, __u32 flags) = (void *)69;
static long (*bpf_redirect_neigh)(__u32 ifindex, struct next_hop *next, int length, __u64 flags) = (void *)152;
