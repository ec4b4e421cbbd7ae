/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading a packet. Everything is bounded by data_end, and by the length that
 * the IP header gives: Ethernet padding is not mistaken for ports.
 */
#ifndef CI_PACKET_H
#define CI_PACKET_H

#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>

#include "frame.h"

#define CI_IP_OFFSET_MASK 0x1fff	/* fragment offset, RFC 791 */
#define CI_IP_MORE 0x2000		/* more fragments follow */
#define CI_ICMP_HEADER 8		/* bytes before what an ICMP error quotes, RFC 792 */
#define CI_QUOTED 8			/* bytes of transport it quotes at least */

#define CI_ANY_LENGTH 0xffff		/* where the IP header does not say how long the packet is */

/* What reading a packet comes to. */
enum ci_parsed {
	CI_PARSED = 0,
	CI_MALFORMED = 1,
	CI_NEIGHBOURS = 2,		/* what every host must hear: neighbour discovery, MLD */
};

/*
 * An ICMP error is described by the packet that it quotes, as if that came the other way.
 * Of addresses IPv4 has the first word, the others are 0.
 */
struct ci_packet {
	__be32 source_be[4];
	__be32 destination_be[4];
	__be32 id_be;			/* of a fragment */
	__be32 sequence_be;		/* TCP; 0 where quoted */
	__be32 acknowledged_be;
	__be16 source_port_be;		/* both 0 where the protocol has none */
	__be16 destination_port_be;
	__u8 version;			/* of IP: 4 or 6 */
	__u8 protocol;
	__u8 fragment;			/* a later fragment: it has no ports */
	__u8 first;			/* a first fragment: later ones follow */
	__u8 quoted;			/* read from an ICMP error */
	__u8 syn;			/* TCP: SYN without ACK */
	__u8 fin;			/* TCP: FIN without RST */
	__u8 syn_ack;			/* TCP: both */
	__u8 ack;			/* TCP: ACK with neither SYN nor RST; 0 where quoted */
};

/* Does a frame carry an IPv4 header, and is it not cut short? */
CI_INLINE int ci_is_ipv4(const struct ci_frame *frame, const void *data_end)
{
	return frame->protocol_be == bpf_htons(ETH_P_IP) &&
	       frame->network + sizeof(struct iphdr) <= data_end;
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
 * Fills in ports and flags from a transport header, of which the IP header leaves
 * `room` bytes.
 */
CI_INLINE enum ci_parsed ci_parse_transport(const void *transport, __u32 room,
					    const void *data_end, struct ci_packet *packet)
{
	int offset = ci_ports_offset(packet->protocol);
	const struct tcphdr *tcp;
	const __be16 *ports;

	if (offset < 0)
		return CI_PARSED;
	/* Else the compiler may find it again where it is read, and the verifier knows no bounds. */
	asm volatile("" : "+r"(transport));
	tcp = transport;
	ports = transport + offset;
	if ((const void *)(ports + 2) > data_end || room < offset + 4u)
		return CI_MALFORMED;
	packet->source_port_be = ports[0];
	packet->destination_port_be = ports[1];
	if (packet->protocol != IPPROTO_TCP)
		return CI_PARSED;
	if ((const void *)(tcp + 1) > data_end || room < sizeof(*tcp))
		return CI_MALFORMED;
	packet->syn = tcp->syn && !tcp->ack;
	packet->fin = tcp->fin && !tcp->rst;
	packet->syn_ack = tcp->syn && tcp->ack;
	packet->ack = tcp->ack && !tcp->syn && !tcp->rst;
	packet->sequence_be = tcp->seq;
	packet->acknowledged_be = tcp->ack_seq;
	return CI_PARSED;
}

/*
 * The same for a packet that an ICMP error quotes: what this VIP sent, so the ports
 * change places. Where a packet has them, CI_QUOTED bytes are known to be there.
 */
CI_INLINE void ci_parse_quoted_ports(const __be16 *transport, struct ci_packet *packet)
{
	int offset = ci_ports_offset(packet->protocol);

	if (packet->fragment || offset < 0)
		return;
	packet->source_port_be = transport[offset / 2 + 1];
	packet->destination_port_be = transport[offset / 2];
}

/* Fills *packet from what an ICMP error quotes; `room` bytes of it are there by the outer header. */
CI_INLINE enum ci_parsed ci_parse_quoted(const struct iphdr *ip, __u32 room, const void *data_end,
					 struct ci_packet *packet)
{
	const void *transport;
	__u32 header;

	if ((const void *)(ip + 1) > data_end || room < sizeof(*ip))
		return CI_MALFORMED;
	header = ip->ihl * 4;
	transport = (const void *)ip + header;
	if (ip->version != 4 || header < sizeof(*ip) || transport + CI_QUOTED > data_end ||
	    room < header + CI_QUOTED)
		return CI_MALFORMED;
	/* About a packet that is not ours: a message like any other. */
	if (ip->saddr != packet->destination_be[0])
		return CI_PARSED;
	packet->quoted = 1;
	packet->first = 0;	/* errors are not sent in fragments */
	packet->source_be[0] = ip->daddr;
	packet->protocol = ip->protocol;
	packet->fragment = (ip->frag_off & bpf_htons(CI_IP_OFFSET_MASK)) != 0;
	ci_parse_quoted_ports(transport, packet);
	return CI_PARSED;
}

/* Fills *packet from an IPv4 header. */
CI_INLINE enum ci_parsed ci_parse(const struct iphdr *ip, const void *data_end,
				  struct ci_packet *packet)
{
	__u32 header = ip->ihl * 4;
	__u32 total = bpf_ntohs(ip->tot_len);
	const void *transport = (const void *)ip + header;
	__u32 room;

	if (ip->version != 4 || header < sizeof(*ip) || transport > data_end)
		return CI_MALFORMED;
	/* Length 0: GRO has merged more than 64 kB (BIG TCP), or the stack discards it. */
	if (total && total < header)
		return CI_MALFORMED;
	room = total ? total - header : CI_ANY_LENGTH;
	*packet = (struct ci_packet){
		.source_be = { ip->saddr },
		.destination_be = { ip->daddr },
		.id_be = ip->id,
		.version = 4,
		.protocol = ip->protocol,
		.fragment = (ip->frag_off & bpf_htons(CI_IP_OFFSET_MASK)) != 0,
		.first = (ip->frag_off & bpf_htons(CI_IP_OFFSET_MASK | CI_IP_MORE)) ==
			 bpf_htons(CI_IP_MORE),
	};
	if (packet->fragment)
		return CI_PARSED;
	if (packet->protocol != IPPROTO_ICMP)
		return ci_parse_transport(transport, room, data_end, packet);
	if (transport + CI_ICMP_HEADER > data_end || room < CI_ICMP_HEADER ||
	    !ci_icmp_error(*(const __u8 *)transport))
		return CI_PARSED;
	return ci_parse_quoted(transport + CI_ICMP_HEADER, room - CI_ICMP_HEADER, data_end, packet);
}

#endif
