/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Tables that are only read: a key stands at one place or nowhere, so each costs the same, whoever chose it, and of a
   large table one line of memory is touched. The loader lays them out (crates/kernel, fast/perfect.rs): a key's hash
   leads to a byte, the shift, and both together to the place (Belazzougui, Botelho, Dietzfelbinger, "Hash, displace, and
   compress", 2009). A table is one array: an element that tells its layout, elements full of shifts, and places. */
#pragma once

#include "kernel.h"

/* crates/kernel has the same structure. */
struct layout {
	__u64 seed;
	/* How many shifts there are, how many elements they take with this one, and how many places are behind. */
	__u32 shifts, before, places;
};

/* Elements are as large as a power of two says, and begin with the key. Only an array that can be mapped begins at a
   page, so that none of them is in two lines of memory. */
#define TABLE_OF(structure)                                                                                          \
	struct {                                                                                                     \
		MAP_NUMBER(type, MAP_ARRAY);                                                                         \
		MAP_NUMBER(map_flags, BPF_F_MMAPABLE);                                                               \
		MAP_NUMBER(max_entries, 1);                                                                          \
		MAP_TYPE(key, __u32);                                                                                \
		MAP_TYPE(value, structure);                                                                          \
	}

/* Of the numbers below `count`, the one that a random one leads to. */
INLINE __u32 below(__u32 count, __u32 random)
{
	return (__u64)count * random >> 32;
}

/* Where a key of so many words must stand, in a table of elements of `size` bytes. Whether it does is for the caller. */
INLINE void *place_of(void *table, const void *key, int words, __u32 size)
{
	__u32 first = 0;
	const struct layout *layout = bpf_map_lookup_elem(table, &first);
	if (!layout)
		return 0;
	__u64 hash = layout->seed;
	for (int i = 0; i < words; i++) {
		__u64 word;
		__builtin_memcpy(&word, key + i * sizeof(word), sizeof(word));
		hash = (hash ^ word) * 0xbf58476d1ce4e5b9ULL;
		hash ^= hash >> 32;
	}
	__u32 number = below(layout->shifts, hash), element = 1 + number / size;
	const __u8 *shifts = bpf_map_lookup_elem(table, &element);
	if (!shifts)
		return 0;
	hash = (hash ^ shifts[number % size] * 0x9e3779b97f4a7c15ULL) * 0x94d049bb133111ebULL;
	element = layout->before + below(layout->places, hash >> 32);
	return bpf_map_lookup_elem(table, &element);
}
