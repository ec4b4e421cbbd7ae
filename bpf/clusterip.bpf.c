// SPDX-License-Identifier: GPL-2.0-only
/*
 * The packet path of clusterip: three hooks, one verdict. Every host of the
 * cluster sees every packet to a VIP; these programs let one of them answer.
 * Two more guard the other interfaces of the namespace, see guard.h.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "arp.h"
#include "beat.h"
#include "guard.h"
#include "neighbour.h"
#include "sent.h"
#include "takeover.h"
#include "plain.h"
#include "verdict.h"

char LICENSE[] SEC("license") = "GPL";

/* Packet types of linux/if_packet.h. */
#define CI_PACKET_HOST 0
#define CI_PACKET_BROADCAST 1
#define CI_PACKET_MULTICAST 2

/* What is not plain. The length takes a call, for a frame may be in several buffers. */
CI_ASIDE int ci_xdp_any(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;
	struct ci_verdict verdict = ci_decide(ctx, data, data_end);

	/* What is discarded for the time alone is left to tc, as on the plain path. */
	if (!ci_drops(verdict.reason) || verdict.reason == CI_DROP_EXPIRED)
		return XDP_PASS;
	ci_count_verdict(&verdict, bpf_xdp_get_buff_len(ctx));
	return XDP_DROP;
}

/*
 * The accelerator: discards before the stack has spent anything on the packet.
 * What it passes is decided and counted in tc.
 */
SEC("xdp.frags")
int clusterip_xdp(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *data_end = (const void *)(long)ctx->data_end;
	/* A packet that is all in the first buffer needs no call for its length. */
	__u32 room = data_end - data - sizeof(struct ethhdr);
	struct ci_verdict verdict = ci_decide_plain(ctx, data, data_end, room, CI_EARLY);

	if (verdict.reason == CI_NOT_PLAIN)
		return ci_xdp_any(ctx);
	if (!ci_drops(verdict.reason))
		return XDP_PASS;
	ci_count_verdict(&verdict, data_end - data);
	return XDP_DROP;
}

/* Brings the headers into the linear part, where data..data_end can see them. */
CI_INLINE void ci_pull_headers(struct __sk_buff *skb)
{
	__u32 linear = skb->data_end - skb->data;

	if (linear < CI_HEADERS && linear < skb->len)
		bpf_skb_pull_data(skb, skb->len < CI_HEADERS ? skb->len : CI_HEADERS);
}

/* Does a frame belong to a VLAN device above this one, by a tag that the NIC or the stack has
 * taken off already? */
CI_INLINE int ci_of_vlan(const struct __sk_buff *skb)
{
	return skb->vlan_present && (skb->vlan_tci & CI_VLAN_ID);
}

/* Counts a verdict and carries it out. */
CI_INLINE int ci_carry_out(struct __sk_buff *skb, const struct ci_verdict *verdict)
{
	ci_count_verdict(verdict, skb->len);
	if (ci_drops(verdict->reason))
		return TC_ACT_SHOT;
	/* TCP answers nothing that came by multicast, or by broadcast where that is the cluster
	 * MAC. Frames for another host's own MAC, which a promiscuous interface sees, stay. */
	if (skb->pkt_type == CI_PACKET_MULTICAST || skb->pkt_type == CI_PACKET_BROADCAST)
		bpf_skb_change_type(skb, CI_PACKET_HOST);
	/* Not TC_ACT_OK: filters after ours still have their say. */
	return TC_ACT_UNSPEC;
}

/* What is not plain. */
CI_ASIDE int ci_ingress_any(struct __sk_buff *skb)
{
	struct ci_verdict verdict;

	ci_pull_headers(skb);
	verdict = ci_decide(skb, (const void *)(long)skb->data,
			    (const void *)(long)skb->data_end);
	if (verdict.reason == CI_UNTOUCHED) {
		ci_heed(skb);
		return TC_ACT_UNSPEC;
	}
	return ci_carry_out(skb, &verdict);
}

SEC("tc")
int clusterip_ingress(struct __sk_buff *skb)
{
	struct ci_verdict verdict;

	if (ci_of_vlan(skb))
		return TC_ACT_UNSPEC;
	verdict = ci_decide_plain(skb, (const void *)(long)skb->data,
				  (const void *)(long)skb->data_end, CI_ANY_ROOM, CI_FINAL);
	if (verdict.reason == CI_NOT_PLAIN)
		return ci_ingress_any(skb);
	if (verdict.reason == CI_UNTOUCHED)
		return TC_ACT_UNSPEC;
	return ci_carry_out(skb, &verdict);
}

/* Tells of a frame to be sent why it is not. What is kept back is sent again: to the sender of a
 * SYN-ACK an error would be the end of the connection. */
CI_INLINE int ci_not_sent(struct __sk_buff *skb, enum ci_reason reason)
{
	ci_count(0, reason, skb->len);
	return reason == CI_DROP_DRAINING ? TC_ACT_STOLEN : TC_ACT_SHOT;
}

/* May this host tell the MAC of the VIP? Whoever serves does. Where our lease is over others may
 * serve at another MAC, by another file, and clients would send to ours what nobody answers. */
CI_INLINE int ci_may_tell(const struct ci_vip *vip)
{
	__u32 index = vip->group;
	const struct ci_group *group = bpf_map_lookup_elem(&groups, &index);

	return group && !ci_is_over(group);
}

/* ARP for a VIP; returns the verdict of tc. */
CI_INLINE int ci_send_arp(struct __sk_buff *skb, const struct ci_frame *frame)
{
	const struct ci_vip *vip = ci_arp_vip(frame, (const void *)(long)skb->data_end);
	__u32 at = frame->offset + __builtin_offsetof(struct ci_arp, sender_mac);
	__u8 mac[ETH_ALEN];

	if (!vip)
		return TC_ACT_UNSPEC;
	if (!ci_may_tell(vip))
		return ci_not_sent(skb, CI_DROP_EXPIRED);
	__builtin_memcpy(mac, vip->mac, sizeof(mac));
	if (bpf_skb_store_bytes(skb, at, mac, sizeof(mac), 0))
		return ci_not_sent(skb, CI_DROP_ARP);
	ci_count(0, CI_ARP_REWRITTEN, skb->len);
	return TC_ACT_UNSPEC;
}

/* The same for IPv6. */
CI_INLINE int ci_send_ipv6(struct __sk_buff *skb, const struct ci_frame *frame)
{
	const void *data = (const void *)(long)skb->data;
	const void *data_end = (const void *)(long)skb->data_end;
	const struct ci_neighbour *message = ci_neighbour(frame, data_end);
	const struct ci_vip *vip;
	int at;

	if (!message)
		return TC_ACT_UNSPEC;
	vip = ci_neighbour_vip(frame, message);
	if (!vip)
		return TC_ACT_UNSPEC;
	if (!ci_may_tell(vip))
		return ci_not_sent(skb, CI_DROP_EXPIRED);
	at = ci_neighbour_option(frame, data, data_end, message);
	if (!at)
		return TC_ACT_UNSPEC;
	if (at < 0 || ci_tell_mac(skb, frame->offset, at, vip))
		return ci_not_sent(skb, CI_DROP_ARP);
	ci_count(0, CI_ARP_REWRITTEN, skb->len);
	return TC_ACT_UNSPEC;
}

/* The frame, with its headers where they can be read. */
CI_INLINE struct ci_frame ci_pulled(struct __sk_buff *skb)
{
	ci_pull_headers(skb);
	return ci_frame((const void *)(long)skb->data, (const void *)(long)skb->data_end);
}

/* Whether a frame that leaves may be ARP or neighbour discovery. */
CI_INLINE int ci_may_tell_a_mac(const struct __sk_buff *skb)
{
	const void *data_end = (const void *)(long)skb->data_end;
	const struct ipv6hdr *ip;
	struct ci_frame frame;

	if (ci_of_vlan(skb))
		return 0;
	if (skb->protocol != bpf_htons(ETH_P_ARP) && skb->protocol != bpf_htons(ETH_P_IPV6) &&
	    !ci_tagged(skb->protocol))
		return 0;
	/* Most of IPv6 is other traffic: it costs one look. */
	frame = ci_frame((const void *)(long)skb->data, data_end);
	ip = frame.network;
	return !(ci_is_ipv6(&frame, data_end) && ip->nexthdr != IPPROTO_ICMPV6);
}

/* Why a frame that leaves is an answer that others may give; else CI_UNTOUCHED, or an accept. */
CI_INLINE int ci_anothers_answer(const struct __sk_buff *skb)
{
	const void *data_end = (const void *)(long)skb->data_end;
	const struct ci_frame frame = ci_frame((const void *)(long)skb->data, data_end);

	return ci_of_vlan(skb) ? CI_UNTOUCHED : ci_decide_sent(&frame, data_end);
}

SEC("tc")
int clusterip_egress(struct __sk_buff *skb)
{
	int reason = ci_anothers_answer(skb);
	struct ci_frame frame;

	if (ci_drops(reason))
		return ci_not_sent(skb, reason);
	if (!ci_may_tell_a_mac(skb))
		return TC_ACT_UNSPEC;
	frame = ci_pulled(skb);
	if (frame.hidden)
		return ci_not_sent(skb, CI_DROP_ARP);
	if (frame.protocol_be == bpf_htons(ETH_P_ARP))
		return ci_send_arp(skb, &frame);
	return ci_send_ipv6(skb, &frame);
}

SEC("tc")
int clusterip_guard_ingress(struct __sk_buff *skb)
{
	struct ci_frame frame;

	if (ci_of_vlan(skb))
		return TC_ACT_UNSPEC;
	if (skb->pkt_type == CI_PACKET_HOST) {
		/* What comes to the interface's own MAC comes to this host alone. Most of it is not
		 * for a VIP: it costs one look. */
		frame = ci_frame((const void *)(long)skb->data, (const void *)(long)skb->data_end);
		if (ci_to_vip(&frame, (const void *)(long)skb->data_end)) {
			frame = ci_pulled(skb);
			ci_note_alone(&frame, (const void *)(long)skb->data_end);
		}
		return TC_ACT_UNSPEC;
	}
	if (skb->pkt_type != CI_PACKET_MULTICAST && skb->pkt_type != CI_PACKET_BROADCAST)
		return TC_ACT_UNSPEC;
	frame = ci_pulled(skb);
	if (!frame.hidden && !ci_to_vip(&frame, (const void *)(long)skb->data_end))
		return TC_ACT_UNSPEC;
	ci_count(0, CI_DROP_ELSEWHERE, skb->len);
	return TC_ACT_SHOT;
}

/* Takes the sender's address out of ARP, whose MAC then says nothing. Not 0: it is still there. */
CI_INLINE int ci_ask_for_nobody(struct __sk_buff *skb, const struct ci_frame *frame)
{
	__u32 at = frame->offset + __builtin_offsetof(struct ci_arp, sender_ip);
	__be32 nobody = 0;

	return bpf_skb_store_bytes(skb, at, &nobody, sizeof(nobody), 0);
}

SEC("tc")
int clusterip_guard_egress(struct __sk_buff *skb)
{
	int reason = ci_anothers_answer(skb);
	struct ci_frame frame;

	if (ci_drops(reason))
		return ci_not_sent(skb, reason);
	if (!ci_may_tell_a_mac(skb))
		return TC_ACT_UNSPEC;
	frame = ci_pulled(skb);
	if (!frame.hidden && !ci_tells_other_mac(&frame, (const void *)(long)skb->data,
						 (const void *)(long)skb->data_end))
		return TC_ACT_UNSPEC;
	if (!frame.hidden && ci_asks(&frame, (const void *)(long)skb->data_end) &&
	    !ci_ask_for_nobody(skb, &frame))
		return TC_ACT_UNSPEC;
	ci_count(0, CI_DROP_ARP_ELSEWHERE, skb->len);
	return TC_ACT_SHOT;
}

/* Heeds the others' messages for these maps, while the programs before these still decide. */
SEC("tc")
int clusterip_heed(struct __sk_buff *skb)
{
	if (!ci_of_vlan(skb)) {
		ci_pull_headers(skb);
		ci_heed(skb);
	}
	return TC_ACT_UNSPEC;
}

/*
 * Run by user space and never attached, on a frame that is a struct ci_carried. A program on this
 * processor counts before or after, but not meanwhile: what is added is one instruction here.
 */
SEC("tc")
int clusterip_carry(struct __sk_buff *skb)
{
	struct ci_carried one;
	__u64 *word;

	if (bpf_skb_load_bytes(skb, 0, &one, sizeof(one)))
		return TC_ACT_SHOT;
	word = ci_carried_to(&one);
	if (!word)
		return TC_ACT_SHOT;
	if (one.map == CI_CARRY_FLOW_SLOTS)
		__sync_fetch_and_or(word, one.by);
	else
		__sync_fetch_and_add(word, one.by);
	return TC_ACT_OK;
}
