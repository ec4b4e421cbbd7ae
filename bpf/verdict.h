/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verdict: one function for every hook, so that they cannot disagree.
 *
 * In this order: tagged more often than anybody tags -> drop, for a VIP may be behind it. Not
 * a VIP of this interface -> untouched. Malformed -> drop.
 * IPv6 neighbour discovery -> untouched. ICMP error -> by the packet that it quotes.
 * Later fragment -> as its first. No rule, or a service that drops -> drop. Then hash, or
 * the service's own bucket -> state. The deadline is read only before an accept, so
 * discarding, which is most of the work, costs no clock.
 */
#ifndef CI_VERDICT_H
#define CI_VERDICT_H

#include "hash.h"
#include "packet6.h"
#include "socket.h"

#define CI_UNTOUCHED (-1)	/* not a VIP of this interface: no business of ours */

/* What was decided and where it counts. bucket is CI_BUCKETS where none was reached. */
struct ci_verdict {
	int reason;		/* enum ci_reason or CI_UNTOUCHED */
	__u32 rule;
	__u32 group;
	__u32 bucket;
};

CI_INLINE int ci_drops(int reason)
{
	return reason >= CI_DROP_NOT_OWNED;
}

/* The slot of the only VIP that an address of this fold may be. The masks tell the verifier the
 * bounds. */
CI_INLINE const struct ci_slot *ci_slot_of(const struct ci_config *config, __u32 fold)
{
	__u32 slot = fold * config->vip_seed >> CI_VIP_SHIFT;

	return &config->slot[slot & (CI_VIP_SLOTS - 1)];
}

/* Half of an IPv6 address and what became of the half before it, in the fold of the address. */
CI_INLINE __u64 ci_folded(__u64 before, __u32 low, __u32 high, __u32 seed)
{
	__u64 fold = (before + (low | (__u64)high << 32)) * seed;

	return fold ^ fold >> 32;
}

CI_INLINE const struct ci_slot *ci_slot_of6(const struct ci_config *config, const __be32 words[4])
{
	__u32 seed = config->vip_seed;
	__u64 first = ci_folded(1, words[0], words[1], seed);

	return ci_slot_of(config, ci_folded(first, words[2], words[3], seed));
}

/* The only VIP that an address of this slot may be, NULL for none. */
CI_INLINE const struct ci_vip *ci_vip_of(const struct ci_config *config, const struct ci_slot *slot)
{
	__u32 index = slot->vip;

	return index ? &config->vip[(index - 1) & (CI_VIPS - 1)] : NULL;
}

/* The VIP with this address, NULL for none. */
CI_INLINE const struct ci_vip *ci_find_vip(const struct ci_config *config, __be32 address_be)
{
	const struct ci_vip *vip = ci_vip_of(config, ci_slot_of(config, address_be));

	return vip && vip->version == 4 && vip->address_be[0] == address_be ? vip : NULL;
}

CI_INLINE const struct ci_vip *ci_find_vip6(const struct ci_config *config,
					    const struct in6_addr *address)
{
	const __be32 *words = address->in6_u.u6_addr32;
	const struct ci_vip *vip = ci_vip_of(config, ci_slot_of6(config, words));

	return vip && vip->version == 6 && ci_same_address6(vip->address_be, words) ? vip : NULL;
}

/* The index of the first service of a port, 0 for none, by the table of a VIP and protocol. */
CI_INLINE __u32 ci_first_service(const struct ci_config *config, __u32 table, __be16 port_be)
{
	/* The high byte is the first on the wire. */
	__u32 page = config->table[table & (CI_TABLES - 1)].page[port_be & 0xff] & (CI_PAGES - 1);

	return config->page[page].service[port_be >> 8];
}

/* The service with this index; that of index 0 is all zeros. */
CI_INLINE const struct ci_service *ci_service(const struct ci_config *config, __u32 index)
{
	return &config->service[index & (CI_SERVICES - 1)];
}

/* The index of the service of the rule that covers the packet, 0 for none. */
CI_APART __u32 ci_find_service(const struct ci_config *config, const struct ci_vip *vip,
			       const struct ci_packet *packet)
{
	__u16 source_port;
	__u32 index;

	if (!config || !vip || !packet)		/* never; for the verifier */
		return 0;
	source_port = bpf_ntohs(packet->source_port_be);
	index = ci_first_service(config, vip->table[packet->protocol], packet->destination_port_be);

	for (int tried = 0; tried < CI_CHAIN && index; tried++) {
		const struct ci_service *service = ci_service(config, index);
		int inside = (packet->source_be[0] & service->mask_be) == service->source_be;
		int wanted = !(service->flags & CI_SERVICE_NOT_SOURCE);

		if (service->flags & CI_SERVICE_ANY)
			return index;
		if (inside == wanted && source_port >= service->port_first &&
		    source_port <= service->port_last)
			return index;
		index = service->next;
	}
	return 0;
}

CI_INLINE struct ci_ends ci_ends(const struct ci_packet *packet)
{
	struct ci_ends ends = {
		.source_port_be = packet->source_port_be,
		.destination_port_be = packet->destination_port_be,
		.version = packet->version,
	};

	__builtin_memcpy(ends.source_be, packet->source_be, sizeof(ends.source_be));
	__builtin_memcpy(ends.destination_be, packet->destination_be, sizeof(ends.destination_be));
	return ends;
}

/*
 * A SYN, and what became of it, says whose all is that follows between its ends. Where it was
 * left to another host only a socket that is here already could mistake it, for none comes
 * into being without a SYN that was accepted: so a flood of SYNs takes no room.
 *
 * That holds for a bucket of which this host has nothing, too: it may have had it before, and
 * may take it again. Not without a lease: who moves buckets by commands has them all or not.
 */
CI_INLINE void ci_note_syn(void *ctx, const struct ci_packet *packet, int reason, int leased)
{
	struct ci_ends ends = ci_ends(packet);
	__u32 whose = CI_OURS;

	switch (reason) {
	case CI_ACCEPT_OWNED:
		if (ci_whose(&ends))
			ci_forget_whose(&ends);
		return;
	case CI_DROP_NOT_OWNED:
		if (!leased)
			return;
		/* fall through */
	case CI_DROP_DRAINING:
	case CI_DROP_EXPIRED:
		if (!ci_socket_state(ctx, packet)) {
			ci_forget_own(&ends);
			return;
		}
		whose = CI_THEIRS;
		break;
	case CI_ACCEPT_TAKING:
		break;
	default:
		return;
	}
	ci_note_whose(&ends, whose);
}

/*
 * Is it for a socket here to answer a packet of TCP, no SYN, while another host has connections
 * of the bucket too?
 *
 * A socket may be older than the connection that its ends have now: its client closed it, or
 * died, and used the port again, and another host accepted the SYN. We saw that SYN as well, so
 * such a socket answers nothing any more.
 *
 * TIME_WAIT sockets are mostly so, and we may have missed the SYN. (The state is also that of
 * FIN_WAIT2 when nobody here has the socket open.) All that the client of the old connection
 * still needs is an answer to its FIN. All else is of a new connection, or needs none: it is
 * left alone, and so is the FIN that comes after it. A second answer is left for the FIN of
 * a connection of which this host missed all that came before.
 *
 * Of the host that takes a bucket, TIME_WAIT sockets from before do not even see a FIN: while
 * others had the bucket its link may have been down, and it saw nothing of what happened.
 *
 * A connection whose SYN was answered with a cookie has no socket yet. Who takes the bucket
 * accepted that SYN, and whoever drains saw it too: none of its sockets answers any more. That
 * note may be of an earlier time, and a SYN have been missed since; but then the client
 * acknowledges what another host sent, and no cookie of ours. Who drains has no such note: where
 * the client sent its SYN again, another host may have answered that.
 */
CI_INLINE int ci_socket_answers(void *ctx, const struct ci_packet *packet, int taking)
{
	struct ci_ends ends = ci_ends(packet);
	__u32 whose = ci_whose(&ends);
	__u32 state;

	if (whose == CI_THEIRS)
		return 0;
	state = ci_socket_state(ctx, packet);
	if (!state)
		return taking && whose == CI_OURS && ci_acknowledges_cookie(ctx, packet);
	if (state != BPF_TCP_TIME_WAIT)
		return 1;
	if (packet->fin)
		return !taking || whose == CI_OURS;
	if (!taking && !packet->quoted)
		ci_note_whose(&ends, CI_THEIRS);
	return 0;
}

/* The bit of a packet's flow in the flow slots of its bucket. */
CI_INLINE __u64 ci_flow_slot_bit(const struct ci_packet *packet)
{
	return 1ULL << ci_flow_slot(packet->source_be, packet->source_port_be,
				    packet->destination_port_be);
}

/* By the state of the bucket; *flow_slots are those of the bucket. */
CI_INLINE int ci_by_state(void *ctx, __u8 state, __u64 *flow_slots, const struct ci_packet *packet)
{
	int tcp = packet->protocol == IPPROTO_TCP;

	switch (state) {
	case CI_STATE_OWNED:
		return CI_ACCEPT_OWNED;
	case CI_STATE_WATCHING:
		if (!tcp && !(*flow_slots & ci_flow_slot_bit(packet)))
			__sync_fetch_and_or(flow_slots, ci_flow_slot_bit(packet));
		return CI_ACCEPT_OWNED;
	case CI_STATE_TAKING:
		if (tcp ? packet->syn || ci_socket_answers(ctx, packet, 1) :
			  !(*flow_slots & ci_flow_slot_bit(packet)))
			return CI_ACCEPT_TAKING;
		return CI_DROP_TAKING;
	case CI_STATE_DRAINING:
		if (tcp ? !packet->syn && ci_socket_answers(ctx, packet, 0) :
			  (*flow_slots & ci_flow_slot_bit(packet)) != 0)
			return CI_ACCEPT_DRAINING;
		return CI_DROP_DRAINING;
	default:
		return CI_DROP_NOT_OWNED;
	}
}

CI_INLINE struct ci_fragment_key ci_fragment_key(const struct ci_packet *packet)
{
	struct ci_fragment_key key = {
		.id_be = packet->id_be,
		.protocol = packet->version == 4 ? packet->protocol : 0,
		.version = packet->version,
	};

	__builtin_memcpy(key.source_be, packet->source_be, sizeof(key.source_be));
	__builtin_memcpy(key.destination_be, packet->destination_be, sizeof(key.destination_be));
	return key;
}

/* Notes what became of a first fragment. An attacker who sends many makes us forget, no more. */
CI_INLINE void ci_note_fragment(const struct ci_packet *packet, int dropped)
{
	struct ci_fragment_key key = ci_fragment_key(packet);
	struct ci_fragment fragment = {
		.until = bpf_ktime_get_ns() + CI_FRAGMENT_NS,
		.dropped = dropped,
	};

	bpf_map_update_elem(&fragments, &key, &fragment, BPF_ANY);
}

/* A later fragment fares as its first did. */
CI_INLINE int ci_by_fragment(const struct ci_packet *packet)
{
	struct ci_fragment_key key = ci_fragment_key(packet);
	const struct ci_fragment *first = bpf_map_lookup_elem(&fragments, &key);

	if (first && first->dropped && bpf_ktime_get_ns() < first->until)
		return CI_DROP_FRAGMENT;
	return CI_ACCEPT_FRAGMENT;
}

/*
 * The hash of a packet of IPv4. By branches on the mode, though ci_hash can do without: so hashing
 * does not wait until it is known, behind a chain of look-ups, for the branch is foreseen.
 */
CI_INLINE __u32 ci_hash_ipv4(__u32 mode, __u32 hash_init, __be32 source_be, __be16 source_port_be,
			     __be16 destination_port_be)
{
	__u32 source = bpf_ntohl(source_be);

	switch (mode) {
	case CI_SOURCEIP:
		return ci_hash(CI_SOURCEIP, hash_init, source, source_port_be, destination_port_be);
	case CI_SOURCEIP_SOURCEPORT:
		return ci_hash(CI_SOURCEIP_SOURCEPORT, hash_init, source, source_port_be,
			       destination_port_be);
	case CI_SOURCEIP_SOURCEPORT_DESTPORT:
		return ci_hash(CI_SOURCEIP_SOURCEPORT_DESTPORT, hash_init, source, source_port_be,
			       destination_port_be);
	default:
		return ci_hash_raw(mode, 4, hash_init, &source_be);
	}
}

/* Of a packet of IPv6. */
CI_INLINE __u32 ci_hash_ipv6(__u32 mode, const struct ci_vip *vip, const __be32 source_be[4],
			     __be16 source_port_be, __be16 destination_port_be)
{
	__u32 source[4];

	for (int at = 0; at < 4; at++)
		source[at] = bpf_ntohl(source_be[at] & vip->mask_be[at]);
	switch (mode) {
	case CI_SOURCEIP:
		return ci_hash6(CI_SOURCEIP, vip->hash_init, source, source_port_be,
				destination_port_be);
	case CI_SOURCEIP_SOURCEPORT:
		return ci_hash6(CI_SOURCEIP_SOURCEPORT, vip->hash_init, source, source_port_be,
				destination_port_be);
	case CI_SOURCEIP_SOURCEPORT_DESTPORT:
		return ci_hash6(CI_SOURCEIP_SOURCEPORT_DESTPORT, vip->hash_init, source,
				source_port_be, destination_port_be);
	default:
		return ci_hash_raw(mode, 6, vip->hash_init, source_be);
	}
}

CI_INLINE __u32 ci_packet_hash(const struct ci_packet *packet, const struct ci_vip *vip,
			       __u32 mode)
{
	return packet->version == 4 ?
		ci_hash_ipv4(mode, vip->hash_init, packet->source_be[0], packet->source_port_be,
			     packet->destination_port_be) :
		ci_hash_ipv6(mode, vip, packet->source_be, packet->source_port_be,
			     packet->destination_port_be);
}

/* The bucket of a hash. The mask tells the verifier the bounds. */
CI_INLINE __u32 ci_bucket_of(__u32 hash, __u32 total)
{
	return ci_bucket(hash, total) & (CI_BUCKETS - 1);
}

/* The bucket of a packet that a service covers, CI_DROP excepted. */
CI_INLINE __u32 ci_service_bucket(const struct ci_packet *packet, const struct ci_vip *vip,
				  const struct ci_service *service)
{
	if (service->action == CI_SINGLE)
		return service->bucket;
	return ci_bucket_of(ci_packet_hash(packet, vip, service->hashmode), vip->total);
}

/* Is the lease of the group over? Then another host may answer. */
CI_INLINE int ci_is_over(const struct ci_group *group)
{
	return group->deadline != CI_NO_DEADLINE && bpf_ktime_get_boot_ns() >= group->deadline;
}

/* Decides about one frame. */
CI_INLINE struct ci_verdict ci_decide(void *ctx, const void *data, const void *data_end)
{
	struct ci_verdict verdict = { CI_UNTOUCHED, 0, 0, CI_BUCKETS };
	const struct ci_frame frame = ci_frame(data, data_end);
	const struct iphdr *ip = frame.network;
	const struct ipv6hdr *ip6 = frame.network;
	int ipv4 = ci_is_ipv4(&frame, data_end);
	const struct ci_service *service;
	const struct ci_config *config;
	const struct ci_vip *vip;
	enum ci_parsed parsed;
	struct ci_packet packet;
	struct ci_group *group;
	__u32 index;

	if (frame.hidden)
		verdict.reason = CI_DROP_MALFORMED;
	if (!ipv4 && !ci_is_ipv6(&frame, data_end))
		return verdict;
	config = ci_current_config();
	if (!config)
		return verdict;
	vip = ipv4 ? ci_find_vip(config, ip->daddr) : ci_find_vip6(config, &ip6->daddr);
	if (!vip)
		return verdict;
	verdict.group = vip->group;
	group = bpf_map_lookup_elem(&groups, &verdict.group);
	if (!group)
		return verdict;

	parsed = ci_parse_either(ipv4, frame.network, data_end, &packet);
	if (parsed != CI_PARSED) {
		verdict.reason = parsed == CI_NEIGHBOURS ? CI_UNTOUCHED : CI_DROP_MALFORMED;
		return verdict;
	}
	if (packet.fragment) {
		/* Nobody answers an ICMP error: one that quotes a later fragment is let through. */
		verdict.reason = packet.quoted ? CI_ACCEPT_FRAGMENT : ci_by_fragment(&packet);
	} else {
		index = ci_find_service(config, vip, &packet);
		service = ci_service(config, index);
		if (!index) {
			verdict.reason = CI_DROP_NO_RULE;
			goto decided;
		}
		verdict.rule = service->rule;
		if (service->action == CI_DROP) {
			verdict.reason = CI_DROP_SERVICE;
			goto decided;
		}
		verdict.bucket = ci_service_bucket(&packet, vip, service);
		verdict.reason = ci_by_state(ctx, group->state[verdict.bucket],
					     &group->flow_slots[verdict.bucket], &packet);
	}
	if (!ci_drops(verdict.reason) && ci_is_over(group))
		verdict.reason = CI_DROP_EXPIRED;
	if (packet.syn)
		ci_note_syn(ctx, &packet, verdict.reason, group->deadline != CI_NO_DEADLINE);
decided:
	if (packet.first)
		ci_note_fragment(&packet, ci_drops(verdict.reason));
	return verdict;
}

/* The frame has `bytes` bytes, link header included. */
CI_INLINE void ci_count_verdict(const struct ci_verdict *verdict, __u32 bytes)
{
	ci_count(verdict->rule, verdict->reason, bytes);
	if (verdict->bucket < CI_BUCKETS)
		ci_count_bucket(verdict->group, verdict->bucket, bytes);
}

#endif
