"""Faults in the plain path, plain.h: that it says otherwise than ci_decide, or says nothing."""

from __future__ import annotations

from functools import partial

from tests.bpf.mutants.kind import Mutant

_plain = partial(Mutant, "plain.h")

_NO_MORE = "if (!service->plain)\n		return CI_NOT_PLAIN;\n	hash = ci_hash_"
_LESS = "sizeof(*ip) + sizeof(*tcp), room"
_PORTS = "tcp->source, tcp->dest);\n	plain->rule = service->rule;\n	plain->group = "
_LEASED = "syn_noted = group->deadline != CI_NO_DEADLINE"

PLAIN = (
    _plain("IPPROTO_TCP || protocol == IPPROTO_UDP", "IPPROTO_TCP", "UDP is not plain"),
    _plain("protocol == IPPROTO_TCP || protocol == IPPROTO_UDP", "1", "what has no ports is"),
    _plain("protocol == IPPROTO_TCP && tcp->syn", "tcp->syn", "datagrams are SYNs"),
    _plain("tcp->syn && !tcp->ack", "tcp->syn", "SYN-ACK is taken for a SYN"),
    _plain("tcp->syn && !tcp->ack", "!tcp->ack", "RST is taken for a SYN"),
    _plain("total - least <= room - least", "total <= room", "what is cut short is plain"),
    _plain("- least <= room", "- least < room", "what fills the buffer is not plain"),
    _plain("slot->address_be != ip->daddr", "0", "neighbours in the table are VIPs"),
    _plain("hook == CI_FINAL && ip->protocol == IPPROTO_UDP", "0", "others are not heard"),
    _plain("hook == CI_FINAL && ip->protocol", "ip->protocol", "XDP listens to others"),
    _plain("*(const __u8 *)ip != 0x45 || ", "", "options are ports"),
    _plain("!ci_is_tcp_or_udp(ip->protocol) ||\n	    ", "", "what has no ports is, IPv4"),
    _plain("ip->frag_off & bpf_htons(CI_IP_OFFSET_MASK | CI_IP_MORE)", "0", "fragments are whole"),
    _plain("CI_IP_OFFSET_MASK | CI_IP_MORE", "CI_IP_MORE", "the last fragment is whole"),
    _plain("CI_IP_OFFSET_MASK | CI_IP_MORE", "CI_IP_OFFSET_MASK", "the first one is whole"),
    _plain("bpf_ntohs(ip->tot_len)", "ip->tot_len", "byte order of the total length"),
    _plain(f"ip->tot_len), {_LESS}", "ip->tot_len), sizeof(*ip) + 4, room", "the end is padding"),
    _plain("slot->table[ip->protocol & 1]", "slot->table[0]", "UDP has the rules of TCP"),
    _plain(f"{_NO_MORE}ipv4", "hash = ci_hash_ipv4", "conditions are not looked at"),
    _plain("ci_hash_ipv4(service->plain", "ci_hash_ipv4(CI_SOURCEIP", "hashed by the source"),
    _plain("slot->hash_init", "0", "no hash init"),
    _plain(
        f"{_PORTS}slot", f"{_PORTS}slot".replace("source, tcp->dest", "dest, tcp->source"), "ports"
    ),
    _plain("plain->group = slot->group;", "plain->group = 0;", "VIPs have one table"),
    _plain("ci_bucket_of(hash, slot->total)", "ci_bucket_of(hash, CI_BUCKETS)", "256 buckets"),
    _plain("plain->protocol = ip->protocol", "plain->protocol = 0", "SYNs are not noted, IPv4"),
    _plain("if (!vip)", "if (0)", "any IPv6 address is a VIP"),
    _plain("(const void *)(tcp + 1) > data_end", "(const void *)(tcp + 1) >= data_end", "74 bytes"),
    _plain("ip->version != 6 || ", "", "version 5"),
    _plain("!ci_is_tcp_or_udp(ip->nexthdr)", "0", "what has no ports is, IPv6"),
    _plain("bpf_ntohs(ip->payload_len)", "ip->payload_len", "byte order of the length"),
    _plain("sizeof(*ip) + bpf_ntohs(", "bpf_ntohs(", "the length counts from the wrong place"),
    _plain(
        f"ip->payload_len), {_LESS}", "ip->payload_len), sizeof(*ip) + 4, room", "the end, IPv6"
    ),
    _plain("vip->table[ip->nexthdr]", "vip->table[IPPROTO_TCP]", "UDP has the rules of TCP"),
    _plain(f"{_NO_MORE}ipv6", "hash = ci_hash_ipv6", "conditions are not looked at"),
    _plain("ci_hash_ipv6(service->plain", "ci_hash_ipv6(CI_SOURCEIP", "hashed by the source"),
    _plain(
        f"{_PORTS}vip", f"{_PORTS}vip".replace("source, tcp->dest", "dest, tcp->source"), "ports"
    ),
    _plain("plain->group = vip->group;", "plain->group = 0;", "VIPs have one table, IPv6"),
    _plain("ci_bucket_of(hash, vip->total)", "ci_bucket_of(hash, CI_BUCKETS)", "256 buckets, IPv6"),
    _plain("plain->protocol = ip->nexthdr", "plain->protocol = 0", "SYNs are not noted, IPv6"),
    _plain("sizeof(struct tcphdr) > data_end", "sizeof(struct tcphdr) >= data_end", "54 bytes"),
    _plain("ci_tagged(ethernet->h_proto) ? CI_NOT_PLAIN :", "", "what has a tag is for no VIP"),
    _plain("? CI_NOT_PLAIN : CI_UNTOUCHED;\n}", ", CI_NOT_PLAIN;\n}", "ARP is not plain"),
    _plain(
        "case CI_STATE_NONE:\n", "case CI_STATE_NONE:\n		return verdict;\n", "others' are not"
    ),
    _plain("case CI_STATE_OWNED:", "case CI_STATE_WATCHING:", "ours are not plain"),
    _plain(
        "default:\n		return verdict;",
        "default:\n		verdict.reason = CI_DROP_NOT_OWNED;\n		return verdict;",
        "moving is none",
    ),
    _plain("ipv4 = ethernet->h_proto == bpf_htons(ETH_P_IP);", "ipv4 = 1;", "SYNs of IPv6"),
    _plain("ci_note_syn(ctx, &packet, reason, 1)", "ci_note_syn(ctx, &packet, reason, 0)", "lease"),
    _plain("verdict.rule = plain.rule;", "", "all is counted as no rule's"),
    _plain("verdict.group = plain.group;", "", "every VIP has the first bucket table"),
    _plain("verdict.bucket = plain.bucket;", "", "buckets are not counted"),
    _plain("group->state[plain.bucket]", "group->state[0]", "the first bucket speaks for all"),
    _plain("if (hook == CI_EARLY)", "if (0)", "XDP reads the clock"),
    _plain("if (hook == CI_EARLY)", "if (1)", "leases never end"),
    _plain("if (ci_is_over(group))", "if (0)", "leases never end in tc"),
    _plain("if (syn_noted && ", "if (0 && ", "SYNs are not noted"),
    _plain("syn_noted = 1", f"{_LEASED}", "commands: what came back stays another's"),
    _plain(_LEASED, "syn_noted = 1", "commands: SYNs are noted"),
)
