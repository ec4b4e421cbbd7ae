"""Faults in what messages tell of the time: beat.h and siphash.h."""

from __future__ import annotations

from functools import partial

from tests.bpf.mutants.kind import Mutant

_beat = partial(Mutant, "beat.h")
_sip = partial(Mutant, "siphash.h")

_NO_MORE = "the tag is looked at for nothing, and of what follows nothing is so"

HEARING = (
    _beat("!ci_is_ipv4(&frame, data_end) || ", "", "IPv6 is read as IPv4"),
    _beat(" || ip->protocol != IPPROTO_UDP", "", "another protocol closes"),
    _beat("ip->frag_off & bpf_htons(CI_IP_OFFSET)", "0", "a later part closes"),
    _beat("0x1fff", "0x3fff", "a first part is none"),
    _beat("frame.offset + ip->ihl * 4", "frame.offset + 20", "options are unknown"),
    _beat("frame.offset + ip->ihl", "14 + ip->ihl", "tags are unknown"),
    _beat("beat.magic_be != bpf_htonl(CI_BEAT_MAGIC)", "0", "another kind closes"),
    _beat(
        " || peer->incarnation != bpf_be64_to_cpu(beat.incarnation_be)",
        "",
        "another incarnation closes",
    ),
    _beat(" || group->deadline == CI_NO_DEADLINE", "", "what no daemon serves is closed"),
    _beat(" - peer->ahead", "", "all clocks are one"),
    _beat("(shown <= now && shown < group->deadline)", "0", "any clock is as good", _NO_MORE),
    _beat("shown <= now && shown <", "shown <", "a standstill within the lease is not seen"),
    _beat("if (shown >= group->deadline ||", "if (", "a lease that is over is not seen"),
    _beat("if (shown >= group->deadline", "if (shown > group->deadline", "its end is in time"),
    _beat("shown - now >= peer->slack", "shown >= now", "any delay is a standstill"),
    _beat(" || !ci_is_of_a_member(&beat)", "", "anybody closes"),
    _beat("peer->ahead += shown - now;", ";", "it stood still for ever"),
    _beat(" && known->known[beat->key]", "", "a key of nobody is one"),
    _beat("group->deadline = 0;", "return;", "nothing closes"),
    _sip("ci_sip_word(&sip, second);", "", "the incarnation is not covered"),
    _sip("ci_sip_word(&sip, third);", "", "the clock is not covered"),
    _sip("sip.v2 ^= 0xff;", "", "not SipHash"),
    _sip("v1, 13)", "v1, 12)", "another rotation"),
    _sip(".v3 = key[1] ^", ".v3 =", "half of the key is missing once"),
)
