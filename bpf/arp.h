/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ARP that leaves the interface with a VIP as sender tells the cluster MAC as
 * the sender's hardware address. Only the payload changes: the Ethernet source
 * stays the NIC's, or switches would learn the cluster MAC on one port.
 */
#ifndef CI_ARP_H
#define CI_ARP_H

#include "verdict.h"

#define CI_ARPHRD_ETHER 1	/* ARPHRD_ETHER; linux/if_arp.h needs more than UAPI */

#define CI_ARP_REQUEST 1	/* ARPOP_REQUEST */

/* ARP for IPv4 over Ethernet, RFC 826. */
struct ci_arp {
	__be16 hardware_be;
	__be16 protocol_be;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation_be;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender_ip[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target_ip[4];
} __attribute__((packed));

/* Returns the VIP whose ARP this is, NULL for any other frame. */
CI_INLINE const struct ci_vip *ci_arp_vip(const struct ci_frame *frame, const void *data_end)
{
	const struct ci_arp *arp = frame->network;
	const struct ci_config *config;
	__be32 sender_be;

	if (frame->protocol_be != bpf_htons(ETH_P_ARP) || (const void *)(arp + 1) > data_end ||
	    arp->hardware_be != bpf_htons(CI_ARPHRD_ETHER) ||
	    arp->protocol_be != bpf_htons(ETH_P_IP) ||
	    arp->hardware_length != ETH_ALEN || arp->protocol_length != 4)
		return NULL;
	config = ci_current_config();
	if (!config)
		return NULL;
	__builtin_memcpy(&sender_be, arp->sender_ip, sizeof(sender_be));
	return ci_find_vip(config, sender_be);
}

#endif
