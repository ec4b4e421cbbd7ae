"""The bytes of struct ci_config: what the plain path reads of them, and that it says the same."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

from clusterip.adapters import abi
from clusterip.adapters.packing import pack
from clusterip.core.address import Address, words
from clusterip.core.packets.compile import slot_of
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import TCP, UDP, Mac, Match, Rule, ServiceAction, Sharing
from clusterip.core.packets.state import Chain, Entry, Group, InterfaceState
from clusterip.core.rules import chain as chains

VIP, VIP6 = IPv4Address("10.9.0.100"), IPv6Address("2001:db8::100")
SHARING = Sharing(HashMode.NFT_JHASH, Mac("01005e000020"), 12, 34)


def packed(*rules: Rule) -> abi.Config:
    chain = Chain()
    for rule in rules:
        chain = chains.append(chain, rule, 7)
    return abi.Config.from_buffer_copy(pack(chain.interfaces[0]))


def slot_for(config: abi.Config, address: Address) -> abi.Slot:
    slot: abi.Slot = config.slot[slot_of(address, config.vip_seed)]
    return slot


def test_the_slot_of_an_ipv4_vip_says_what_the_vip_says() -> None:
    matches = (Match(TCP), Match(UDP, source=IPv4Network("10.0.0.0/8")))
    config = packed(*(Rule(VIP, "eth0", match, SHARING) for match in matches))
    slot, vip = slot_for(config, VIP), config.vip[0]
    assert slot.vip == 1
    assert slot.address_be == vip.address_be[0] == words(VIP)[0]
    assert (slot.hash_init, slot.total, slot.group) == (vip.hash_init, vip.total, vip.group)
    assert [slot.table[protocol & 1] for protocol in (TCP, UDP)] == [
        vip.table[protocol] for protocol in (TCP, UDP)
    ]
    assert slot.table[0] != slot.table[1]


def test_other_slots_stand_for_no_vip() -> None:
    """One that has address 0.0.0.0 leads to no service, whatever else comes to mind there."""
    config = packed(*(Rule(vip, "eth0", sharing=SHARING) for vip in (VIP, VIP6)))
    others = [slot for slot in config.slot if slot.address_be == 0]
    assert len(others) == len(config.slot) - 1
    assert sorted(slot.vip for slot in others)[-2:] == [0, 2]
    assert slot_for(config, VIP6).vip == 2
    empty = abi.Slot()
    for slot in others:
        assert bytes(abi.Slot(**{**fields(slot), "vip": 0})) == bytes(empty)
    assert set(config.table[0].page) == {0}
    assert set(config.page[0].service) == {0}
    assert bytes(config.service[0]) == bytes(abi.Service())


def fields(slot: abi.Slot) -> dict[str, object]:
    return {name: getattr(slot, name) for name, _ in slot._fields_}


def test_a_service_is_plain_where_its_hash_mode_is_all() -> None:
    matches = (Match(), Match(source=IPv4Network("10.0.0.0/8")))
    rules = [
        Rule(VIP, "eth0", match, SHARING, action=action, bucket=action is ServiceAction.SINGLE)
        for match in matches
        for action in ServiceAction
    ]
    for rule in rules:
        state = InterfaceState(
            7, "eth0", groups=(Group(0, VIP, SHARING),), entries=(Entry(0, 1, rule),)
        )
        service = abi.Config.from_buffer_copy(pack(state)).service[1]
        plain = rule.match == Match() and rule.action is ServiceAction.BALANCE
        assert service.plain == (abi.HASHMODES[SHARING.mode] if plain else 0), rule
        assert service.rule == 1
