/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What helps programs with other maps to take the place of those before, while packets come. None
 * of it is on the path of a packet to a VIP. src/clusterip/adapters/takeover.py argues the order.
 */
#ifndef CI_TAKEOVER_H
#define CI_TAKEOVER_H

#include "beat.h"
#include "maps.h"

/* Which layout this object has, for who has not loaded it: the lowest version, and its own. */
__u32 ci_layout SEC("version") = CI_ABI_LOWEST << 16 | CI_ABI_VERSION;

CI_INLINE __u64 *ci_carried_to(const struct ci_carried *one)
{
	struct ci_verdicts *counters;
	struct ci_traffic *flows;
	struct ci_group *group;
	__u32 key = one->key;

	switch (one->map) {
	case CI_CARRY_VERDICTS:
		counters = bpf_map_lookup_elem(&verdicts, &key);
		if (!counters || one->word >= sizeof(*counters) / sizeof(__u64))
			return NULL;
		return (__u64 *)counters + one->word;
	case CI_CARRY_TRAFFIC:
		flows = bpf_map_lookup_elem(&traffic, &key);
		if (!flows || one->word >= sizeof(*flows) / sizeof(__u64))
			return NULL;
		return (__u64 *)flows + one->word;
	case CI_CARRY_FLOW_SLOTS:
		group = bpf_map_lookup_elem(&groups, &key);
		return group && one->word < CI_BUCKETS ? &group->flow_slots[one->word] : NULL;
	}
	return NULL;
}

#endif
