/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the others' messages tell of the time. A machine that was paused does not know it: its
 * clocks stood still, its leases look good, and others have its buckets. But the others' messages
 * wait for it among the other frames, in the order in which they came, and each says what its
 * sender's clock showed. The first that shows our clock to have stood still closes the group, or
 * that our lease is over, before anything that was sent after it is answered. The daemon then sees
 * what there is to see, and opens it again when a majority heard of it since.
 *
 * The MAC over a whole message is the daemon's to check. Who made what is read here, a tag shows
 * that stands behind the clock: SipHash of the sender, its incarnation and its clock, under a key that
 * is derived from the cluster's. It need not cover more. Who repeats a message repeats an old clock.
 */
#ifndef CI_BEAT_H
#define CI_BEAT_H

#include "frame.h"
#include "packet.h"
#include "siphash.h"

#define CI_BEAT_MAGIC 0x434c4950	/* CLIP */
#define CI_UDP_HEADER 8
#define CI_IP_OFFSET 0x1fff		/* where in its packet a fragment is; the first is at 0 */

/* How a message begins, in every version: core/messages/envelope.py and wire.py. */
struct ci_beat {
	__be32 magic_be;
	__u8 version;
	__u8 key;
	__be64 cluster_be;
	__be64 sender_be;
	__be64 incarnation_be;
	__be64 sequence_be;
	__be64 clock_be;
	__be64 tag_be;
} __attribute__((packed));

CI_INLINE int ci_is_of_a_member(const struct ci_beat *beat)
{
	const __u32 first = 0;
	const struct ci_keys *known = bpf_map_lookup_elem(&keys, &first);

	return known && known->known[beat->key] &&
	       ci_siphash(known->word[beat->key], bpf_be64_to_cpu(beat->sender_be),
			  bpf_be64_to_cpu(beat->incarnation_be), bpf_be64_to_cpu(beat->clock_be)) ==
	       bpf_be64_to_cpu(beat->tag_be);
}

/* Looks at a frame that is for no VIP. */
CI_INLINE void ci_heed(struct __sk_buff *skb)
{
	const void *data_end = (const void *)(long)skb->data_end;
	struct ci_frame frame = ci_frame((const void *)(long)skb->data, data_end);
	const struct iphdr *ip = frame.network;
	struct ci_peer *peer;
	struct ci_group *group;
	struct ci_beat beat;
	__u64 sender, shown, now;
	__u32 index;

	if (!ci_is_ipv4(&frame, data_end) || ip->protocol != IPPROTO_UDP)
		return;
	if (ip->frag_off & bpf_htons(CI_IP_OFFSET))
		return;
	if (bpf_skb_load_bytes(skb, frame.offset + ip->ihl * 4 + CI_UDP_HEADER, &beat,
			       sizeof(beat)))
		return;
	if (beat.magic_be != bpf_htonl(CI_BEAT_MAGIC))
		return;
	sender = bpf_be64_to_cpu(beat.sender_be);
	peer = bpf_map_lookup_elem(&peers, &sender);
	if (!peer || peer->incarnation != bpf_be64_to_cpu(beat.incarnation_be))
		return;
	index = peer->group;
	group = bpf_map_lookup_elem(&groups, &index);
	if (!group || group->deadline == CI_NO_DEADLINE)
		return;
	shown = bpf_be64_to_cpu(beat.clock_be) - peer->ahead;
	now = bpf_ktime_get_boot_ns();
	if ((shown <= now && shown < group->deadline) || !ci_is_of_a_member(&beat))
		return;
	if (shown >= group->deadline || shown - now >= peer->slack)
		group->deadline = 0;
	/* By so much it is ahead: the daemon reads messages later, and knows a little less. */
	if (shown > now)
		peer->ahead += shown - now;
}

#endif
