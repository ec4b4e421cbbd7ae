/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From addresses and ports to a bucket, bit for bit as ipt_CLUSTERIP did it on
 * little-endian kernels since 4.1: Bob Jenkins' lookup3 over one to three words
 * (jhash_1word .. jhash_3words of include/linux/jhash.h), scaled by
 * multiplication (reciprocal_scale of include/linux/kernel.h).
 *
 * IPv6, which the old target did not have: the same over four to six words (jhash2
 * of include/linux/jhash.h), the source address being four.
 *
 * Compiles for BPF and for the host, where the tests call it.
 */
#ifndef CI_HASH_H
#define CI_HASH_H

#include "abi.h"

#define CI_JHASH_INITVAL 0xdeadbeefU
#define CI_FLOW_SLOT_INITVAL 0x63656c6cU	/* other than what anybody shares a VIP by */

static inline __attribute__((always_inline)) __u32 ci_rol(__u32 word, __u32 shift)
{
	return word << shift | word >> (32 - shift);
}

/* __jhash_final */
static inline __attribute__((always_inline)) __u32 ci_final(__u32 a, __u32 b, __u32 c)
{
	c ^= b; c -= ci_rol(b, 14);
	a ^= c; a -= ci_rol(c, 11);
	b ^= a; b -= ci_rol(a, 25);
	c ^= b; c -= ci_rol(b, 16);
	a ^= c; a -= ci_rol(c, 4);
	b ^= a; b -= ci_rol(a, 14);
	c ^= b; c -= ci_rol(b, 24);
	return c;
}

/*
 * source is the IPv4 address in host order. Ports are the two bytes on the wire
 * read as a little-endian number, that is, as a little-endian host loads them.
 * mode (enum ci_hashmode, the first three) is the number of words; a word beyond it is 0.
 */
static inline __attribute__((always_inline)) __u32
ci_hash(__u32 mode, __u32 hash_init, __u32 source, __u32 source_port, __u32 destination_port)
{
	__u32 initial = hash_init + CI_JHASH_INITVAL + (mode << 2);
	__u32 a = source + initial;
	__u32 b = (mode > 1 ? source_port : 0) + initial;
	__u32 c = (mode > 2 ? destination_port : 0) + initial;

	return ci_final(a, b, c);
}

/*
 * The same for IPv6. source is the address as four words, each in host order, the
 * first four bytes first, the bits that are not to be hashed cleared. Ports and mode
 * are as above; the number of words is mode + 3.
 */
static inline __attribute__((always_inline)) __u32
ci_hash6(__u32 mode, __u32 hash_init, const __u32 source[4], __u32 source_port,
	 __u32 destination_port)
{
	__u32 initial = hash_init + CI_JHASH_INITVAL + ((mode + 3) << 2);
	__u32 a = source[0] + initial;
	__u32 b = source[1] + initial;
	__u32 c = source[2] + initial;

	/* __jhash_mix */
	a -= c; a ^= ci_rol(c, 4); c += b;
	b -= a; b ^= ci_rol(a, 6); a += c;
	c -= b; c ^= ci_rol(b, 8); b += a;
	a -= c; a ^= ci_rol(c, 16); c += b;
	b -= a; b ^= ci_rol(a, 19); a += c;
	c -= b; c ^= ci_rol(b, 4); b += a;
	a += source[3];
	b += mode > 1 ? source_port : 0;
	c += mode > 2 ? destination_port : 0;
	return ci_final(a, b, c);
}

/*
 * The modes CI_XT_CLUSTER and CI_NFT_JHASH: the source address as it lies in memory, read as words
 * by a little-endian host; hash_init is their seed. For IPv4 they are the same (net/netfilter:
 * xt_cluster.c, nft_hash.c). Of an IPv6 address xt_cluster hashes the first word alone: it divides
 * NF_CT_TUPLE_L3SIZE, a number of words already, by the size of a word.
 */
static inline __attribute__((always_inline)) __u32
ci_hash_raw(__u32 mode, __u32 version, __u32 hash_init, const __be32 source_be[4])
{
	if (version == 6 && mode == CI_NFT_JHASH)
		return ci_hash6(CI_SOURCEIP, hash_init, source_be, 0, 0);
	return ci_hash(CI_SOURCEIP, hash_init, source_be[0], 0, 0);
}

/* The bucket, counted from 0, of total (1..256) buckets. */
static inline __attribute__((always_inline)) __u32 ci_bucket(__u32 hash, __u32 total)
{
	return (__u64)hash * total >> 32;
}

/*
 * The flow slot, 0..63, of a flow in its bucket: by source address and both ports, whatever
 * the bucket is found by. Arguments are those of ci_hash6, but the words of the address
 * are as they lie in memory, all bits; after an IPv4 address follow zeros.
 */
static inline __attribute__((always_inline)) __u32
ci_flow_slot(const __u32 source[4], __u32 source_port, __u32 destination_port)
{
	return ci_hash6(3, CI_FLOW_SLOT_INITVAL, source, source_port, destination_port) >> 26;
}

#endif
