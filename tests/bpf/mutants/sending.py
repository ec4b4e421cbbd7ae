"""Faults at the hooks and in what leaves: clusterip.bpf.c, sent.h, arp.h and neighbour.h."""

from __future__ import annotations

from functools import partial

from tests.bpf.mutants.kind import Mutant

_hooks = partial(Mutant, "clusterip.bpf.c")
_arp = partial(Mutant, "arp.h")
_neighbour = partial(Mutant, "neighbour.h")
_guard = partial(Mutant, "guard.h")

_INGRESS = "ci_verdict verdict;\n\n	if (ci_of_vlan(skb))"
_EGRESS = "	if (ci_of_vlan(skb))\n		return 0;"
_ARP_SENT = (
    "	ci_count(0, CI_ARP_REWRITTEN, skb->len);\n	return TC_ACT_UNSPEC;\n}\n\n/* The same"
)
_OVER = "	if (!ci_may_tell(vip))\n		return ci_not_sent(skb, CI_DROP_EXPIRED);\n	"
_ARP_OVER, _NDP_OVER = f"{_OVER}__builtin", f"{_OVER}at ="

_SENT = "return ci_of_vlan(skb) ? CI_UNTOUCHED : ci_decide_sent"
_sent = partial(Mutant, "sent.h")

SENDING = (
    _hooks(_SENT, "return 1 ? CI_UNTOUCHED : ci_decide_sent", "SYN-ACKs leave, whoever answers"),
    _hooks(_SENT, "return ci_decide_sent", "a VLAN's SYN-ACKs are ours"),
    _sent("!packet.syn_ack", "0", "all TCP is a SYN-ACK"),
    _sent("	ci_turn(&packet);\n", "", "SYN-ACKs to a VIP"),
    _sent("packet->destination_port_be = port_be;", "", "ports do not change places"),
    _sent("packet->destination_be[at] = word_be;", "", "addresses do not change places"),
    _sent("	packet.syn = 1;\n", "", "a SYN-ACK leaves as other packets are answered"),
    _sent("ci_is_over(group)", "0", "SYN-ACKs without a lease"),
    _sent("whose == CI_THEIRS", "0", "SYN-ACKs of what another host answered"),
    _sent("whose == CI_THEIRS", "whose", "SYN-ACKs of what was left to us"),
    _sent("whose == CI_ALONE", "0", "SYN-ACKs of what came to this host alone"),
    _sent("whose == CI_ALONE", "whose", "SYN-ACKs of what is noted at all"),
    _sent(" && reason != CI_DROP_DRAINING", "", "half-open connections end when a drain begins"),
    _sent("reason == CI_DROP_DRAINING", "0", "all are kept back, and nothing is noted"),
    _sent("whose == CI_HALF_OPEN", "1", "the first is not kept back"),
    _sent("whose == CI_HALF_OPEN", "0", "all are kept back"),
    _hooks(
        "reason == CI_DROP_DRAINING ? TC_ACT_STOLEN : TC_ACT_SHOT",
        "TC_ACT_SHOT",
        "what is kept back ends",
    ),
    _sent("return CI_DROP_NO_RULE;", "return CI_UNTOUCHED;", "SYN-ACKs without a rule"),
    _sent("return CI_DROP_SERVICE;", "return CI_UNTOUCHED;", "SYN-ACKs of what is dropped"),
    _sent("at < 4; at++) {", "at < 1; at++) {", "IPv6 addresses are turned in part"),
    _hooks("bpf_xdp_get_buff_len(ctx)", "data_end - data", "bytes beyond the first fragment"),
    _hooks("ci_count_verdict(&verdict, bpf_xdp_get_buff_len(ctx));", "", "XDP counts nothing"),
    _hooks("(ctx));\n	return XDP_DROP;", "(ctx));\n	return XDP_PASS;", "XDP drops nothing"),
    _hooks("- data);\n	return XDP_DROP;", "- data);\n	return XDP_PASS;", "nor what is plain"),
    _hooks(" || verdict.reason == CI_DROP_EXPIRED", "", "XDP discards what is late"),
    _hooks("room, CI_EARLY", "room, CI_FINAL", "XDP discards what is late and plain"),
    _hooks("room, CI_EARLY", "CI_ANY_ROOM, CI_EARLY", "plain frames are counted in part"),
    _hooks("- data - sizeof(struct ethhdr)", "- data", "room for 14 bytes more"),
    _hooks("CI_ANY_ROOM, CI_FINAL", "CI_ANY_ROOM, CI_EARLY", "leases never end for what is plain"),
    _hooks("linear < CI_HEADERS && linear < skb->len", "0", "headers outside the linear part"),
    _hooks("skb->len < CI_HEADERS ? skb->len : CI_HEADERS", "CI_HEADERS", "short and in parts"),
    _hooks(_INGRESS, _INGRESS.replace("if (", "if (0 && "), "a VLAN's frames are ours"),
    _hooks("verdict.reason == CI_UNTOUCHED) {", "0) {", "others are not heard"),
    _hooks("verdict.reason == CI_UNTOUCHED)\n", "0)\n", "multicast of others is made unicast"),
    _hooks(
        "return TC_ACT_SHOT;\n	/* TCP", "return TC_ACT_UNSPEC;\n	/* TCP", "tc drops nothing"
    ),
    _hooks("skb->pkt_type == CI_PACKET_MULTICAST || ", "", "multicast stays multicast"),
    _hooks(" || skb->pkt_type == CI_PACKET_BROADCAST", "", "broadcast stays broadcast"),
    _hooks("skb->pkt_type == CI_PACKET_MULTICAST ||", "1 ||", "what is another host's is ours"),
    _hooks("skb, at, mac, sizeof(mac)", "skb, at + 10, mac, 6", "the target's MAC"),
    _hooks(
        "skb->vlan_present && (skb->vlan_tci & CI_VLAN_ID)", "skb->vlan_present", "VLAN 0 is one"
    ),
    _hooks("skb->vlan_tci & CI_VLAN_ID", "skb->vlan_tci", "a priority is a VLAN"),
    _hooks(" &&\n	    !ci_tagged(skb->protocol)", "", "ARP with a tag in the frame"),
    _hooks("if (frame.hidden)", "if (0)", "ARP behind many tags is sent as it is"),
    _hooks(_ARP_OVER, _ARP_OVER.replace("!ci", "0 && !ci"), "ARP without a lease"),
    _hooks(_NDP_OVER, _NDP_OVER.replace("!ci", "0 && !ci"), "discovery without a lease"),
    _hooks("return group && !ci_is_over(group)", "return 0", "nobody tells a MAC"),
    _hooks(_ARP_SENT, _ARP_SENT.partition("\n")[2], "ARP is not counted"),
    _hooks(" && ip->nexthdr != IPPROTO_ICMPV6", "", "no neighbour discovery"),
    _hooks(
        "at < 0 || ",
        "",
        "what cannot be rewritten is rewritten",
        same="bpf_skb_load_bytes() finds nothing at -1, and the frame is dropped all the same",
    ),
    _hooks("if (!at)", "if (0)", "messages without the option are dropped"),
    _hooks(_EGRESS, _EGRESS.replace("if (", "if (0 && "), "a VLAN's ARP is ours"),
    _hooks("frame.protocol_be == bpf_htons(ETH_P_ARP)", "0", "no ARP"),
    _hooks("skb->protocol != bpf_htons(ETH_P_ARP)", "1", "no ARP without a tag"),
    _hooks(
        "if (frame.protocol_be == bpf_htons(ETH_P_ARP))",
        "if (frame.protocol_be != bpf_htons(ETH_P_IPV6))",
        "what only claims to be ARP",
        same="ci_arp_vip() looks at the EtherType too",
    ),
    _arp("frame->protocol_be != bpf_htons(ETH_P_ARP) ||", "", "a frame that only claims to be ARP"),
    _arp("arp->hardware_be != bpf_htons(CI_ARPHRD_ETHER) ||", "", "ARP of other networks"),
    _arp("arp->protocol_be != bpf_htons(ETH_P_IP) ||", "", "ARP for other protocols"),
    _arp("arp->hardware_length != ETH_ALEN ||", "", "hardware addresses of other lengths"),
    _arp(" || arp->protocol_length != 4", "", "protocol addresses of other lengths"),
    _arp("arp->sender_ip,", "arp->target_ip,", "ARP about a VIP, not from it"),
    _neighbour("ip->nexthdr != IPPROTO_ICMPV6 ||", "", "other protocols in parts"),
    _neighbour("message->type != CI_SOLICITATION &&", "", "no solicitations"),
    _neighbour(" && message->type != CI_ADVERTISEMENT", "", "no advertisements"),
    _neighbour("CI_SOLICITATION ? &ip->saddr", "CI_ADVERTISEMENT ? &ip->saddr", "the other VIP"),
    _neighbour(
        "CI_SOURCE_MAC : CI_TARGET_MAC",
        "CI_TARGET_MAC : CI_SOURCE_MAC",
        "the other message's option",
    ),
    _neighbour("bpf_ntohs(ip->payload_len)", "ip->payload_len", "byte order of the length"),
    _neighbour("at == end", "at >= end", "options that run over the end"),
    _neighbour(" || at + sizeof(*option) > end", "", "options in the padding"),
    _neighbour("(option + 1) > data_end", "(option + 1) >= data_end", "the last option"),
    _neighbour("option->length == 1 ? (int)at : -1", "(int)at", "options of odd length"),
    _neighbour("at += option->length * 8;", "at += 8;", "long options are stepped into"),
    _neighbour(
        "at > CI_HEADERS",
        "at >= CI_HEADERS",
        "options up to 256 bytes",
        same="options begin at 78 and are multiples of 8: none ends there",
    ),
    _neighbour("CI_OPTIONS 8", "CI_OPTIONS 7", "one option fewer"),
    _neighbour("new.mac, vip->mac, sizeof", "new.mac, vip->mac, -1 + sizeof", "the last byte"),
    _neighbour(
        "difference < 0 || ",
        "",
        "a checksum that cannot be had",
        same="bpf_csum_diff() does not fail at lengths that are multiples of 4",
    ),
    _guard("one[at] ^ other[at]", "0", "any MAC is the cluster's"),
    _guard("at < ETH_ALEN", "at < 5", "the last byte of a MAC"),
    _guard("return at < 0;", "return 0;", "what cannot be read passes"),
    _guard("at <= 0", "at < 0", "no option is one at the beginning"),
    _guard("ip->daddr) != NULL", "ip->saddr) != NULL", "IPv4 from a VIP, not to it"),
    _guard("&ip6->daddr) != NULL", "&ip6->saddr) != NULL", "IPv6 from a VIP, not to it"),
    _guard(" || !packet.syn", "", "all TCP is a SYN there"),
    _guard("CI_ALONE", "CI_OURS", "what came to this host alone is in a bucket"),
    _hooks("skb->pkt_type == CI_PACKET_HOST) {", "1) {", "what came to others came alone"),
    _hooks(
        "if (ci_to_vip(&frame, (const void *)(long)skb->data_end)) {",
        "{",
        "SYNs to strangers take room",
    ),
    _guard("arp->operation_be != bpf_htons(CI_ARP_REQUEST)", "0", "answers in nobody's name"),
    _guard("return !ci_find_vip(config, target_be)", "return 1", "announcements for nobody"),
    _hooks("struct ci_arp, sender_ip", "struct ci_arp, target_ip", "nobody is asked for"),
    _hooks("!ci_ask_for_nobody(skb, &frame)", "1", "it asks in the name of a VIP"),
    _hooks("skb->pkt_type != CI_PACKET_MULTICAST &&", "", "multicast is left alone there"),
    _hooks(" && skb->pkt_type != CI_PACKET_BROADCAST)", ")", "broadcast is left alone there"),
    _neighbour("0, difference, 0)", "0, 0, 0)", "the checksum is not mended"),
)
