/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one page that the BPF programs and user space share: limits, map layouts,
 * counter meanings, byte orders. src/clusterip/adapters/abi.py mirrors it and a
 * test holds every size and offset of the mirror against the object's debugging information.
 *
 * Byte orders: a field named *_be holds the bytes as on the wire; every other
 * field is in host order. The object is built for little-endian machines.
 *
 * Maps of one interface, pinned in bpffs under clusterip/<netns cookie>/<ifindex>/:
 *
 *   config    array of maps, 1 slot -> array, 1 entry: struct ci_config.
 *             Everything the rules say. A change is built in a new inner map and
 *             swapped in by writing the slot: packets see the old rules or the new.
 *   groups    array, mmapable, CI_GROUPS: struct ci_group.
 *             Who answers now. Written in place, a byte or an aligned word at a time.
 *   verdicts  per-CPU array, CI_RULES: struct ci_verdicts, by rule; rule 0 counts
 *             packets that no rule covers.
 *   traffic   per-CPU array, CI_GROUPS: struct ci_traffic, by group.
 *   peers     LRU hash, CI_PEERS: struct ci_peer, by node id (__u64). The other hosts' clocks.
 *   keys      array, 1 entry: struct ci_keys. What shows that such a clock is a member's.
 *
 * Beside them the three of maps.h that say what became of packets, which user space never reads.
 *
 * How a layout grows. A program of another version takes over what these maps hold, while packets
 * come (src/clusterip/adapters/takeover.py): a map that is laid out as before is used on, of another
 * the common beginning of each entry is copied, and the rest is 0. So, with the next CI_ABI_VERSION:
 *   - a map may have more entries, and there may be more maps;
 *   - a structure that is a whole entry may have more fields, at its end, of which 0 means that all
 *     is as before; it may have been left as it is by a program that does not know it. Counters are
 *     __u64 and nothing else, for what came between is added word by word;
 *   - struct ci_config may change as it likes behind its first four fields: it is made anew of the
 *     document. With nothing but 0 there and the document there are no rules: so another version
 *     takes them away. What a document says that an older program cannot do is a field that this one does
 *     not know, and has no default value; so the older one refuses it.
 * Programs make do with maps of more entries than they come with: an older one goes on with rules in
 * places that it would not have made.
 * Whatever else changes is another layout: CI_ABI_LOWEST becomes CI_ABI_VERSION, too. Of two
 * programs the newer one's CI_ABI_LOWEST says whether either may take over from the other. Of an
 * unrelated layout the document is read, as far as it is known: what was brought to the interface.
 */
#ifndef CI_ABI_H
#define CI_ABI_H

#include <linux/types.h>

#define CI_ABI_VERSION 7
#define CI_ABI_LOWEST 6      /* the lowest version of which this one is a continuation */

#define CI_BUCKETS 256       /* buckets a group; a bucket here counts from 0 */
#define CI_FLOW_SLOTS 64          /* flow slots a bucket, see struct ci_group */
#define CI_GROUPS 64         /* groups an interface */
#define CI_VIPS 64           /* VIPs an interface, IPv4 and IPv6 together */
#define CI_VIP_SLOTS 1024    /* slots of the perfect hash over the VIPs */
#define CI_VIP_SHIFT 22      /* 32 - log2(CI_VIP_SLOTS) */
#define CI_RULES 1024        /* rules an interface, rule 0 included */
#define CI_TABLES 256        /* distinct port tables */
#define CI_PAGES 1024        /* distinct pages of 256 ports */
#define CI_SERVICES 2048     /* services, service 0 included */
#define CI_PEERS 256          /* nodes whose clocks are known */
#define CI_KEYS 256          /* key ids */
#define CI_CHAIN 32          /* services tried for one packet */
#define CI_DOCUMENT 131072   /* bytes for user space's own record of the rules */
#define CI_HEADERS 256       /* bytes of a packet the verdict may look at */

#define CI_NO_DEADLINE 0xffffffffffffffffULL

/*
 * Hash modes. The first three are ipt_CLUSTERIP's and the number of things hashed: source address,
 * source port, destination port. The others hash the source address as others do. See hash.h.
 */
enum ci_hashmode {
	CI_SOURCEIP = 1,
	CI_SOURCEIP_SOURCEPORT = 2,
	CI_SOURCEIP_SOURCEPORT_DESTPORT = 3,
	CI_XT_CLUSTER = 4,	/* iptables -m cluster */
	CI_NFT_JHASH = 5,	/* nft jhash ip saddr, nft jhash ip6 saddr */
};

/* What becomes of the packets that a service covers. */
enum ci_action {
	CI_BALANCE = 0,		/* hashed to a bucket */
	CI_SINGLE = 1,		/* the bucket that the service names has them all */
	CI_DROP = 2,		/* discarded */
};

/* State of a bucket on this host. Any other value reads as CI_STATE_NONE. */
enum ci_state {
	CI_STATE_NONE = 0,	/* another host's: discard */
	CI_STATE_OWNED = 1,	/* ours: accept */
	CI_STATE_TAKING = 2,	/* ours, the previous owner lives and drains: accept, but of
				 * TCP only SYNs, what a socket of ours is to answer and what
				 * acknowledges a SYN cookie of ours (whose.h), and of all else
				 * not what is in the flow slots */
	CI_STATE_DRAINING = 3,	/* given away: accept only TCP that a socket of ours is to answer,
				 * SYNs excepted, and what is in the flow slots and not TCP */
	CI_STATE_WATCHING = 4,	/* ours, soon to be given away: accept, and note in the flow slots what
				 * is not TCP */
};

/*
 * Verdicts with their reason. Each packet to a VIP counts once: what XDP drops
 * in XDP, all else in tc. Packets to other addresses are not counted. Of what leaves,
 * under rule 0: what is rewritten or discarded, a SYN-ACK for why its SYN would be.
 */
enum ci_reason {
	CI_ACCEPT_OWNED = 0,		/* the bucket is owned here */
	CI_ACCEPT_TAKING = 1,		/* taking: a SYN, a socket or SYN cookie of this host, or no flow
					 * of the previous owner */
	CI_ACCEPT_DRAINING = 2,		/* draining: the socket is here, or a flow that began here */
	CI_ACCEPT_FRAGMENT = 3,		/* later fragment, whose ports are not in it: its first was
					 * accepted here, or not seen yet; then reassembly decides,
					 * for only one host accepts the first */
	CI_DROP_NOT_OWNED = 4,		/* another host answers */
	CI_DROP_NO_RULE = 5,		/* no rule of the VIP covers it: every host would answer */
	CI_DROP_TAKING = 6,		/* taking: may belong to a connection or flow of the previous owner */
	CI_DROP_DRAINING = 7,		/* draining: the new owner answers */
	CI_DROP_EXPIRED = 8,		/* the group's deadline has passed: another may own it; egress: so
					 * ARP and neighbour discovery tell no MAC, theirs may be another */
	CI_DROP_MALFORMED = 9,		/* headers cut short or lengths that lie: the stack would
					 * discard it too, and there is nothing to hash; or more tags
					 * with VLAN id 0 than anybody sends, whatever is behind them */
	CI_ARP_REWRITTEN = 10,		/* egress: ARP for a VIP left with the cluster MAC; IPv6: so
					 * did a neighbour solicitation or advertisement */
	CI_DROP_ARP = 11,		/* egress: the same could not be rewritten; sent as it
					 * was it would draw all clients to this one host */
	CI_DROP_FRAGMENT = 12,		/* later fragment: its first was discarded here, so the
					 * packet never gets complete */
	CI_DROP_SERVICE = 13,		/* the service says so: nobody is to answer these ports */
	CI_DROP_ELSEWHERE = 14,		/* came by multicast to another interface of the namespace: the
					 * shared one has it too, and there it is judged */
	CI_DROP_ARP_ELSEWHERE = 15,	/* leaving another interface, ARP or IPv6's neighbour discovery
					 * told its MAC for a VIP: all clients would come to this host;
					 * requests for others leave as probes, and are not counted */
	CI_REASONS = 16,
};

/* How a VIP is shared, and where its port tables are. 4-byte aligned. */
struct ci_vip {
	__be32 address_be[4];		/* IPv4: the first word, the others 0 */
	__be32 mask_be[4];		/* IPv6: which bits of a source address are hashed */
	__u32 hash_init;
	__u16 total;			/* 1..CI_BUCKETS; 0 in an unused entry */
	__u8 mac[6];			/* cluster MAC, order of the wire */
	__u8 group;			/* index into groups, 0..CI_GROUPS-1; VIPs may have one in common */
	__u8 version;			/* of IP: 4 or 6 */
	__u8 reserved[2];
	__u8 table[256];		/* by IP protocol: index into ci_config.table */
};

/*
 * A slot of the perfect hash over the VIPs. Of an IPv4 VIP it has all that the plain path (plain.h)
 * reads, so that nothing else is looked up for it. Otherwise all but `vip` is 0: it stands for
 * 0.0.0.0 then, and its tables are table 0, which is empty.
 */
struct ci_slot {
	__be32 address_be;
	__u32 hash_init;
	__u16 total;
	__u8 vip;			/* index into ci_config.vip plus 1, 0 for none */
	__u8 group;
	__u8 table[2];			/* of TCP and UDP, by the lowest bit of the protocol */
	__u8 reserved[2];
};

/* By high byte of the destination port: index into ci_config.page. */
struct ci_table {
	__u16 page[256];
};

/* By low byte of the destination port: index into ci_config.service, 0 for none. */
struct ci_page {
	__u16 service[256];
};

enum ci_service_flags {
	CI_SERVICE_ANY = 1,		/* no condition on the source: matches */
	CI_SERVICE_NOT_SOURCE = 2,	/* matches sources outside of source/mask */
};

/*
 * A rule's conditions on the source, for the protocols and destination ports
 * whose page led here, and what becomes of the packet. Protocols without ports have ports 0.
 */
struct ci_service {
	__be32 source_be;		/* IPv4; for an IPv6 VIP both are 0: any source */
	__be32 mask_be;
	__u16 port_first;		/* source port, both ends included */
	__u16 port_last;
	__u16 rule;			/* 1..CI_RULES-1: where it counts */
	__u16 next;			/* service to try when this one does not match, 0 for none */
	__u8 flags;			/* enum ci_service_flags */
	__u8 hashmode;			/* enum ci_hashmode; read for CI_BALANCE only */
	__u8 action;			/* enum ci_action */
	__u8 bucket;			/* counts from 0, below the VIP's total; read for CI_SINGLE only */
	__u8 plain;			/* hashmode, where that is all there is to say: of any source,
					 * and CI_BALANCE; else 0, as in service 0, which is none */
	__u8 reserved[3];
};

/*
 * The rules, compiled. VIPs are found through a perfect hash: user space picks
 * vip_seed (odd) so that no two VIPs share a slot; the slot of an address is
 * (fold * vip_seed) >> CI_VIP_SHIFT, in 32 bits. The fold of an IPv4 address is the address;
 * that of an IPv6 address the lower half of a __u64 that begins as 1, and for each half of the
 * address is h = (h + half) * vip_seed, h ^= h >> 32. Addresses are taken as __u32 or __u64 as
 * they lie in memory. Services are found like pages of memory: by protocol a table, by
 * port a page in it, on the page the first service of a chain. Table 0 and page 0 are empty.
 */
struct ci_config {
	__u32 abi_version;		/* the first four are the same in every version */
	__u32 abi_lowest;
	__u32 document_at;		/* where in here the document begins */
	__u32 document_bytes;
	__u32 vip_seed;
	struct ci_slot slot[CI_VIP_SLOTS];
	struct ci_vip vip[CI_VIPS];
	struct ci_table table[CI_TABLES];
	struct ci_page page[CI_PAGES];
	struct ci_service service[CI_SERVICES];
	__u8 document[CI_DOCUMENT];	/* not read by the programs */
};

/*
 * Who answers now. Buckets count from 0 here and from 1 everywhere else.
 *
 * What is not TCP has no socket to ask for when a bucket moves. So its flows are told apart
 * by a flow slot, one of CI_FLOW_SLOTS in a bucket (hash.h), and the owner before and the owner after
 * agree on the flow slots that stay, as a mask with a bit for each.
 */
struct ci_group {
	__u64 deadline;			/* CLOCK_BOOTTIME, ns; nothing is accepted from then on */
	__u64 flow_slots[CI_BUCKETS];	/* watching: of flows seen; draining: that are answered;
					 * taking: that are left alone */
	__u8 state[CI_BUCKETS];		/* enum ci_state */
};

/* Another host's daemon, whose messages show its clock: see beat.h. */
struct ci_peer {
	__u64 incarnation;			/* its incarnation */
	__s64 ahead;			/* its clock less our CLOCK_BOOTTIME, ns: the most seen lately */
	__u64 slack;			/* so much more of a lead shows that our clock stood still, ns */
	__u32 group;			/* which group it may close */
	__u32 reserved;
};

/* By key id: the keys under which messages carry a tag of what their clock shows, see beat.h. */
struct ci_keys {
	__u64 word[CI_KEYS][2];
	__u8 known[CI_KEYS];		/* 1: there is such a key */
};

struct ci_verdicts {
	__u64 bytes;			/* of all packets that the rule covers, link header included */
	__u64 packets[CI_REASONS];	/* by enum ci_reason */
};

struct ci_flow {
	__u64 packets;
	__u64 bytes;			/* link header included */
};

/* Packets hashed to each bucket, whoever answers them. */
struct ci_traffic {
	struct ci_flow bucket[CI_BUCKETS];
};

/*
 * What user space has clusterip_carry do, as the bytes of a frame: one word of the maps that are in
 * force is to have what came to its like in the maps that were.
 */
enum ci_carry {
	CI_CARRY_VERDICTS = 0,		/* added to a word of struct ci_verdicts */
	CI_CARRY_TRAFFIC = 1,		/* of struct ci_traffic */
	CI_CARRY_FLOW_SLOTS = 2,		/* or-ed to one of the flow slots of struct ci_group */
};

struct ci_carried {
	__u8 ethernet[16];		/* 0; a frame is at least so long */
	__u32 map;			/* enum ci_carry */
	__u32 key;
	__u32 word;			/* which word of the entry, or of its flow slots */
	__u32 reserved;
	__u64 by;
};

#endif
