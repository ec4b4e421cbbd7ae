"""The structures of bpf/abi.h as ctypes; meanings, units and byte orders are on that page.

Constants that are sizes come from `core.limits`, which mirrors the same page.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Final

from clusterip.core import limits
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import ServiceAction
from clusterip.core.serving import actions as lease_events

ABI_VERSION: Final = 7
ABI_LOWEST: Final = 6
KEYS: Final = 256
NO_DEADLINE: Final = 0xFFFFFFFFFFFFFFFF


BucketState = lease_events.BucketState
"""enum ci_state."""


class Reason(IntEnum):
    """enum ci_reason."""

    ACCEPT_OWNED = 0
    ACCEPT_TAKING = 1
    ACCEPT_DRAINING = 2
    ACCEPT_FRAGMENT = 3
    DROP_NOT_OWNED = 4
    DROP_NO_RULE = 5
    DROP_TAKING = 6
    DROP_DRAINING = 7
    DROP_EXPIRED = 8
    DROP_MALFORMED = 9
    ARP_REWRITTEN = 10
    DROP_ARP = 11
    DROP_FRAGMENT = 12
    DROP_SERVICE = 13
    DROP_ELSEWHERE = 14
    DROP_ARP_ELSEWHERE = 15

    @property
    def word(self) -> str:
        """The name as shown to users: `drop_not_owned`."""
        return self.name.lower()


HASHMODES: Final = {mode: number for number, mode in enumerate(HashMode, start=1)}
"""enum ci_hashmode."""
ACTIONS: Final = {action: number for number, action in enumerate(ServiceAction)}
"""enum ci_action."""
SERVICE_ANY: Final = 1
SERVICE_NOT_SOURCE: Final = 2


class Vip(ctypes.LittleEndianStructure):
    """struct ci_vip."""

    _fields_ = (
        ("address_be", ctypes.c_uint32 * 4),
        ("mask_be", ctypes.c_uint32 * 4),
        ("hash_init", ctypes.c_uint32),
        ("total", ctypes.c_uint16),
        ("mac", ctypes.c_uint8 * 6),
        ("group", ctypes.c_uint8),
        ("version", ctypes.c_uint8),
        ("reserved", ctypes.c_uint8 * 2),
        ("table", ctypes.c_uint8 * 256),
    )


class Slot(ctypes.LittleEndianStructure):
    """struct ci_slot."""

    _fields_ = (
        ("address_be", ctypes.c_uint32),
        ("hash_init", ctypes.c_uint32),
        ("total", ctypes.c_uint16),
        ("vip", ctypes.c_uint8),
        ("group", ctypes.c_uint8),
        ("table", ctypes.c_uint8 * 2),
        ("reserved", ctypes.c_uint8 * 2),
    )


class Table(ctypes.LittleEndianStructure):
    """struct ci_table."""

    _fields_ = (("page", ctypes.c_uint16 * 256),)


class Page(ctypes.LittleEndianStructure):
    """struct ci_page."""

    _fields_ = (("service", ctypes.c_uint16 * 256),)


class Service(ctypes.LittleEndianStructure):
    """struct ci_service."""

    _fields_ = (
        ("source_be", ctypes.c_uint32),
        ("mask_be", ctypes.c_uint32),
        ("port_first", ctypes.c_uint16),
        ("port_last", ctypes.c_uint16),
        ("rule", ctypes.c_uint16),
        ("next", ctypes.c_uint16),
        ("flags", ctypes.c_uint8),
        ("hashmode", ctypes.c_uint8),
        ("action", ctypes.c_uint8),
        ("bucket", ctypes.c_uint8),
        ("plain", ctypes.c_uint8),
        ("reserved", ctypes.c_uint8 * 3),
    )


class Config(ctypes.LittleEndianStructure):
    """struct ci_config."""

    _fields_ = (
        ("abi_version", ctypes.c_uint32),
        ("abi_lowest", ctypes.c_uint32),
        ("document_at", ctypes.c_uint32),
        ("document_bytes", ctypes.c_uint32),
        ("vip_seed", ctypes.c_uint32),
        ("slot", Slot * limits.VIP_SLOTS),
        ("vip", Vip * limits.VIPS),
        ("table", Table * limits.TABLES),
        ("page", Page * limits.PAGES),
        ("service", Service * limits.SERVICES),
        ("document", ctypes.c_uint8 * limits.DOCUMENT),
    )


class Group(ctypes.LittleEndianStructure):
    """struct ci_group."""

    _fields_ = (
        ("deadline", ctypes.c_uint64),
        ("flow_slots", ctypes.c_uint64 * limits.BUCKETS),
        ("state", ctypes.c_uint8 * limits.BUCKETS),
    )


class Peer(ctypes.LittleEndianStructure):
    """struct ci_peer."""

    _fields_ = (
        ("incarnation", ctypes.c_uint64),
        ("ahead", ctypes.c_int64),
        ("slack", ctypes.c_uint64),
        ("group", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


class Keys(ctypes.LittleEndianStructure):
    """struct ci_keys."""

    _fields_ = (
        ("word", ctypes.c_uint64 * 2 * KEYS),
        ("known", ctypes.c_uint8 * KEYS),
    )


class Verdicts(ctypes.LittleEndianStructure):
    """struct ci_verdicts."""

    _fields_ = (
        ("bytes", ctypes.c_uint64),
        ("packets", ctypes.c_uint64 * len(Reason)),
    )


class Flow(ctypes.LittleEndianStructure):
    """struct ci_flow."""

    _fields_ = (("packets", ctypes.c_uint64), ("bytes", ctypes.c_uint64))


class Traffic(ctypes.LittleEndianStructure):
    """struct ci_traffic."""

    _fields_ = (("bucket", Flow * limits.BUCKETS),)


class Carry(IntEnum):
    """enum ci_carry."""

    VERDICTS = 0
    TRAFFIC = 1
    FLOW_SLOTS = 2


class Carried(ctypes.LittleEndianStructure):
    """struct ci_carried."""

    _fields_ = (
        ("ethernet", ctypes.c_uint8 * 16),
        ("map", ctypes.c_uint32),
        ("key", ctypes.c_uint32),
        ("word", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("by", ctypes.c_uint64),
    )


STRUCTURES: Final = {
    "ci_vip": Vip,
    "ci_slot": Slot,
    "ci_table": Table,
    "ci_page": Page,
    "ci_service": Service,
    "ci_config": Config,
    "ci_group": Group,
    "ci_peer": Peer,
    "ci_keys": Keys,
    "ci_verdicts": Verdicts,
    "ci_flow": Flow,
    "ci_traffic": Traffic,
    "ci_carried": Carried,
}
"""By name in abi.h, for the test that compares them with the object."""
