"""From the rules of an interface to the bytes that the packet path reads: struct ci_config."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from clusterip.adapters import abi
from clusterip.core import limits
from clusterip.core.address import prefix_mask, words
from clusterip.core.errors import RefusedError
from clusterip.core.packets.model import TCP, UDP, ServiceAction
from clusterip.core.packets.state import InterfaceState, encode

if TYPE_CHECKING:
    from clusterip.core.packets.compile import CompiledVip, Tables


def pack(state: InterfaceState) -> bytes:
    """Return struct ci_config for these rules; RefusedError where a limit is exceeded."""
    # Who only reads compiles nothing.
    from clusterip.core.packets.compile import compile_tables  # noqa: PLC0415

    tables = compile_tables(state)
    config = abi.Config(
        abi_version=abi.ABI_VERSION,
        abi_lowest=abi.ABI_LOWEST,
        document_at=abi.Config.document.offset,
        vip_seed=tables.vip_seed,
    )
    for at, number in enumerate(tables.vip_slots):
        if number:
            config.slot[at] = _slot(number, tables.vips[number - 1])
    for at, vip in enumerate(tables.vips):
        sharing = vip.group.sharing
        config.vip[at] = abi.Vip(
            address_be=words(vip.group.vip),
            mask_be=prefix_mask(sharing.source_prefix6),
            hash_init=sharing.hash_init,
            total=sharing.total,
            mac=tuple(bytes(sharing.mac)),
            group=vip.group.index,
            version=vip.group.vip.version,
            table=tuple(vip.tables),
        )
    for at, content in enumerate(tables.tables):
        config.table[at].page[:] = array("H", content)
    for at, content in enumerate(tables.pages):
        config.page[at].service[:] = array("H", content)
    _pack_services(config, tables)
    document = encode(state)
    if len(document) > limits.DOCUMENT:
        raise RefusedError(
            f"the rules of {state.name} are too long to be recorded",
            "shorten their comments, or use fewer rules",
        )
    config.document_bytes = len(document)
    config.document[: len(document)] = document
    return bytes(config)


def _slot(number: int, vip: CompiledVip) -> abi.Slot:
    """Return the slot of a VIP, which is the one of that number."""
    group = vip.group
    if group.vip.version == 6:
        return abi.Slot(vip=number)
    return abi.Slot(
        address_be=words(group.vip)[0],
        hash_init=group.sharing.hash_init,
        total=group.sharing.total,
        vip=number,
        group=group.index,
        table=(vip.tables[TCP], vip.tables[UDP]),
    )


def _pack_services(config: abi.Config, tables: Tables) -> None:
    for at, service in enumerate(tables.services, start=1):
        condition = service.condition
        treatment = condition.treatment
        config.service[at] = abi.Service(
            source_be=int.from_bytes(condition.source.network_address.packed, "little"),
            mask_be=int.from_bytes(condition.source.netmask.packed, "little"),
            port_first=condition.ports[0],
            port_last=condition.ports[1],
            rule=condition.slot,
            next=service.following,
            flags=abi.SERVICE_ANY * condition.unconditional
            | abi.SERVICE_NOT_SOURCE * condition.negated,
            hashmode=abi.HASHMODES[treatment.mode],
            action=abi.ACTIONS[treatment.action],
            bucket=treatment.bucket - 1 if treatment.action is ServiceAction.SINGLE else 0,
            plain=abi.HASHMODES[treatment.mode] if condition.plain else 0,
        )
