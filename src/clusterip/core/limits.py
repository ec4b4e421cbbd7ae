"""How much one interface can hold: the limits of bpf/abi.h.

A test holds each of them against the sizes in the compiled object.
"""

from typing import Final

BUCKETS: Final = 256
GROUPS: Final = 64
VIPS: Final = 64
VIP_SLOTS: Final = 1024
VIP_SHIFT: Final = 22
RULES: Final = 1024
TABLES: Final = 256
PAGES: Final = 1024
SERVICES: Final = 2048
CHAIN: Final = 32
DOCUMENT: Final = 131072
