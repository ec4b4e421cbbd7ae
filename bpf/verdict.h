/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verdict: one function for every hook, so that they cannot disagree.
 *
 * In this order: not a VIP of this interface -> untouched. Malformed -> drop.
 * ICMP error -> by the packet that it quotes. Later fragment -> as its first. No
 * rule -> drop. Then hash -> bucket -> state. The deadline is read only before an accept, so discarding, which is
 * most of the work, costs no clock.
 */
#ifndef CI_VERDICT_H
#define CI_VERDICT_H

#include "hash.h"
#include "packet.h"

#define CI_UNTOUCHED (-1)	/* not a VIP of this interface: no business of ours */

/* What was decided and where it counts. bucket is CI_BUCKETS where none was reached. */
struct ci_verdict {
	int reason;		/* enum ci_reason or CI_UNTOUCHED */
	__u32 rule;
	__u32 group;
	__u32 bucket;
	__u32 bytes;
};

CI_INLINE int ci_drops(int reason)
{
	return reason >= CI_DROP_NOT_OWNED;
}

/* The VIP with this address, NULL for none. The masks tell the verifier the bounds. */
CI_INLINE const struct ci_vip *ci_find_vip(const struct ci_config *config, __be32 address_be)
{
	__u32 slot = address_be * config->vip_seed >> CI_VIP_SHIFT;
	__u32 index = config->vip_slot[slot & (CI_VIP_SLOTS - 1)];
	const struct ci_vip *vip = &config->vip[(index - 1) & (CI_VIPS - 1)];

	return index && vip->address_be == address_be ? vip : NULL;
}

/* The service of the rule that covers the packet, NULL for none. */
CI_INLINE const struct ci_service *ci_find_service(const struct ci_config *config,
						   const struct ci_vip *vip,
						   const struct ci_packet *packet)
{
	__u16 port = bpf_ntohs(packet->destination_port_be);
	__u16 source_port = bpf_ntohs(packet->source_port_be);
	__u32 table = vip->table[packet->protocol] & (CI_TABLES - 1);
	__u32 page = config->table[table].page[port >> 8] & (CI_PAGES - 1);
	__u32 index = config->page[page].service[port & 0xff];

	for (int tried = 0; tried < CI_CHAIN && index; tried++) {
		const struct ci_service *service = &config->service[index & (CI_SERVICES - 1)];
		int inside = (packet->source_be & service->mask_be) == service->source_be;
		int wanted = !(service->flags & CI_SERVICE_NOT_SOURCE);

		if (service->flags & CI_SERVICE_ANY)
			return service;
		if (inside == wanted && source_port >= service->port_first &&
		    source_port <= service->port_last)
			return service;
		index = service->next;
	}
	return NULL;
}

/*
 * Does a TCP socket for this packet live in this network namespace? Request and
 * time-wait sockets count, listeners do not: they belong to every host.
 */
CI_INLINE int ci_socket_here(void *ctx, const struct ci_packet *packet)
{
	struct bpf_sock_tuple tuple = {
		.ipv4.saddr = packet->source_be,
		.ipv4.daddr = packet->destination_be,
		.ipv4.sport = packet->source_port_be,
		.ipv4.dport = packet->destination_port_be,
	};
	struct bpf_sock *sock =
		bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	int here;

	if (!sock)
		return 0;
	here = sock->state != BPF_TCP_LISTEN;
	bpf_sk_release(sock);
	return here;
}

CI_INLINE int ci_by_state(void *ctx, __u8 state, const struct ci_packet *packet)
{
	int tcp = packet->protocol == IPPROTO_TCP;

	switch (state) {
	case CI_STATE_OWNED:
		return CI_ACCEPT_OWNED;
	case CI_STATE_TAKING:
		if (!tcp || packet->syn || ci_socket_here(ctx, packet))
			return CI_ACCEPT_TAKING;
		return CI_DROP_TAKING;
	case CI_STATE_DRAINING:
		if (tcp && !packet->syn && ci_socket_here(ctx, packet))
			return CI_ACCEPT_DRAINING;
		return CI_DROP_DRAINING;
	default:
		return CI_DROP_NOT_OWNED;
	}
}

CI_INLINE struct ci_fragment_key ci_fragment_key(const struct iphdr *ip)
{
	return (struct ci_fragment_key){
		.source_be = ip->saddr,
		.destination_be = ip->daddr,
		.id_be = ip->id,
		.protocol = ip->protocol,
	};
}

/* Notes what became of a first fragment. An attacker who sends many makes us forget, no more. */
CI_INLINE void ci_note_fragment(const struct iphdr *ip, int dropped)
{
	struct ci_fragment_key key = ci_fragment_key(ip);
	struct ci_fragment fragment = {
		.until = bpf_ktime_get_ns() + CI_FRAGMENT_NS,
		.dropped = dropped,
	};

	bpf_map_update_elem(&fragments, &key, &fragment, BPF_ANY);
}

/* A later fragment fares as its first did. */
CI_INLINE int ci_by_fragment(const struct iphdr *ip)
{
	struct ci_fragment_key key = ci_fragment_key(ip);
	const struct ci_fragment *first = bpf_map_lookup_elem(&fragments, &key);

	if (first && first->dropped && bpf_ktime_get_ns() < first->until)
		return CI_DROP_FRAGMENT;
	return CI_ACCEPT_FRAGMENT;
}

/* Decides about one frame of `bytes` bytes, link header included. */
CI_INLINE struct ci_verdict ci_decide(void *ctx, const void *data, const void *data_end,
				      __u32 bytes)
{
	struct ci_verdict verdict = { CI_UNTOUCHED, 0, 0, CI_BUCKETS, bytes };
	const struct iphdr *ip = ci_ipv4(data, data_end);
	const struct ci_service *service;
	const struct ci_config *config;
	const struct ci_vip *vip;
	struct ci_packet packet;
	struct ci_group *group;
	__u32 hash;

	if (!ip)
		return verdict;
	config = ci_current_config();
	if (!config)
		return verdict;
	vip = ci_find_vip(config, ip->daddr);
	if (!vip)
		return verdict;
	verdict.group = vip->group;
	group = bpf_map_lookup_elem(&groups, &verdict.group);
	if (!group)
		return verdict;

	if (ci_parse(ip, data_end, &packet)) {
		verdict.reason = CI_DROP_MALFORMED;
		return verdict;
	}
	if (packet.fragment) {
		/* Nobody answers an ICMP error: one that quotes a later fragment is let through. */
		verdict.reason = packet.quoted ? CI_ACCEPT_FRAGMENT : ci_by_fragment(ip);
	} else {
		service = ci_find_service(config, vip, &packet);
		if (!service) {
			verdict.reason = CI_DROP_NO_RULE;
			goto decided;
		}
		verdict.rule = service->rule;
		hash = ci_hash(service->hashmode, vip->hash_init, bpf_ntohl(packet.source_be),
			       packet.source_port_be, packet.destination_port_be);
		verdict.bucket = ci_bucket(hash, vip->total) & (CI_BUCKETS - 1);
		verdict.reason = ci_by_state(ctx, group->state[verdict.bucket], &packet);
	}
	if (!ci_drops(verdict.reason) && group->deadline != CI_NO_DEADLINE &&
	    bpf_ktime_get_ns() >= group->deadline)
		verdict.reason = CI_DROP_EXPIRED;
decided:
	if (packet.first)
		ci_note_fragment(ip, ci_drops(verdict.reason));
	return verdict;
}

CI_INLINE void ci_count_verdict(const struct ci_verdict *verdict)
{
	ci_count(verdict->rule, verdict->reason, verdict->bytes);
	if (verdict->bucket < CI_BUCKETS)
		ci_count_bucket(verdict->group, verdict->bucket, verdict->bytes);
}

#endif
