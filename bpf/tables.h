/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Addresses: RFC 6052, RFC 7757. One look-up for each length that occurs, the longest first. */
#pragma once

#include "config.h"
#include "perfect.h"

struct key4 {
	__u32 net, length;
};
struct entry4 {
	struct key4 key;
	struct address6 net;
	/* By how many bits the IPv6 suffix is longer. */
	__u64 padding;
};
struct entry6 {
	struct key6 key;
	__u32 net, padding;
};

TABLE_OF(struct entry4) EAM4 SECTION(".maps");
TABLE_OF(struct entry6) EAM6 SECTION(".maps");

enum { EITHER, BY_EAM, BY_POOL };

/* The bits behind a prefix. */
INLINE __u32 suffix_mask4(__u32 length)
{
	return length >= 32 ? 0 : 0xffffffffU >> length;
}

/* An IPv6 prefix with an IPv4 suffix behind it, padded with zeros (RFC 7757 section 3.3.1). */
INLINE void widen(__u64 suffix, __u64 padding, struct address6 *found)
{
	if (padding == 0) {
		found->lower |= suffix;
	} else if (padding < 64) {
		found->lower |= suffix << padding;
		found->upper |= suffix >> (64 - padding);
	} else if (padding < 128) {
		found->upper |= suffix << (padding - 64);
	}
}

/* The other way round; what is left of the suffix is ignored (RFC 7757 section 3.3.2). */
INLINE __u32 narrow(__u64 upper, __u64 lower, __u32 padding)
{
	if (padding == 0)
		return lower;
	if (padding < 64)
		return lower >> padding | upper << (64 - padding);
	return padding < 128 ? upper >> (padding - 64) : 0;
}

INLINE bool eam_to6(__u32 address, struct address6 *found)
{
	for (__u32 i = 0; i < HANDFUL && i < CONFIG.few; i++) {
		const volatile struct mapping *mapping = &CONFIG.few4[i];
		if ((address & mapping->mask4) != mapping->net4)
			continue;
		found->upper = mapping->net6.upper;
		found->lower = mapping->net6.lower;
		widen(address & ~mapping->mask4, mapping->padding, found);
		return true;
	}
	for (__u32 i = 0; i < LENGTHS4 && i < CONFIG.lengths4; i++) {
		struct key4 key = { .length = CONFIG.length4[i] };
		__u32 mask = suffix_mask4(key.length);
		key.net = address & ~mask;
		const struct entry4 *entry = place_of(&EAM4, &key, 1, sizeof(*entry));
		if (!entry || entry->key.net != key.net || entry->key.length != key.length)
			continue;
		*found = entry->net;
		widen(address & mask, entry->padding, found);
		return true;
	}
	return false;
}

INLINE bool eam_to4(const struct address6 *address, __u32 *found)
{
	for (__u32 i = 0; i < HANDFUL && i < CONFIG.few; i++) {
		const volatile struct mapping *mapping = &CONFIG.few6[i];
		__u64 upper = mapping->mask6.upper, lower = mapping->mask6.lower;
		if ((address->upper & upper) != mapping->net6.upper || (address->lower & lower) != mapping->net6.lower)
			continue;
		*found = mapping->net4 | narrow(address->upper & ~upper, address->lower & ~lower, mapping->padding);
		return true;
	}
	for (__u32 i = 0; i < LENGTHS6 && i < CONFIG.lengths6; i++) {
		struct key6 key = network(address, CONFIG.length6[i]);
		const struct entry6 *entry = place_of(&EAM6, &key, 3, sizeof(*entry));
		if (!entry || !same_network(&entry->key, &key))
			continue;
		__u64 upper = address->upper ^ key.net.upper, lower = address->lower ^ key.net.lower;
		*found = entry->net | narrow(upper, lower, entry->padding);
		return true;
	}
	return false;
}

INLINE bool is_private(__u32 address)
{
	__u32 first = address >> 24;
	return first == 0 || first == 10 || first == 127 || address >> 20 == 0xac1 || address >> 16 == 0xc0a8 ||
	       address >> 22 == 0x191 || address >> 8 == 0xc00000 || address >> 17 == 0x6309;
}

/* RFC 6052 section 2.3. */
INLINE void embed(const volatile struct prefix *prefix, __u32 address, struct address6 *found)
{
	__u32 length = prefix->length;
	found->upper = prefix->net.upper;
	found->lower = prefix->net.lower;
	if (length == 96)
		found->lower |= address;
	else if (length == 64)
		found->lower |= (__u64)address << 24;
	else {
		/* The address begins at bit `length`; bits 64 to 71 are left out. */
		__u32 before = 64 - length;
		if (before >= 32)
			found->upper |= (__u64)address << (before - 32);
		else {
			found->upper |= address >> (32 - before);
			found->lower |= (__u64)(__u32)(address << before) << 24;
		}
	}
}

INLINE __u32 extract(const volatile struct prefix *prefix, const struct address6 *address)
{
	__u32 length = prefix->length;
	if (length == 96)
		return address->lower;
	if (length == 64)
		return address->lower >> 24;
	__u32 before = 64 - length;
	if (before >= 32)
		return address->upper >> (before - 32);
	return (__u32)address->upper << (32 - before) | (__u32)(address->lower >> 24) >> before;
}

/* The IPv6 address of an IPv4 address; false where the slow path has to say why not. */
INLINE bool to6(__u32 address, int by, struct address6 *found)
{
	if (by != BY_POOL && eam_to6(address, found))
		return true;
	if (by == BY_EAM || !CONFIG.prefixes)
		return false;
	if (CONFIG.first.public_only && is_private(address))
		return false;
	embed(&CONFIG.first, address, found);
	return true;
}

/* The IPv4 address of an IPv6 address, and whether a prefix gave it. */
INLINE bool to4(const struct address6 *address, int by, __u32 *found, bool *by_pool)
{
	*by_pool = false;
	if (by == BY_EAM || (by == EITHER && !CONFIG.prefixes_first)) {
		if (eam_to4(address, found))
			return true;
		if (by == BY_EAM)
			return false;
	}
	for (__u32 i = 0; i < PREFIXES && i < CONFIG.prefixes; i++) {
		const volatile struct prefix *prefix = &CONFIG.pool6[i];
		if ((address->upper & prefix->mask.upper) != prefix->net.upper ||
		    (address->lower & prefix->mask.lower) != prefix->net.lower)
			continue;
		struct address6 same;
		*found = extract(prefix, address);
		embed(prefix, *found, &same);
		*by_pool = true;
		return same.upper == address->upper && same.lower == address->lower &&
		       !(prefix->public_only && is_private(*found));
	}
	return by == EITHER && CONFIG.prefixes_first && eam_to4(address, found);
}

/* RFC 4291 section 2.5. */
INLINE bool legal6(const struct address6 *address)
{
	if (address->upper == 0 && (address->lower <= 1 || address->lower >> 32 == 0xffff))
		return false;
	return address->upper >> 54 != 0x3fa && address->upper >> 56 != 0xff;
}
