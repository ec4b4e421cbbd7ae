/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What leaves of a connection that is not open yet: it sends its SYN-ACK again by itself, seconds
 * later, when another host may have the bucket, and have answered the client's next SYN.
 */
#ifndef CI_SENT_H
#define CI_SENT_H

#include "verdict.h"

/* The packet as if it came from where it goes. */
CI_INLINE void ci_turn(struct ci_packet *packet)
{
	__be16 port_be = packet->source_port_be;

	packet->source_port_be = packet->destination_port_be;
	packet->destination_port_be = port_be;
	for (int at = 0; at < 4; at++) {
		__be32 word_be = packet->source_be[at];

		packet->source_be[at] = packet->destination_be[at];
		packet->destination_be[at] = word_be;
	}
}

/*
 * A half-open connection of a bucket that drains. Its client may have had the SYN-ACK and its ACK be
 * lost: to it the connection is open. Or it had none, and sends its SYN again, as late as we do the
 * SYN-ACK: then another host answers that. So the first time it is kept back, and a SYN that comes
 * meanwhile is noted; the next one leaves.
 */
CI_INLINE int ci_while_draining(const struct ci_ends *ends, __u32 whose)
{
	if (whose == CI_HALF_OPEN)
		return CI_ACCEPT_DRAINING;
	ci_note_whose(ends, CI_HALF_OPEN);
	return CI_DROP_DRAINING;
}

/*
 * Decides about a frame that this host sends: CI_UNTOUCHED, or why a SYN would, or would not,
 * be accepted that came the other way; CI_DROP_DRAINING for what is kept back once. All of a
 * SYN-ACK lies in data..data_end: it has no payload.
 */
CI_INLINE int ci_decide_sent(const struct ci_frame *frame, const void *data_end)
{
	int ipv4 = ci_is_ipv4(frame, data_end);
	const struct ci_service *service;
	const struct ci_config *config;
	struct ci_packet packet;
	const struct ci_vip *vip;
	struct ci_group *group;
	struct ci_ends ends;
	__u32 index, bucket, whose;
	int reason;

	if (!ipv4 && !ci_is_ipv6(frame, data_end))
		return CI_UNTOUCHED;
	if (ci_parse_either(ipv4, frame->network, data_end, &packet) != CI_PARSED ||
	    !packet.syn_ack)
		return CI_UNTOUCHED;
	config = ci_current_config();
	if (!config)
		return CI_UNTOUCHED;
	ci_turn(&packet);
	vip = ipv4 ? ci_find_vip(config, packet.destination_be[0]) :
		     ci_find_vip6(config, (const struct in6_addr *)packet.destination_be);
	if (!vip)
		return CI_UNTOUCHED;
	ends = ci_ends(&packet);
	whose = ci_whose(&ends);
	if (whose == CI_ALONE)
		return CI_UNTOUCHED;
	/* The bucket may be back, or drain, and another host have answered the client's next SYN. */
	if (whose == CI_THEIRS)
		return CI_DROP_NOT_OWNED;
	index = vip->group;
	group = bpf_map_lookup_elem(&groups, &index);
	if (!group)
		return CI_UNTOUCHED;
	index = ci_find_service(config, vip, &packet);
	service = ci_service(config, index);
	if (!index)
		return CI_DROP_NO_RULE;
	if (service->action == CI_DROP)
		return CI_DROP_SERVICE;
	bucket = ci_service_bucket(&packet, vip, service);
	packet.syn = 1;
	reason = ci_by_state(NULL, group->state[bucket], &group->flow_slots[bucket], &packet);
	if (ci_drops(reason) && reason != CI_DROP_DRAINING)
		return reason;
	if (ci_is_over(group))
		return CI_DROP_EXPIRED;
	return reason == CI_DROP_DRAINING ? ci_while_draining(&ends, whose) : reason;
}

#endif
