// SPDX-License-Identifier: GPL-2.0-only
/*
 * The smallest programs that do what any must that shares a VIP by a hash and counts: they have our
 * maps, layouts, hash and counters, and know one VIP of each version of IP, the first, one rule for
 * all of its packets, and one hash mode. So they say what that costs, and what ours cost beyond.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "../bpf/hash.h"
#include "../bpf/packet6.h"

char LICENSE[] SEC("license") = "GPL";

#define RULE 1

/* Whether the bucket is another host's; then it is counted. */
CI_INLINE int is_anothers(const struct ci_vip *vip, __u32 hash, __u32 bytes)
{
	__u32 bucket = ci_bucket(hash, vip->total) & (CI_BUCKETS - 1);
	__u32 index = vip->group;
	const struct ci_group *group = bpf_map_lookup_elem(&groups, &index);

	if (!group || group->state[bucket] != CI_STATE_NONE)
		return 0;
	ci_count(RULE, CI_DROP_NOT_OWNED, bytes);
	ci_count_bucket(index, bucket, bytes);
	return 1;
}

CI_INLINE int is_anothers4(const struct iphdr *ip, __u32 bytes)
{
	const struct ci_config *config = ci_current_config();

	if (!config || config->vip[0].address_be[0] != ip->daddr)
		return 0;
	return is_anothers(&config->vip[0],
			   ci_hash(CI_SOURCEIP, config->vip[0].hash_init, bpf_ntohl(ip->saddr), 0, 0),
			   bytes);
}

CI_INLINE int is_anothers6(const struct ipv6hdr *ip, __u32 bytes)
{
	const struct ci_config *config = ci_current_config();
	const __be32 *source_be = ip->saddr.in6_u.u6_addr32;
	const struct ci_vip *vip;
	__u32 source[4];

	if (!config)
		return 0;
	vip = &config->vip[0];
	if (!ci_same_address6(vip->address_be, ip->daddr.in6_u.u6_addr32))
		return 0;
	for (int at = 0; at < 4; at++)
		source[at] = bpf_ntohl(source_be[at] & vip->mask_be[at]);
	return is_anothers(vip, ci_hash6(CI_SOURCEIP, vip->hash_init, source, 0, 0), bytes);
}

CI_INLINE int is_to_be_dropped(const void *data, const void *data_end, __u32 bytes)
{
	const struct ethhdr *ethernet = data;
	const struct ipv6hdr *ip6 = (const void *)(ethernet + 1);

	/* So long is a header of TCP behind one of IPv4, too. */
	if ((const void *)(ip6 + 1) > data_end)
		return 0;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP))
		return is_anothers4((const void *)(ethernet + 1), bytes);
	return ethernet->h_proto == bpf_htons(ETH_P_IPV6) && is_anothers6(ip6, bytes);
}

SEC("xdp.frags")
int smallest_xdp(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;

	return is_to_be_dropped(data, data_end, data_end - data) ? XDP_DROP : XDP_PASS;
}

SEC("tc")
int smallest_tc(struct __sk_buff *skb)
{
	const void *data = (const void *)(long)skb->data;
	const void *data_end = (const void *)(long)skb->data_end;

	return is_to_be_dropped(data, data_end, skb->len) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
