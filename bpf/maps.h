/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps of abi.h, those that only the programs read, and counting. */
#ifndef CI_MAPS_H
#define CI_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

#define CI_INLINE static inline __attribute__((always_inline))

/*
 * A function that the verifier goes through on its own, once, and not once more for each path to
 * each call: it has an end (a million instructions), and loading takes as long as it does. What
 * comes out of it may be anything, so far as the verifier knows, and each pointer NULL.
 */
#define CI_APART __attribute__((noinline))

/* A function with its own registers and stack, so that what it needs costs nothing where it is not
 * called. The verifier goes through it at each call, and knows what comes in and out. */
#define CI_ASIDE static __attribute__((noinline))

/*
 * What config holds until user space puts the first rules in: none. Sizes and no types, for
 * Linux before 6.2 takes no map without BTF in place of one with it, and what user space
 * makes has none.
 */
struct ci_config_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ci_config));
} no_rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ci_config_map);
} config SEC(".maps") = {
	.values = { &no_rules },
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CI_GROUPS);
	__type(key, __u32);
	__type(value, struct ci_group);
} groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CI_RULES);
	__type(key, __u32);
	__type(value, struct ci_verdicts);
} verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CI_GROUPS);
	__type(key, __u32);
	__type(value, struct ci_traffic);
} traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CI_PEERS);
	__type(key, __u64);
	__type(value, struct ci_peer);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ci_keys);
} keys SEC(".maps");

/*
 * What became of first fragments, so that later ones fare alike. Only the programs
 * use it, so it is not in abi.h; it is pinned, for those of a successor go on with it.
 */
#define CI_FRAGMENTS 4096			/* packets remembered */
#define CI_FRAGMENT_NS 2000000000ULL		/* for how long; an id may come again later */

/* What the fragments of one packet have in common, RFC 791 and RFC 8200, 4.5. */
struct ci_fragment_key {
	__be32 source_be[4];		/* IPv4: the first word, the others 0 */
	__be32 destination_be[4];
	__be32 id_be;			/* IPv4: 16 bits */
	__u8 protocol;			/* IPv6: 0, for later fragments may name another one */
	__u8 version;			/* of IP */
	__u8 reserved[2];
};

struct ci_fragment {
	__u64 until;			/* CLOCK_MONOTONIC, ns: from then on it says nothing */
	__u64 dropped;			/* whether the first fragment was discarded */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CI_FRAGMENTS);
	__type(key, struct ci_fragment_key);
	__type(value, struct ci_fragment);
} fragments SEC(".maps");

/*
 * Whose a TCP connection is that has the ends of a socket here, by its newest SYN. Not in abi.h
 * for the same reason. What anybody can have noted is apart: many SYNs drive it out, and no more.
 */
#define CI_OPENINGS 16384			/* connections remembered */
#define CI_OWN_OPENINGS 16384			/* and those that anybody can have noted */

struct ci_ends {
	__be32 source_be[4];		/* IPv4: the first word, the others 0 */
	__be32 destination_be[4];
	__be16 source_port_be;
	__be16 destination_port_be;
	__u8 version;			/* of IP */
	__u8 reserved[3];
};

enum ci_whose {
	/* Noted where there is a socket. */
	CI_THEIRS = 1,			/* the SYN was left to another host */
	CI_HALF_OPEN = 2,		/* begun before the bucket drained; no other SYN came since */
	/* Noted of any SYN. */
	CI_OURS = 3,			/* accepted here, and not before the bucket was taken */
	CI_ALONE = 4,			/* the SYN came to this host alone: no other can answer it */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CI_OPENINGS);
	__type(key, struct ci_ends);
	__type(value, __u32);
} openings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CI_OWN_OPENINGS);
	__type(key, struct ci_ends);
	__type(value, __u32);
} own_openings SEC(".maps");

/* Whose a connection is; 0 if nothing is known of it. */
CI_INLINE __u32 ci_whose(const struct ci_ends *ends)
{
	const __u32 *whose = bpf_map_lookup_elem(&openings, ends);

	if (!whose)
		whose = bpf_map_lookup_elem(&own_openings, ends);
	return whose ? *whose : 0;
}

CI_INLINE void ci_note_whose(const struct ci_ends *ends, __u32 whose)
{
	if (whose < CI_OURS) {
		bpf_map_update_elem(&openings, ends, &whose, BPF_ANY);
		bpf_map_delete_elem(&own_openings, ends);
		return;
	}
	bpf_map_update_elem(&own_openings, ends, &whose, BPF_ANY);
	bpf_map_delete_elem(&openings, ends);
}

CI_INLINE void ci_forget_whose(const struct ci_ends *ends)
{
	bpf_map_delete_elem(&openings, ends);
	bpf_map_delete_elem(&own_openings, ends);
}

/* The newest SYN went to another host, and there is no socket here that it could concern. */
CI_INLINE void ci_forget_own(const struct ci_ends *ends)
{
	if (bpf_map_lookup_elem(&own_openings, ends))
		bpf_map_delete_elem(&own_openings, ends);
}

CI_INLINE const struct ci_config *ci_current_config(void)
{
	__u32 first = 0;
	void *inner = bpf_map_lookup_elem(&config, &first);

	return inner ? bpf_map_lookup_elem(inner, &first) : NULL;
}

CI_INLINE void ci_count(__u32 rule, __u32 reason, __u32 bytes)
{
	struct ci_verdicts *counters = bpf_map_lookup_elem(&verdicts, &rule);

	/* Always in range; the verifier of Linux 6.1 forgets constants that lay on the stack. */
	if (!counters || reason >= CI_REASONS)
		return;
	counters->packets[reason]++;
	counters->bytes += bytes;
}

CI_INLINE void ci_count_bucket(__u32 group, __u8 bucket, __u32 bytes)
{
	struct ci_traffic *counters = bpf_map_lookup_elem(&traffic, &group);

	if (!counters)
		return;
	counters->bucket[bucket].packets++;
	counters->bucket[bucket].bytes += bytes;
}

#endif
