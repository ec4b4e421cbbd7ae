/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IPv6 neighbour discovery that leaves the interface, as arp.h has it for ARP: a
 * solicitation from a VIP and an advertisement of one tell the cluster MAC.
 */
#ifndef CI_NEIGHBOUR_H
#define CI_NEIGHBOUR_H

#include "verdict.h"

#define CI_SOLICITATION 135
#define CI_ADVERTISEMENT 136
#define CI_SOURCE_MAC 1		/* option of a solicitation: the sender's MAC */
#define CI_TARGET_MAC 2		/* option of an advertisement: the target's MAC */
#define CI_OPTIONS 8		/* options looked at */

/* Solicitation or advertisement, RFC 4861, 4.3 and 4.4. Options follow. */
struct ci_neighbour {
	__u8 type;
	__u8 code;
	__be16 checksum_be;
	__be32 flags_be;
	struct in6_addr target;
};

struct ci_neighbour_option {
	__u8 type;
	__u8 length;		/* in units of 8 bytes, these two included */
	__u8 mac[ETH_ALEN];
};

/* Solicitation or advertisement with no header before it but IPv6's, else NULL. */
CI_INLINE const struct ci_neighbour *ci_neighbour(const struct ci_frame *frame,
						  const void *data_end)
{
	const struct ipv6hdr *ip = frame->network;
	const struct ci_neighbour *message = (const void *)(ip + 1);

	if (!ci_is_ipv6(frame, data_end) || ip->nexthdr != IPPROTO_ICMPV6 || (const void *)(message + 1) > data_end ||
	    (message->type != CI_SOLICITATION && message->type != CI_ADVERTISEMENT))
		return NULL;
	return message;
}

/* Returns the VIP whose MAC the message would tell, NULL for none. */
CI_INLINE const struct ci_vip *ci_neighbour_vip(const struct ci_frame *frame,
						const struct ci_neighbour *message)
{
	const struct ipv6hdr *ip = frame->network;
	const struct ci_config *config = ci_current_config();

	if (!config)
		return NULL;
	return ci_find_vip6(config, message->type == CI_SOLICITATION ? &ip->saddr :
								       &message->target);
}

/*
 * Returns where in the frame the option with the MAC is, 0 if there is none, -1 if
 * that cannot be said: an option's length lies, or there are too many.
 */
CI_INLINE int ci_neighbour_option(const struct ci_frame *frame, const void *data,
				  const void *data_end, const struct ci_neighbour *message)
{
	const struct ipv6hdr *ip = frame->network;
	__u8 wanted = message->type == CI_SOLICITATION ? CI_SOURCE_MAC : CI_TARGET_MAC;
	__u32 begin = frame->offset + sizeof(*ip);
	__u32 end = begin + bpf_ntohs(ip->payload_len);
	__u32 at = begin + sizeof(*message);

	for (int seen = 0; seen < CI_OPTIONS; seen++) {
		const struct ci_neighbour_option *option = data + at;

		if (at == end)
			return 0;
		if ((const void *)(option + 1) > data_end || at + sizeof(*option) > end ||
		    !option->length)
			return -1;
		if (option->type == wanted)
			return option->length == 1 ? (int)at : -1;
		at += option->length * 8;
		if (at > CI_HEADERS)
			return -1;
	}
	return -1;
}

/* Puts the MAC into the option at `at` and mends the ICMPv6 checksum; 0 if that went well. */
CI_INLINE int ci_tell_mac(struct __sk_buff *skb, __u32 offset, __u32 at, const struct ci_vip *vip)
{
	__u32 checksum = offset + sizeof(struct ipv6hdr) +
			 __builtin_offsetof(struct ci_neighbour, checksum_be);
	struct ci_neighbour_option old, new;
	__s64 difference;

	if (bpf_skb_load_bytes(skb, at, &old, sizeof(old)))
		return -1;
	new = old;
	__builtin_memcpy(new.mac, vip->mac, sizeof(new.mac));
	difference = bpf_csum_diff((void *)&old, sizeof(old), (void *)&new, sizeof(new), 0);
	if (difference < 0 || bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0))
		return -1;
	return bpf_l4_csum_replace(skb, checksum, 0, difference, 0);
}

#endif
