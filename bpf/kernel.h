/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What a program must know of the kernel: no header of the system's is needed to compile it. */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef __u8 bool;
#define true 1
#define false 0

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Maps in the manner of libbpf: types and numbers that the loader reads from BTF. */
#define MAP_NUMBER(name, value) int(*name)[value]
#define MAP_TYPE(name, type) typeof(type) *name
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6 };
enum { BPF_F_MMAPABLE = 1 << 10 };

/* The beginning of `struct __sk_buff` of linux/bpf.h. */
struct __sk_buff {
	__u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority;
	__u32 ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end, napi_id;
	__u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port, local_port;
	__u32 data_meta;
	__u64 flow_keys, tstamp;
	__u32 wire_len, gso_segs;
	__u64 sk;
	__u32 gso_size;
};

/* What is read of the kernel's own structure; where it stands in it, the loader finds out (CO-RE). */
struct sk_buff {
	__u8 ip_summed : 2;
	__u16 csum_start, network_header;
} __attribute__((preserve_access_index));

/* A field of some bits in a structure of the kernel's (BPF_FIELD_BYTE_OFFSET, BYTE_SIZE, LSHIFT_U64, RSHIFT_U64 of enum
   bpf_core_relo_kind). */
#define BITS(pointer, field)                                                                                       \
	({                                                                                                         \
		__u64 room = 0;                                                                                    \
		__u32 offset = __builtin_preserve_field_info((pointer)->field, 0);                                 \
		__u32 size = __builtin_preserve_field_info((pointer)->field, 1);                                   \
		bpf_probe_read_kernel(&room, size & 7, (void *)(pointer) + offset);                                \
		room <<= __builtin_preserve_field_info((pointer)->field, 4);                                       \
		room >> __builtin_preserve_field_info((pointer)->field, 5);                                        \
	})

/* Values of `ip_summed` (linux/skbuff.h). */
enum { CHECKSUM_NONE, CHECKSUM_UNNECESSARY, CHECKSUM_COMPLETE, CHECKSUM_PARTIAL };

/* Return values of a classifier with direct action: let others decide; drop. */
enum { TC_ACT_UNSPEC = -1, TC_ACT_SHOT = 2 };
/* What a helper answers to a flag that the kernel does not know: EINVAL. */
enum { INVALID = -22 };
/* Into the device's receive path. */
enum { BPF_F_INGRESS = 1 };

/* Numbers of helpers (enum bpf_func_id). */
static void *(*bpf_map_lookup_elem)(const void *map, const void *key) = (void *)1;
static __u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static long (*bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*bpf_skb_change_proto)(struct __sk_buff *skb, __u16 proto, __u64 flags) = (void *)31;
static long (*bpf_skb_pull_data)(struct __sk_buff *skb, __u32 len) = (void *)39;
static long (*bpf_probe_read_kernel)(void *to, __u32 size, const void *from) = (void *)113;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BE16(value) __builtin_bswap16(value)
#define BE32(value) __builtin_bswap32(value)
#define BE64(value) __builtin_bswap64(value)
#else
#define BE16(value) (value)
#define BE32(value) (value)
#define BE64(value) (value)
#endif
