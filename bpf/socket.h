/* SPDX-License-Identifier: GPL-2.0-only */
/* What this network namespace has for a packet of TCP: a socket, or a listener with its cookies. */
#ifndef CI_SOCKET_H
#define CI_SOCKET_H

#include <bpf/bpf_helpers.h>

#include "packet6.h"

/* The TCP socket of this network namespace that would get the packet, NULL for none. Whoever
 * gets one releases it. */
CI_INLINE struct bpf_sock *ci_socket(void *ctx, const struct ci_packet *packet)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = sizeof(tuple.ipv4);

	if (packet->version == 4) {
		tuple.ipv4.saddr = packet->source_be[0];
		tuple.ipv4.daddr = packet->destination_be[0];
		tuple.ipv4.sport = packet->source_port_be;
		tuple.ipv4.dport = packet->destination_port_be;
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, packet->source_be, 16);
		__builtin_memcpy(tuple.ipv6.daddr, packet->destination_be, 16);
		tuple.ipv6.sport = packet->source_port_be;
		tuple.ipv6.dport = packet->destination_port_be;
		size = sizeof(tuple.ipv6);
	}
	return bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
}

/* The state of that socket, 0 for none. Listeners are none: they belong to every host. */
CI_INLINE __u32 ci_socket_state(void *ctx, const struct ci_packet *packet)
{
	struct bpf_sock *sock = ci_socket(ctx, packet);
	__u32 state;

	if (!sock)
		return 0;
	state = sock->state;
	bpf_sk_release(sock);
	return state == BPF_TCP_LISTEN ? 0 : state;
}

/*
 * Does the packet acknowledge a SYN cookie of a listener here? Then it is the first of its
 * connection to be heard, and makes the socket. The kernel knows its own cookies of the last two
 * minutes, by the ends, both sequence numbers and a secret of its own; 1 packet in 2^29 may pass
 * for one by chance.
 */
CI_INLINE int ci_acknowledges_cookie(void *ctx, const struct ci_packet *packet)
{
	struct tcphdr tcp = {
		.source = packet->source_port_be,
		.dest = packet->destination_port_be,
		.seq = packet->sequence_be,
		.ack_seq = packet->acknowledged_be,
		.ack = packet->ack,
	};
	union {
		struct iphdr ip;
		struct ipv6hdr ip6;
	} header = {};
	struct bpf_sock *sock;
	int valid = 0;

	if (packet->version == 4) {
		header.ip.version = 4;
		header.ip.saddr = packet->source_be[0];
		header.ip.daddr = packet->destination_be[0];
	} else {
		header.ip6.version = 6;
		__builtin_memcpy(&header.ip6.saddr, packet->source_be, 16);
		__builtin_memcpy(&header.ip6.daddr, packet->destination_be, 16);
	}
	sock = ci_socket(ctx, packet);
	if (!sock)
		return 0;
	/* Of other sockets the kernel would read what they may not have. */
	if (sock->state == BPF_TCP_LISTEN)
		valid = !bpf_tcp_check_syncookie(sock, &header, sizeof(header), &tcp, sizeof(tcp));
	bpf_sk_release(sock);
	return valid;
}

#endif
