/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The other interfaces of the namespace. Linux answers for an address on whatever
 * interface it is asked, so one of them on the segment of the VIPs would tell clients its
 * own MAC, and would answer the frames that every host gets. Both are discarded there. It asks
 * for the MACs of others in nobody's name, as an ARP probe does (RFC 5227, 2.1.1): that is
 * answered, and tells nobody a MAC. Of IPv6, Linux asks from an address of the interface.
 */
#ifndef CI_GUARD_H
#define CI_GUARD_H

#include "arp.h"
#include "neighbour.h"
#include "verdict.h"

/* Does the frame carry a packet to a VIP? */
CI_INLINE int ci_to_vip(const struct ci_frame *frame, const void *data_end)
{
	const struct iphdr *ip = frame->network;
	const struct ipv6hdr *ip6 = frame->network;
	const struct ci_config *config = ci_current_config();

	if (!config)
		return 0;
	if (ci_is_ipv4(frame, data_end))
		return ci_find_vip(config, ip->daddr) != NULL;
	if (ci_is_ipv6(frame, data_end))
		return ci_find_vip6(config, &ip6->daddr) != NULL;
	return 0;
}

/* Notes a SYN that came to this host alone, whatever its bucket. All of it is in data..data_end. */
CI_INLINE void ci_note_alone(const struct ci_frame *frame, const void *data_end)
{
	int ipv4 = ci_is_ipv4(frame, data_end);
	struct ci_packet packet;
	struct ci_ends ends;

	if (!ipv4 && !ci_is_ipv6(frame, data_end))
		return;
	if (ci_parse_either(ipv4, frame->network, data_end, &packet) != CI_PARSED || !packet.syn)
		return;
	ends = ci_ends(&packet);
	ci_note_whose(&ends, CI_ALONE);
}

CI_INLINE int ci_same_mac(const __u8 *one, const __u8 *other)
{
	__u8 different = 0;

	for (int at = 0; at < ETH_ALEN; at++)
		different |= one[at] ^ other[at];
	return !different;
}

/*
 * Does the frame tell another MAC for a VIP than the cluster's? What passes through here
 * from the shared interface, a bridge's say, has that already. Where it cannot be said what
 * the frame tells, it does.
 */
CI_INLINE int ci_tells_other_mac(const struct ci_frame *frame, const void *data,
				 const void *data_end)
{
	const struct ci_arp *arp = frame->network;
	const struct ci_vip *vip = ci_arp_vip(frame, data_end);
	const struct ci_neighbour *message;
	const struct ci_neighbour_option *option;
	int at;

	if (vip)
		return (const void *)(arp + 1) > data_end || !ci_same_mac(arp->sender_mac, vip->mac);
	message = ci_neighbour(frame, data_end);
	if (!message)
		return 0;
	vip = ci_neighbour_vip(frame, message);
	if (!vip)
		return 0;
	at = ci_neighbour_option(frame, data, data_end, message);
	if (at <= 0)
		return at < 0;
	option = data + (at & 0x1ff);
	return (const void *)(option + 1) > data_end || !ci_same_mac(option->mac, vip->mac);
}

/*
 * Does this host ask for the MAC of another, in the name of a VIP? It does where the route to a
 * client leaves by this interface. What asks for a VIP is an announcement of one.
 */
CI_INLINE int ci_asks(const struct ci_frame *frame, const void *data_end)
{
	const struct ci_arp *arp = frame->network;
	const struct ci_config *config = ci_current_config();
	__be32 target_be;

	if (!config || !ci_arp_vip(frame, data_end) || (const void *)(arp + 1) > data_end ||
	    arp->operation_be != bpf_htons(CI_ARP_REQUEST))
		return 0;
	__builtin_memcpy(&target_be, arp->target_ip, sizeof(target_be));
	return !ci_find_vip(config, target_be);
}

#endif
