/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verdict: one function for every hook, so that they cannot disagree.
 *
 * In this order: tagged more often than anybody tags -> drop, for a VIP may be behind it. Not
 * a VIP of this interface -> untouched. Malformed -> drop.
 * IPv6 neighbour discovery -> untouched. ICMP error -> by the packet that it quotes.
 * Later fragment -> as its first. No rule, or a service that drops -> drop. Then hash, or
 * the service's own bucket -> state. The deadline is read only before an accept, so
 * discarding, which is most of the work, costs no clock.
 */
#ifndef CI_VERDICT_H
#define CI_VERDICT_H

#include "rules.h"
#include "whose.h"

#define CI_UNTOUCHED (-1)	/* not a VIP of this interface: no business of ours */

/* What was decided and where it counts. bucket is CI_BUCKETS where none was reached. */
struct ci_verdict {
	int reason;		/* enum ci_reason or CI_UNTOUCHED */
	__u32 rule;
	__u32 group;
	__u32 bucket;
};

CI_INLINE int ci_drops(int reason)
{
	return reason >= CI_DROP_NOT_OWNED;
}

/* The bit of a packet's flow in the flow slots of its bucket. */
CI_INLINE __u64 ci_flow_slot_bit(const struct ci_packet *packet)
{
	return 1ULL << ci_flow_slot(packet->source_be, packet->source_port_be,
				    packet->destination_port_be);
}

/* By the state of the bucket; *flow_slots are those of the bucket. */
CI_INLINE int ci_by_state(void *ctx, __u8 state, __u64 *flow_slots, const struct ci_packet *packet)
{
	int tcp = packet->protocol == IPPROTO_TCP;

	switch (state) {
	case CI_STATE_OWNED:
		return CI_ACCEPT_OWNED;
	case CI_STATE_WATCHING:
		if (!tcp && !(*flow_slots & ci_flow_slot_bit(packet)))
			__sync_fetch_and_or(flow_slots, ci_flow_slot_bit(packet));
		return CI_ACCEPT_OWNED;
	case CI_STATE_TAKING:
		if (tcp ? packet->syn || ci_socket_answers(ctx, packet, 1) :
			  !(*flow_slots & ci_flow_slot_bit(packet)))
			return CI_ACCEPT_TAKING;
		return CI_DROP_TAKING;
	case CI_STATE_DRAINING:
		if (tcp ? !packet->syn && ci_socket_answers(ctx, packet, 0) :
			  (*flow_slots & ci_flow_slot_bit(packet)) != 0)
			return CI_ACCEPT_DRAINING;
		return CI_DROP_DRAINING;
	default:
		return CI_DROP_NOT_OWNED;
	}
}

CI_INLINE struct ci_fragment_key ci_fragment_key(const struct ci_packet *packet)
{
	struct ci_fragment_key key = {
		.id_be = packet->id_be,
		.protocol = packet->version == 4 ? packet->protocol : 0,
		.version = packet->version,
	};

	__builtin_memcpy(key.source_be, packet->source_be, sizeof(key.source_be));
	__builtin_memcpy(key.destination_be, packet->destination_be, sizeof(key.destination_be));
	return key;
}

/* Notes what became of a first fragment. An attacker who sends many makes us forget, no more. */
CI_INLINE void ci_note_fragment(const struct ci_packet *packet, int dropped)
{
	struct ci_fragment_key key = ci_fragment_key(packet);
	struct ci_fragment fragment = {
		.until = bpf_ktime_get_ns() + CI_FRAGMENT_NS,
		.dropped = dropped,
	};

	bpf_map_update_elem(&fragments, &key, &fragment, BPF_ANY);
}

/* A later fragment fares as its first did. */
CI_INLINE int ci_by_fragment(const struct ci_packet *packet)
{
	struct ci_fragment_key key = ci_fragment_key(packet);
	const struct ci_fragment *first = bpf_map_lookup_elem(&fragments, &key);

	if (first && first->dropped && bpf_ktime_get_ns() < first->until)
		return CI_DROP_FRAGMENT;
	return CI_ACCEPT_FRAGMENT;
}

/* Is the lease of the group over? Then another host may answer. */
CI_INLINE int ci_is_over(const struct ci_group *group)
{
	return group->deadline != CI_NO_DEADLINE && bpf_ktime_get_boot_ns() >= group->deadline;
}

/* Decides about one frame. */
CI_INLINE struct ci_verdict ci_decide(void *ctx, const void *data, const void *data_end)
{
	struct ci_verdict verdict = { CI_UNTOUCHED, 0, 0, CI_BUCKETS };
	const struct ci_frame frame = ci_frame(data, data_end);
	const struct iphdr *ip = frame.network;
	const struct ipv6hdr *ip6 = frame.network;
	int ipv4 = ci_is_ipv4(&frame, data_end);
	const struct ci_service *service;
	const struct ci_config *config;
	const struct ci_vip *vip;
	enum ci_parsed parsed;
	struct ci_packet packet;
	struct ci_group *group;
	__u32 index;

	if (frame.hidden)
		verdict.reason = CI_DROP_MALFORMED;
	if (!ipv4 && !ci_is_ipv6(&frame, data_end))
		return verdict;
	config = ci_current_config();
	if (!config)
		return verdict;
	vip = ipv4 ? ci_find_vip(config, ip->daddr) : ci_find_vip6(config, &ip6->daddr);
	if (!vip)
		return verdict;
	verdict.group = vip->group;
	group = bpf_map_lookup_elem(&groups, &verdict.group);
	if (!group)
		return verdict;

	parsed = ci_parse_either(ipv4, frame.network, data_end, &packet);
	if (parsed != CI_PARSED) {
		verdict.reason = parsed == CI_NEIGHBOURS ? CI_UNTOUCHED : CI_DROP_MALFORMED;
		return verdict;
	}
	if (packet.fragment) {
		/* Nobody answers an ICMP error: one that quotes a later fragment is let through. */
		verdict.reason = packet.quoted ? CI_ACCEPT_FRAGMENT : ci_by_fragment(&packet);
	} else {
		index = ci_find_service(config, vip, &packet);
		service = ci_service(config, index);
		if (!index) {
			verdict.reason = CI_DROP_NO_RULE;
			goto decided;
		}
		verdict.rule = service->rule;
		if (service->action == CI_DROP) {
			verdict.reason = CI_DROP_SERVICE;
			goto decided;
		}
		verdict.bucket = ci_service_bucket(&packet, vip, service);
		verdict.reason = ci_by_state(ctx, group->state[verdict.bucket],
					     &group->flow_slots[verdict.bucket], &packet);
	}
	if (!ci_drops(verdict.reason) && ci_is_over(group))
		verdict.reason = CI_DROP_EXPIRED;
	if (packet.syn)
		ci_note_syn(ctx, &packet, verdict.reason, group->deadline != CI_NO_DEADLINE);
decided:
	if (packet.first)
		ci_note_fragment(&packet, ci_drops(verdict.reason));
	return verdict;
}

/* The frame has `bytes` bytes, link header included. */
CI_INLINE void ci_count_verdict(const struct ci_verdict *verdict, __u32 bytes)
{
	ci_count(verdict->rule, verdict->reason, bytes);
	if (verdict->bucket < CI_BUCKETS)
		ci_count_bucket(verdict->group, verdict->bucket, bytes);
}

#endif
