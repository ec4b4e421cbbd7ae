/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SipHash-2-4 of three words, for messages of which the kernel must know who made them.
 * Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012).
 */
#ifndef CI_SIPHASH_H
#define CI_SIPHASH_H

#include "maps.h"

struct ci_sip {
	__u64 v0, v1, v2, v3;
};

CI_INLINE __u64 ci_rotated(__u64 word, int bits)
{
	return word << bits | word >> (64 - bits);
}

CI_INLINE void ci_sip_round(struct ci_sip *sip)
{
	sip->v0 += sip->v1;
	sip->v2 += sip->v3;
	sip->v1 = ci_rotated(sip->v1, 13) ^ sip->v0;
	sip->v3 = ci_rotated(sip->v3, 16) ^ sip->v2;
	sip->v0 = ci_rotated(sip->v0, 32) + sip->v3;
	sip->v2 += sip->v1;
	sip->v1 = ci_rotated(sip->v1, 17) ^ sip->v2;
	sip->v3 = ci_rotated(sip->v3, 21) ^ sip->v0;
	sip->v2 = ci_rotated(sip->v2, 32);
}

CI_INLINE void ci_sip_word(struct ci_sip *sip, __u64 word)
{
	sip->v3 ^= word;
	ci_sip_round(sip);
	ci_sip_round(sip);
	sip->v0 ^= word;
}

/* The hash of the 24 bytes that the words are, each with its lowest byte first. */
CI_INLINE __u64 ci_siphash(const __u64 key[2], __u64 first, __u64 second, __u64 third)
{
	struct ci_sip sip = {
		.v0 = key[0] ^ 0x736f6d6570736575ULL,
		.v1 = key[1] ^ 0x646f72616e646f6dULL,
		.v2 = key[0] ^ 0x6c7967656e657261ULL,
		.v3 = key[1] ^ 0x7465646279746573ULL,
	};

	ci_sip_word(&sip, first);
	ci_sip_word(&sip, second);
	ci_sip_word(&sip, third);
	ci_sip_word(&sip, 24ULL << 56);
	sip.v2 ^= 0xff;
	ci_sip_round(&sip);
	ci_sip_round(&sip);
	ci_sip_round(&sip);
	ci_sip_round(&sip);
	return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}

#endif
