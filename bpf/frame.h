/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a frame carries. A tag with VLAN id 0 is no VLAN's (IEEE 802.1Q: a priority, and no
 * more): the stack takes what is behind it for untagged, however many there are, and so do we.
 */
#ifndef CI_FRAME_H
#define CI_FRAME_H

#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>

#include "maps.h"

#define CI_VLAN_ID 0x0fff	/* of a tag; the rest is priority and drop eligibility */
#define CI_TAGS 2		/* that are looked behind: 802.1ad puts one before one of 802.1Q */

struct ci_frame {
	const void *network;	/* what the frame carries */
	__u32 offset;		/* where that is, in bytes */
	__be16 protocol_be;	/* its EtherType; that of a tag, if the frame is a VLAN's */
	__u8 hidden;		/* more tags with id 0 than are looked behind */
};

/* As it may lie: an EtherType, and what follows it, which is a tag if the EtherType says so. */
struct ci_link {
	__be16 protocol_be;
	__be16 tci_be;
};

/* The EtherTypes that announce a tag. The stack knows no others. */
CI_INLINE int ci_tagged(__be16 protocol_be)
{
	return protocol_be == bpf_htons(ETH_P_8021Q) || protocol_be == bpf_htons(ETH_P_8021AD);
}

/*
 * 1 for a tag with id 0, else 0. As arithmetic: after a branch the verifier would go through
 * all that follows once for each number of tags, and it has an end (a million instructions).
 */
CI_INLINE __u32 ci_priority_tag(const struct ci_link *link)
{
	__u64 other = (__u64)(link->protocol_be ^ bpf_htons(ETH_P_8021Q)) *
			      (link->protocol_be ^ bpf_htons(ETH_P_8021AD)) |
		      (link->tci_be & bpf_htons(CI_VLAN_ID));

	/* Else the compiler finds out what this is, and makes it a branch. */
	asm volatile("" : "+r"(other));
	return (other - 1) >> 63;
}

/* What is too short for IP carries nothing. */
CI_INLINE struct ci_frame ci_frame(const void *data, const void *data_end)
{
	const struct ci_link *link = data + 2 * ETH_ALEN;
	struct ci_frame frame = {};
	__u32 first, second;

	if ((const void *)(link + CI_TAGS + 1) > data_end)
		return frame;
	first = ci_priority_tag(&link[0]);
	second = first & ci_priority_tag(&link[1]);
	link += first + second;
	if ((const void *)(link + 1) > data_end)	/* never; for the verifier */
		return frame;
	frame.network = &link->tci_be;
	frame.offset = sizeof(struct ethhdr) + (first + second) * sizeof(*link);
	frame.protocol_be = link->protocol_be;
	frame.hidden = second & ci_priority_tag(link);
	return frame;
}

#endif
