/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the rules say of a packet: which VIP it is for, which service covers it, and which bucket it
 * falls into. Everything is found by a fixed number of steps, chains of services excepted.
 */
#ifndef CI_RULES_H
#define CI_RULES_H

#include "hash.h"
#include "packet6.h"

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

#endif
