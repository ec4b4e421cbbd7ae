/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading a packet. Everything is bounded by data_end, and by the length that
 * the IP header gives: Ethernet padding is not mistaken for ports.
 */
#ifndef CI_PACKET_H
#define CI_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>

#include "maps.h"

#define CI_IP_OFFSET_MASK 0x1fff	/* fragment offset, RFC 791 */
#define CI_IP_MORE 0x2000		/* more fragments follow */
#define CI_ICMP_HEADER 8		/* bytes before what an ICMP error quotes, RFC 792 */
#define CI_QUOTED 8			/* bytes of transport it quotes at least */

/* An ICMP error is described by the packet that it quotes, as if that came the other way. */
struct ci_packet {
	__be32 source_be;
	__be32 destination_be;
	__be16 source_port_be;		/* both 0 where the protocol has none */
	__be16 destination_port_be;
	__u8 protocol;
	__u8 fragment;			/* a later fragment: it has no ports */
	__u8 first;			/* a first fragment: later ones follow */
	__u8 quoted;			/* read from an ICMP error */
	__u8 syn;			/* TCP: SYN without ACK */
};

/* The IPv4 header of a frame, NULL where there is none or it is cut short. */
CI_INLINE const struct iphdr *ci_ipv4(const void *data, const void *data_end)
{
	const struct ethhdr *eth = data;
	const struct iphdr *ip = (const void *)(eth + 1);

	if ((const void *)(ip + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return NULL;
	return ip;
}

/* Where a transport header has its ports (the kernel's proto_ports_offset()), -1 for no ports.
 * The "ports" of ESP and AH are the two halves of the SPI. */
CI_INLINE int ci_ports_offset(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
	case IPPROTO_ESP:
		return 0;
	case IPPROTO_AH:
		return 4;
	default:
		return -1;
	}
}

/* Does an ICMP message report about another packet, which it quotes (RFC 1122, 3.2.2)? */
CI_INLINE int ci_icmp_error(__u8 type)
{
	/* linux/icmp.h has names for these, and needs libc for others. */
	switch (type) {
	case 3:		/* destination unreachable: of code 4, the path MTU */
	case 4:		/* source quench */
	case 5:		/* redirect */
	case 11:	/* time exceeded */
	case 12:	/* parameter problem */
		return 1;
	default:
		return 0;
	}
}

/*
 * Fills *packet from the packet that an ICMP error quotes: what this VIP sent, so
 * source and destination change places. `room` is what of it the outer header
 * leaves, in bytes. Returns 0, or -1 where less is quoted than the stack needs.
 */
CI_INLINE int ci_parse_quoted(const struct iphdr *ip, __u32 room, const void *data_end,
			      struct ci_packet *packet)
{
	__u32 header;
	const __be16 *ports;
	int offset;

	if ((const void *)(ip + 1) > data_end || room < sizeof(*ip))
		return -1;
	header = ip->ihl * 4;
	ports = (const void *)ip + header;
	if (ip->version != 4 || header < sizeof(*ip) ||
	    (const void *)ports + CI_QUOTED > data_end || room < header + CI_QUOTED)
		return -1;
	/* About a packet that is not ours: a message like any other. */
	if (ip->saddr != packet->destination_be)
		return 0;
	packet->quoted = 1;
	packet->source_be = ip->daddr;
	packet->protocol = ip->protocol;
	packet->fragment = (ip->frag_off & bpf_htons(CI_IP_OFFSET_MASK)) != 0;
	offset = ci_ports_offset(packet->protocol);
	if (packet->fragment || offset < 0)
		return 0;
	packet->source_port_be = ports[offset / 2 + 1];
	packet->destination_port_be = ports[offset / 2];
	return 0;
}

/* Fills *packet from an IPv4 header; returns 0, or -1 for a malformed packet. */
CI_INLINE int ci_parse(const struct iphdr *ip, const void *data_end, struct ci_packet *packet)
{
	__u32 header = ip->ihl * 4;
	__u32 total = bpf_ntohs(ip->tot_len);
	const void *transport = (const void *)ip + header;
	const struct tcphdr *tcp = transport;
	const __be16 *ports;
	int offset;

	if (ip->version != 4 || header < sizeof(*ip) || transport > data_end)
		return -1;
	/* Length 0: GRO has merged more than 64 kB (BIG TCP), or the stack discards it. */
	if (total && total < header)
		return -1;
	*packet = (struct ci_packet){
		.source_be = ip->saddr,
		.destination_be = ip->daddr,
		.protocol = ip->protocol,
		.fragment = (ip->frag_off & bpf_htons(CI_IP_OFFSET_MASK)) != 0,
		.first = (ip->frag_off & bpf_htons(CI_IP_OFFSET_MASK | CI_IP_MORE)) ==
			 bpf_htons(CI_IP_MORE),
	};
	if (packet->fragment)
		return 0;
	if (packet->protocol == IPPROTO_ICMP) {
		if (transport + CI_ICMP_HEADER > data_end ||
		    (total && total < header + CI_ICMP_HEADER) ||
		    !ci_icmp_error(*(const __u8 *)transport))
			return 0;
		return ci_parse_quoted(transport + CI_ICMP_HEADER,
				       total ? total - header - CI_ICMP_HEADER : 0xffff, data_end,
				       packet);
	}
	offset = ci_ports_offset(packet->protocol);
	if (offset < 0)
		return 0;
	ports = transport + offset;
	if ((const void *)(ports + 2) > data_end || (total && total < header + offset + 4))
		return -1;
	packet->source_port_be = ports[0];
	packet->destination_port_be = ports[1];
	if (packet->protocol != IPPROTO_TCP)
		return 0;
	if ((const void *)(tcp + 1) > data_end || (total && total < header + sizeof(*tcp)))
		return -1;
	packet->syn = tcp->syn && !tcp->ack;
	return 0;
}

#endif
