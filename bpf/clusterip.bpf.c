// SPDX-License-Identifier: GPL-2.0-only
/*
 * The packet path of clusterip: three hooks, one verdict. Every host of the
 * cluster sees every packet to a VIP; these programs let one of them answer.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "arp.h"
#include "neighbour.h"
#include "verdict.h"

char LICENSE[] SEC("license") = "GPL";

/* Packet types of linux/if_packet.h. */
#define CI_PACKET_HOST 0
#define CI_PACKET_BROADCAST 1
#define CI_PACKET_MULTICAST 2

/*
 * The accelerator: discards before the stack has spent anything on the packet.
 * What it passes is decided and counted in tc.
 */
SEC("xdp.frags")
int clusterip_xdp(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;
	struct ci_verdict verdict = ci_decide(ctx, data, data_end);

	if (!ci_drops(verdict.reason))
		return XDP_PASS;
	/* The length takes a call, for a frame may be in several buffers. */
	ci_count_verdict(&verdict, bpf_xdp_get_buff_len(ctx));
	return XDP_DROP;
}

/* Brings the headers into the linear part, where data..data_end can see them. */
CI_INLINE void ci_pull_headers(struct __sk_buff *skb)
{
	__u32 linear = skb->data_end - skb->data;

	if (linear < CI_HEADERS && linear < skb->len)
		bpf_skb_pull_data(skb, skb->len < CI_HEADERS ? skb->len : CI_HEADERS);
}

SEC("tc")
int clusterip_ingress(struct __sk_buff *skb)
{
	struct ci_verdict verdict;

	/* A tagged frame belongs to a VLAN device above this one. */
	if (skb->vlan_present)
		return TC_ACT_UNSPEC;
	ci_pull_headers(skb);
	verdict = ci_decide(skb, (const void *)(long)skb->data,
			    (const void *)(long)skb->data_end);
	if (verdict.reason == CI_UNTOUCHED)
		return TC_ACT_UNSPEC;
	ci_count_verdict(&verdict, skb->len);
	if (ci_drops(verdict.reason))
		return TC_ACT_SHOT;
	/* TCP answers nothing that came by multicast, or by broadcast where that is the cluster
	 * MAC. Frames for another host's own MAC, which a promiscuous interface sees, stay. */
	if (skb->pkt_type == CI_PACKET_MULTICAST || skb->pkt_type == CI_PACKET_BROADCAST)
		bpf_skb_change_type(skb, CI_PACKET_HOST);
	/* Not TC_ACT_OK: filters after ours still have their say. */
	return TC_ACT_UNSPEC;
}

/* ARP for a VIP; returns the verdict of tc. */
CI_INLINE int ci_send_arp(struct __sk_buff *skb)
{
	const struct ci_vip *vip;
	__u8 mac[ETH_ALEN];

	ci_pull_headers(skb);
	vip = ci_arp_vip((const void *)(long)skb->data, (const void *)(long)skb->data_end);
	if (!vip)
		return TC_ACT_UNSPEC;
	__builtin_memcpy(mac, vip->mac, sizeof(mac));
	if (bpf_skb_store_bytes(skb, CI_SENDER_MAC, mac, sizeof(mac), 0)) {
		ci_count(0, CI_DROP_ARP, skb->len);
		return TC_ACT_SHOT;
	}
	ci_count(0, CI_ARP_REWRITTEN, skb->len);
	return TC_ACT_UNSPEC;
}

/* The same for IPv6. Most of what comes here is other traffic: it costs one look. */
CI_INLINE int ci_send_ipv6(struct __sk_buff *skb)
{
	const void *data = (const void *)(long)skb->data;
	const void *data_end = (const void *)(long)skb->data_end;
	const struct ipv6hdr *ip = ci_ipv6(data, data_end);
	const struct ci_neighbour *message;
	const struct ci_vip *vip;
	int at;

	if (ip && ip->nexthdr != IPPROTO_ICMPV6)
		return TC_ACT_UNSPEC;
	ci_pull_headers(skb);
	data = (const void *)(long)skb->data;
	data_end = (const void *)(long)skb->data_end;
	message = ci_neighbour(data, data_end);
	if (!message)
		return TC_ACT_UNSPEC;
	vip = ci_neighbour_vip(data, message);
	if (!vip)
		return TC_ACT_UNSPEC;
	at = ci_neighbour_option(data, data_end, message);
	if (!at)
		return TC_ACT_UNSPEC;
	if (at < 0 || ci_tell_mac(skb, at, vip)) {
		ci_count(0, CI_DROP_ARP, skb->len);
		return TC_ACT_SHOT;
	}
	ci_count(0, CI_ARP_REWRITTEN, skb->len);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int clusterip_egress(struct __sk_buff *skb)
{
	if (skb->vlan_present)
		return TC_ACT_UNSPEC;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_ARP):
		return ci_send_arp(skb);
	case bpf_htons(ETH_P_IPV6):
		return ci_send_ipv6(skb);
	default:
		return TC_ACT_UNSPEC;
	}
}
