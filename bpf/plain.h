/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The plain path: what most frames are is decided here by the fewest steps, and all else is left to
 * ci_decide. Plain is what is for no VIP and has no tag; and of what is for one a segment of TCP or
 * a datagram of UDP, no fragment, right behind an IP header without options, to a service of any
 * source that shares by buckets, while the bucket is owned here or not at all.
 *
 * The steps are those of ci_decide, in its order and by the same functions; one that is left out is
 * known to change nothing. So both say the same of a plain frame, and a test asks both.
 *
 * The general path is a function of its own in every program (CI_ASIDE), and what it needs of
 * registers and stack costs nothing here. A call and its return cost as much as a third of this.
 */
#ifndef CI_PLAIN_H
#define CI_PLAIN_H

#include "verdict.h"

/* What stands for a reason where there is no verdict yet. CI_UNTOUCHED is one. */
#define CI_NOT_PLAIN (-2)	/* ci_decide is to give it */
#define CI_PLAIN (-3)		/* the state of the bucket is to give it */

#define CI_ANY_ROOM 0xffffffffU	/* the packet need not be whole in the first buffer */

/* Which hook asks. */
enum ci_hook {
	CI_EARLY = 0,		/* XDP: what it passes is decided again */
	CI_FINAL = 1,		/* tc */
};

/* What is read of a plain packet, and looked up for it. */
struct ci_plain {
	__u32 rule;
	__u32 group;
	__u32 bucket;
	const struct tcphdr *tcp;	/* what is there may be a header of UDP */
	__u8 protocol;
};

/* The ports of UDP are where those of TCP are. */
CI_INLINE int ci_is_tcp_or_udp(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

CI_INLINE int ci_is_syn(__u8 protocol, const struct tcphdr *tcp)
{
	return protocol == IPPROTO_TCP && tcp->syn && !tcp->ack;
}

/*
 * Has a packet of `total` bytes, as its IP header says, the `least` bytes that are read of it, and
 * is it whole in the `room` bytes of a buffer? In one comparison: what is less than `least` wraps.
 * So does total length 0, of BIG TCP.
 */
CI_INLINE int ci_is_whole(__u32 total, __u32 least, __u32 room)
{
	return total - least <= room - least;
}

/*
 * Reads a packet of IPv4, of which all that is read is there. Datagrams to others are for tc to
 * listen to: see ci_heed.
 */
CI_INLINE int ci_read_plain4(const struct iphdr *ip, __u32 room, enum ci_hook hook,
			     struct ci_plain *plain)
{
	const struct ci_config *config = ci_current_config();
	const struct tcphdr *tcp = (const void *)(ip + 1);
	const struct ci_service *service;
	const struct ci_slot *slot;
	__u32 index, hash;

	if (!config)
		return CI_NOT_PLAIN;
	slot = ci_slot_of(config, ip->daddr);
	/* A slot of no IPv4 VIP has address 0.0.0.0, and of a table without services. */
	if (slot->address_be != ip->daddr)
		return hook == CI_FINAL && ip->protocol == IPPROTO_UDP ? CI_NOT_PLAIN :
									CI_UNTOUCHED;
	if (*(const __u8 *)ip != 0x45 || !ci_is_tcp_or_udp(ip->protocol) ||
	    ip->frag_off & bpf_htons(CI_IP_OFFSET_MASK | CI_IP_MORE) ||
	    !ci_is_whole(bpf_ntohs(ip->tot_len), sizeof(*ip) + sizeof(*tcp), room))
		return CI_NOT_PLAIN;
	index = ci_first_service(config, slot->table[ip->protocol & 1], tcp->dest);
	service = ci_service(config, index);
	if (!service->plain)
		return CI_NOT_PLAIN;
	hash = ci_hash_ipv4(service->plain, slot->hash_init, ip->saddr, tcp->source, tcp->dest);
	plain->rule = service->rule;
	plain->group = slot->group;
	plain->bucket = ci_bucket_of(hash, slot->total);
	plain->tcp = tcp;
	plain->protocol = ip->protocol;
	return CI_PLAIN;
}

/* And one of IPv6, of which the IP header is there. */
CI_INLINE int ci_read_plain6(const struct ipv6hdr *ip, const void *data_end, __u32 room,
			     struct ci_plain *plain)
{
	const struct ci_config *config = ci_current_config();
	const struct tcphdr *tcp = (const void *)(ip + 1);
	const struct ci_service *service;
	const struct ci_vip *vip;
	__u32 index, hash;

	if (!config)
		return CI_NOT_PLAIN;
	vip = ci_find_vip6(config, &ip->daddr);
	if (!vip)
		return CI_UNTOUCHED;
	if ((const void *)(tcp + 1) > data_end || ip->version != 6 || !ci_is_tcp_or_udp(ip->nexthdr) ||
	    !ci_is_whole(sizeof(*ip) + bpf_ntohs(ip->payload_len), sizeof(*ip) + sizeof(*tcp), room))
		return CI_NOT_PLAIN;
	index = ci_first_service(config, vip->table[ip->nexthdr], tcp->dest);
	service = ci_service(config, index);
	if (!service->plain)
		return CI_NOT_PLAIN;
	hash = ci_hash_ipv6(service->plain, vip, ip->saddr.in6_u.u6_addr32, tcp->source, tcp->dest);
	plain->rule = service->rule;
	plain->group = vip->group;
	plain->bucket = ci_bucket_of(hash, vip->total);
	plain->tcp = tcp;
	plain->protocol = ip->nexthdr;
	return CI_PLAIN;
}

/*
 * Reads what a frame carries. `room` bytes behind its link header are in the buffer, and the packet
 * must be; CI_ANY_ROOM: only what is read of it. A datagram that is shorter than a header of TCP is
 * not plain: so bounds are the same for both.
 */
CI_INLINE int ci_read_plain(const void *data, const void *data_end, __u32 room, enum ci_hook hook,
			    struct ci_plain *plain)
{
	const struct ethhdr *ethernet = data;
	const struct iphdr *ip = (const void *)(ethernet + 1);
	const struct ipv6hdr *ip6 = (const void *)(ethernet + 1);

	/* Which is as long as IPv6's header. */
	if ((const void *)(ip + 1) + sizeof(struct tcphdr) > data_end)
		return CI_NOT_PLAIN;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP))
		return ci_read_plain4(ip, room, hook, plain);
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6))
		return ci_read_plain6(ip6, data_end, room, plain);
	return ci_tagged(ethernet->h_proto) ? CI_NOT_PLAIN : CI_UNTOUCHED;
}

/* Notes what became of a SYN, all of which is read for that. Without a lease it is noted only
 * where it was accepted: see ci_note_syn. */
CI_ASIDE void ci_note_plain_syn(void *ctx, const void *data, const void *data_end, int reason)
{
	const struct ethhdr *ethernet = data;
	struct ci_packet packet;
	int ipv4;

	/* Never; for the verifier. */
	if ((const void *)(ethernet + 1) + sizeof(struct ipv6hdr) > data_end)
		return;
	ipv4 = ethernet->h_proto == bpf_htons(ETH_P_IP);
	if (ci_parse_either(ipv4, ethernet + 1, data_end, &packet) == CI_PARSED)
		ci_note_syn(ctx, &packet, reason, 1);
}

/*
 * Decides about a frame as ci_decide does; CI_NOT_PLAIN where that is left to it. For `room` see
 * ci_read_plain.
 *
 * XDP passes what is owned at once. The clock, which costs more than all else here, is for tc to
 * read: what is discarded since the lease is over is discarded, counted and noted there.
 */
CI_INLINE struct ci_verdict ci_decide_plain(void *ctx, const void *data, const void *data_end,
					    __u32 room, enum ci_hook hook)
{
	struct ci_verdict verdict = { CI_UNTOUCHED, 0, 0, CI_BUCKETS };
	const struct ci_group *group;
	struct ci_plain plain;
	__u32 index;
	int syn_noted;		/* whether it would be, if this is one */

	verdict.reason = ci_read_plain(data, data_end, room, hook, &plain);
	if (verdict.reason != CI_PLAIN)
		return verdict;
	verdict.rule = plain.rule;
	verdict.group = plain.group;
	verdict.bucket = plain.bucket;
	index = plain.group;
	group = bpf_map_lookup_elem(&groups, &index);
	verdict.reason = CI_NOT_PLAIN;
	if (!group)
		return verdict;
	switch (group->state[plain.bucket]) {
	case CI_STATE_NONE:
		verdict.reason = CI_DROP_NOT_OWNED;
		syn_noted = group->deadline != CI_NO_DEADLINE;
		break;
	case CI_STATE_OWNED:
		verdict.reason = CI_ACCEPT_OWNED;
		if (hook == CI_EARLY)
			return verdict;
		if (ci_is_over(group))
			verdict.reason = CI_DROP_EXPIRED;
		syn_noted = 1;
		break;
	default:
		return verdict;
	}
	if (syn_noted && ci_is_syn(plain.protocol, plain.tcp))
		ci_note_plain_syn(ctx, data, data_end, verdict.reason);
	return verdict;
}

#endif
