// SPDX-License-Identifier: GPL-2.0-only
/* What the benchmarks compare with, and what they send: none of it is part of clusterip. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/* The limit: nothing can discard a frame for less. */
SEC("xdp")
int bench_drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* And a packet that is let through. */
SEC("xdp.frags")
int bench_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* The first at tc ingress. */
SEC("tc")
int bench_shot(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

/* 16 bits more or less in a checksum that is right: RFC 1624, equation 3. */
static __always_inline __u16 changed(__u16 checksum, __u32 was, __u32 is)
{
	__u32 sum = (__u16)~checksum;

	sum += (__u16)~was + (__u16)~(was >> 16) + (__u16)is + (is >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

#define SOURCES 0xc6120000u	/* 198.18.0.0/15, for benchmarks: RFC 2544 */
#define SOURCE_MASK 0x0001ffffu

/*
 * A flood: sends each TCP segment from another address and port, drawn by chance. The frame
 * keeps what is changed here from one run to the next, so its checksums must be right at first.
 */
SEC("xdp")
int bench_flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 chance = bpf_get_prandom_u32();
	__be32 source = bpf_htonl(SOURCES | (chance & SOURCE_MASK));
	__be16 port = chance >> 16;

	if ((void *)(tcp + 1) > data_end)
		return XDP_ABORTED;
	ip->check = changed(ip->check, ip->saddr, source);
	tcp->check = changed(tcp->check, ip->saddr, source);
	tcp->check = changed(tcp->check, tcp->source, port);
	ip->saddr = source;
	tcp->source = port;
	return XDP_TX;
}
