/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading an IPv6 packet, as packet.h does for IPv4. Extension headers are stepped
 * over: RFC 8200, 4. AH is none of them here: as with IPv4, its SPI stands for ports.
 */
#ifndef CI_PACKET6_H
#define CI_PACKET6_H

#include <linux/ipv6.h>

#include "packet.h"

#define CI_EXTENSIONS 6			/* extension headers stepped over */
#define CI_IP6_OFFSET_MASK 0xfff8	/* fragment offset, RFC 8200, 4.5 */
#define CI_IP6_MORE 1			/* more fragments follow */

/* What extension headers begin with; the last two fields are those of a fragment header. */
struct ci_extension {
	__u8 next;
	__u8 length;			/* in units of 8 bytes, the first 8 not counted */
	__be16 offset_be;
	__be32 id_be;
};

/* Does a frame carry an IPv6 header, and is it not cut short? */
CI_INLINE int ci_is_ipv6(const struct ci_frame *frame, const void *data_end)
{
	return frame->protocol_be == bpf_htons(ETH_P_IPV6) &&
	       frame->network + sizeof(struct ipv6hdr) <= data_end;
}

/* Must every host hear a message of this type? Solicitations come to a VIP itself, too. */
CI_INLINE int ci_for_neighbours(__u8 type)
{
	return (type >= 130 && type <= 137) ||	/* MLD, RFC 2710; discovery, RFC 4861 */
	       type == 143;			/* MLDv2 report, RFC 3810 */
}

CI_INLINE int ci_icmp6_error(__u8 type)
{
	return type >= 1 && type <= 4;	/* RFC 4443; 2 is the path MTU */
}

/* The same number; the verifier forgets what it knew of it. */
CI_APART __u32 ci_any(__u32 number)
{
	/* Else the compiler finds out which it is. */
	asm volatile("" : "+r"(number));
	return number;
}

/*
 * Sets protocol and what is known of a fragment. Returns how far behind the IPv6
 * header the transport header is, of a later fragment its fragment header; 0 for a
 * chain that is cut short by data_end or after `room` bytes, or too long.
 */
CI_INLINE __u32 ci_skip_extensions(const struct ipv6hdr *ip, __u32 room, const void *data_end,
				   struct ci_packet *packet)
{
	__u32 offset = sizeof(*ip);
	__u8 next = ip->nexthdr;

	for (int skipped = 0; skipped <= CI_EXTENSIONS; skipped++) {
		const struct ci_extension *header = (const void *)ip + offset;

		packet->protocol = next;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			return offset <= room ? offset : 0;
		if ((const void *)(header + 1) > data_end || offset + sizeof(*header) > room)
			return 0;
		if (next == IPPROTO_FRAGMENT) {
			__u16 place = bpf_ntohs(header->offset_be);

			packet->id_be = header->id_be;
			packet->fragment = (place & CI_IP6_OFFSET_MASK) != 0;
			packet->first = !packet->fragment && (place & CI_IP6_MORE);
			if (packet->fragment)
				return offset;
			offset += sizeof(*header);
		} else {
			offset += (header->length + 1) * 8;
		}
		if (offset > CI_HEADERS)
			return 0;
		next = header->next;
		/* Else it would go through all that follows for each length of a chain. */
		offset = ci_any(offset) & (2 * CI_HEADERS - 1);
	}
	return 0;
}

CI_INLINE int ci_same_address6(const __be32 one[4], const __be32 other[4])
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] &&
	       one[3] == other[3];
}

/* Fills *packet from what an ICMPv6 error quotes; see ci_parse_quoted(). */
CI_INLINE enum ci_parsed ci_parse_quoted6(const struct ipv6hdr *ip, __u32 room,
					  const void *data_end, struct ci_packet *packet)
{
	const void *transport;
	__u32 offset;

	if ((const void *)(ip + 1) > data_end || room < sizeof(*ip) || ip->version != 6)
		return CI_MALFORMED;
	if (!ci_same_address6(ip->saddr.in6_u.u6_addr32, packet->destination_be))
		return CI_PARSED;
	offset = ci_skip_extensions(ip, room, data_end, packet);
	transport = (const void *)ip + offset;
	if (!offset || transport + CI_QUOTED > data_end || room < offset + CI_QUOTED)
		return CI_MALFORMED;
	packet->quoted = 1;
	packet->first = 0;
	__builtin_memcpy(packet->source_be, &ip->daddr, sizeof(packet->source_be));
	ci_parse_quoted_ports(transport, packet);
	return CI_PARSED;
}

/* Fills *packet from an IPv6 header. */
CI_INLINE enum ci_parsed ci_parse6(const struct ipv6hdr *ip, const void *data_end,
				   struct ci_packet *packet)
{
	/* Length 0: a jumbogram, such as GRO makes of much TCP, or the stack discards it. */
	__u32 payload = bpf_ntohs(ip->payload_len);
	__u32 room = payload ? sizeof(*ip) + payload : CI_ANY_LENGTH;
	const void *transport;
	__u32 offset;
	__u8 type;

	if (ip->version != 6)
		return CI_MALFORMED;
	*packet = (struct ci_packet){ .version = 6 };
	__builtin_memcpy(packet->source_be, &ip->saddr, sizeof(packet->source_be));
	__builtin_memcpy(packet->destination_be, &ip->daddr, sizeof(packet->destination_be));
	offset = ci_skip_extensions(ip, room, data_end, packet);
	if (!offset)
		return CI_MALFORMED;
	if (packet->fragment)
		return CI_PARSED;
	transport = (const void *)ip + offset;
	room -= offset;
	if (packet->protocol != IPPROTO_ICMPV6)
		return ci_parse_transport(transport, room, data_end, packet);
	if (transport + CI_ICMP_HEADER > data_end || room < CI_ICMP_HEADER)
		return CI_PARSED;
	type = *(const __u8 *)transport;
	if (ci_for_neighbours(type))
		return CI_NEIGHBOURS;
	if (!ci_icmp6_error(type))
		return CI_PARSED;
	return ci_parse_quoted6(transport + CI_ICMP_HEADER, room - CI_ICMP_HEADER, data_end,
				packet);
}

/* Fills *packet from an IPv4 header, or else an IPv6 one, at `network`. */
CI_INLINE enum ci_parsed ci_parse_either(int ipv4, const void *network, const void *data_end,
					 struct ci_packet *packet)
{
	return ipv4 ? ci_parse(network, data_end, packet) : ci_parse6(network, data_end, packet);
}

#endif
