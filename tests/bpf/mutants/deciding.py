"""Faults in the verdict: verdict.h, hash.h and the counters and notes of maps.h."""

from __future__ import annotations

from functools import partial

from tests.bpf.mutants.kind import Mutant

_verdict = partial(Mutant, "verdict.h")
_maps = partial(Mutant, "maps.h")
_hash = partial(Mutant, "hash.h")

DECIDING = (
    _verdict(">= CI_DROP_NOT_OWNED", "> CI_DROP_NOT_OWNED", "others' buckets are accepted"),
    _verdict("fold * config->vip_seed", "fold", "slots without the seed"),
    _verdict("(index - 1) & (CI_VIPS", "index & (CI_VIPS", "the next VIP's rules"),
    _verdict("vip->version == 4 && ", "", "the first word of an IPv6 VIP is an IPv4 VIP"),
    _verdict(" && vip->address_be[0] == address_be", "", "neighbours in the table are VIPs"),
    _verdict("vip->version == 6 && ", "", "an IPv4 VIP with 12 bytes more is an IPv6 VIP"),
    _verdict(" && ci_same_address6(vip->address_be, words)", "", "any IPv6 address is a VIP"),
    _verdict(
        "bpf_ntohs(packet->destination_port_be)", "packet->destination_port_be", "order of the port"
    ),
    _verdict("bpf_ntohs(packet->source_port_be)", "packet->source_port_be", "order of the port"),
    _verdict("port >> 8]", "port & 0xff]", "pages by the low byte of the port"),
    _verdict("port & 0xff]", "port >> 8]", "services by the high byte of the port"),
    _verdict("tried < CI_CHAIN &&", "tried < CI_CHAIN - 1 &&", "the last rule of a long chain"),
    _verdict("inside == wanted", "inside", "`! -s` is `-s`"),
    _verdict("inside == wanted", "wanted", "sources are not looked at"),
    _verdict("source_port >= service", "source_port > service", "the first source port"),
    _verdict("source_port <= service", "source_port < service", "the last source port"),
    _verdict(
        "if (service->flags & CI_SERVICE_ANY)",
        "if (0)",
        "services without conditions are looked at",
        same="their mask is 0 and their ports are all, so they match all the same",
    ),
    _verdict("index = service->next;", "index = 0;", "only the first rule of a port"),
    _verdict(
        "tuple.ipv4.saddr = packet->source",
        "tuple.ipv4.saddr = packet->destination",
        "ends of sockets",
    ),
    _verdict(
        "ipv4.dport = packet->destination_", "ipv4.dport = packet->source_", "ports of sockets"
    ),
    _verdict(
        "tuple.ipv6.saddr, packet->source",
        "tuple.ipv6.saddr, packet->destination",
        "ends of sockets, IPv6",
    ),
    _verdict("size = sizeof(tuple.ipv6);", "", "no socket of IPv6 is found"),
    _verdict("sock->state != BPF_TCP_LISTEN", "1", "a listener is a connection"),
    _verdict("switch (state)", "switch (state ^ state >> 1)", "taking and draining change places"),
    _verdict("!tcp || packet->syn", "packet->syn", "taking: nothing but TCP"),
    _verdict("packet->syn || ci_socket", "ci_socket", "taking: no new connections"),
    _verdict(" || ci_socket_here(ctx, packet)", "", "taking: no connections of ours"),
    _verdict("tcp && !packet->syn", "!packet->syn", "draining: other protocols on TCP's ports"),
    _verdict("!packet->syn && ci_socket", "ci_socket", "draining: new connections on old ports"),
    _verdict(" && ci_socket_here(ctx, packet)", "", "draining: connections of the new owner"),
    _verdict("return CI_ACCEPT_TAKING;", "return CI_ACCEPT_OWNED;", "counted as another reason"),
    _verdict("return CI_DROP_DRAINING;", "return CI_DROP_NOT_OWNED;", "counted as another"),
    _verdict("return CI_DROP_NOT_OWNED;", "return CI_ACCEPT_OWNED;", "unknown states own"),
    _verdict("version == 4 ? packet->protocol : 0", "version == 4 ? 0 : 0", "ids of protocols"),
    _verdict("version == 4 ? packet->protocol : 0", "protocol", "later ones of IPv6 unknown"),
    _verdict(".version = packet->version,", "", "versions have their fragments in common"),
    _verdict(
        "key.destination_be, packet->destination_be",
        "key.source_be, packet->source_be",
        "the VIP of fragments",
    ),
    _verdict("ns() + CI_FRAGMENT_NS", "ns()", "first fragments are forgotten at once"),
    _verdict(".dropped = dropped,", ".dropped = !dropped,", "later fragments fare otherwise"),
    _verdict("first->dropped && ", "", "later fragments of what was accepted are dropped"),
    _verdict(" && bpf_ktime_get_ns() < first->until", "", "an id that comes again is dropped"),
    _verdict("bpf_ntohl(packet->source_be[0])", "packet->source_be[0]", "order of the source"),
    _verdict(" & vip->mask_be[at]", "", "hosts of a network are hashed apart"),
    _verdict("bpf_ntohl(packet->source_be[at]", "(packet->source_be[at]", "order of the source"),
    _verdict("return ci_hash6(mode, vip->hash_init", "return ci_hash6(mode, 0", "no hash init"),
    _verdict("verdict.group = vip->group;", "", "every VIP has the first bucket table"),
    _verdict("parsed == CI_NEIGHBOURS ? CI_UNTOUCHED :", "", "neighbours are malformed"),
    _verdict("packet.quoted ? CI_ACCEPT_FRAGMENT :", "", "a quoted later one is looked up"),
    _verdict("verdict.rule = service->rule;", "", "all is counted as no rule's"),
    _verdict("service->hashmode", "CI_SOURCEIP", "every service hashes the address"),
    _verdict("ci_bucket(hash, vip->total)", "ci_bucket(hash, CI_BUCKETS)", "256 buckets always"),
    _verdict("state[verdict.bucket]", "state[0]", "the first bucket speaks for all"),
    _verdict("if (!ci_drops(verdict.reason) &&", "if (", "all is expired, dropped or not"),
    _verdict(
        "group->deadline != CI_NO_DEADLINE &&",
        "",
        "the clock is read without need",
        same="no clock gets to CI_NO_DEADLINE; it only costs time",
    ),
    _verdict(
        "bpf_ktime_get_ns() >= group->deadline",
        "bpf_ktime_get_ns() > group->deadline",
        "the deadline itself is in time",
        same="one nanosecond, which no test can hit",
    ),
    _verdict("bpf_ktime_get_ns() >= group->deadline", "0", "leases never end"),
    _verdict("if (packet.first)", "if (0)", "first fragments are not noted"),
    _verdict("if (packet.first)", "if (packet.first || packet.fragment)", "later ones are noted"),
    _verdict(
        "ci_note_fragment(&packet, ci_drops",
        "ci_note_fragment(&packet, 0 && ci_drops",
        "drops noted as accepts",
    ),
    _verdict("verdict->bucket < CI_BUCKETS", "verdict->bucket < CI_BUCKETS - 1", "bucket 256"),
    _maps("counters->packets[reason]++;", "", "packets are not counted"),
    _maps("counters->bytes += bytes;", "", "bytes are not counted"),
    _maps("counters->bucket[bucket].packets++;", "", "packets of buckets are not counted"),
    _maps("counters->bucket[bucket].bytes += bytes;", "", "bytes of buckets are not counted"),
    _maps("CI_FRAGMENTS 4096", "CI_FRAGMENTS (1 << 18)", "fragments take memory without bound"),
    _maps("2000000000ULL", "2000000000000ULL", "an id is remembered for half an hour"),
    _maps("MAP_TYPE_LRU_HASH", "MAP_TYPE_HASH", "after many fragments none is noted"),
    _hash("(32 - shift)", "(31 - shift)", "rotation"),
    _hash("ci_rol(c, 11)", "ci_rol(c, 12)", "a constant of the last mix"),
    _hash("0xdeadbeefU", "0xdeadbeeeU", "the initial value"),
    _hash("+ (mode << 2)", "+ mode", "the length in bytes"),
    _hash("(mode > 1 ?", "(mode > 2 ?", "sourceip-sourceport without the port"),
    _hash("(mode > 2 ?", "(mode > 1 ?", "sourceip-sourceport with both ports"),
    _hash("(mode + 3) << 2", "(mode + 2) << 2", "the length in bytes, IPv6"),
    _hash("ci_rol(a, 19)", "ci_rol(a, 18)", "a constant of the first mix, IPv6"),
    _hash("a += source[3];", "", "the last word of an IPv6 address"),
    _hash("b += mode > 1", "b += mode > 2", "the source port, IPv6"),
    _hash("c += mode > 2", "c += mode > 1", "the destination port, IPv6"),
    _hash("(__u64)hash * total >> 32", "hash % total", "scaled by remainder"),
)
