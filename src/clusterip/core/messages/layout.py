"""How a message looks in its datagram.

`seal` says what is around the body, under the magic b"CLIP". All numbers are big-endian.
The body is

    offset  bytes  meaning
    0       8      sender
    8       8      incarnation
    16      8      sequence
    24      8      the sender's clock, ns
    32      8      tag of sender, incarnation and clock, for the kernel
    40      8      config digest
    48      8      voter-set digest
    56      8      digest of the voter set before, 0 for none
    64      8      grace, ns, 0..60 s
    72      2      weight
    74      1      flags: 1 healthy, 2 leaving, 4 ready, 8 told to stop; the rest is not looked at
    75      1      lowest version that the sender speaks, 1..255
    76      1      highest version that it speaks
    77      1      0, not looked at
    78      2      total, 1..256: buckets in the sets that follow
    80             fields (`fields`):

    number  value
    1       want, in b = (total + 7) / 8 bytes; bit 0 of byte 0 is bucket 1
    2       held, b bytes
    3       draining, b bytes
    4       draining elsewhere, as far as the sender has seen, b bytes
    5       echoes, 36 at most, each of 24 bytes: node, incarnation, and in one number the
            sequence (62 bits) and above it whether it is known and, highest, whether it is
            acknowledged; of the sender itself it is that of another incarnation, and neither
    6       grants
    7       flows: b bytes, the buckets whose flow slots are named; b bytes, those of which
            all flow slots are kept; and for each of the former, ascending, its flow slots:
            8 bytes, neither 0 nor all
    8       keys: the ids of those that the sender has, 1..32 bytes, of which the last is
            not 0; bit 0 of byte 0 is key 0

A field that is not there is empty: no bucket, nobody. One of another number is skipped. The first
80 bytes are alike in all versions: whoever reads has to learn who speaks, and in which versions.

Grants name for each bucket an index: 0 for none, 1 for the sender, 2 + i for the node of
echo i. They are runs of (index, length - 1), a byte each, or, where that is shorter, one 255 and
then an index per bucket; either way they cover each bucket once.

Buckets with flow slots are draining.

A datagram is to have FRAME bytes at most, for fragments are dropped by many firewalls and switches.
All but the flows fits for any cluster; who gives buckets away names the flow slots of
`cells_that_fit`, and keeps all flow slots of the rest. Where the keys make it longer than that,
they are left out.

bpf/beat.h reads sender, incarnation and clock where they stand here. The tag lets the kernel, which
cannot check the MAC, know that a member said so: SipHash-2-4, under `clock_key`, of the three
words, each with its lowest byte first. Who checked the MAC need not look at it.
"""

from __future__ import annotations

import struct
from typing import Final

MAX_ECHOES: Final = 36
"""So that a message for 256 buckets fits whatever it says; clusters have 32 nodes at most."""
FRAME: Final = 1400
"""Bytes: an MTU of 1,450, as on a VXLAN, less the headers of IPv6 and UDP."""
MAX_GRACE: Final = 60_000_000_000
"""The longest restart grace, ns: nobody may bind the voters for longer."""

MAGIC: Final = b"CLIP"
BODY: Final = struct.Struct("!QQQQQQQQQHBBBxH")
TAGGED: Final = struct.Struct("<QQQ")
ECHO: Final = struct.Struct("!QQQ")
FLOW_SLOTS: Final = struct.Struct("!Q")
ACKNOWLEDGED: Final = 1 << 63
KNOWN: Final = 1 << 62
SEQUENCES: Final = 1 << 62
PLAIN: Final = 255
NO_GRANT: Final = 0
SENDER: Final = 1
FIRST_ECHO: Final = 2
KEY_BYTES: Final = 32
"""Of a mask of key ids, 0..255."""
WANT: Final = 1
HELD: Final = 2
DRAINING: Final = 3
ELSEWHERE: Final = 4
ECHOES: Final = 5
GRANTS: Final = 6
FLOWS: Final = 7
KEYS: Final = 8
