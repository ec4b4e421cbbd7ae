"""The rule grammar of iptables, as far as it concerns the CLUSTERIP target.

Whatever iptables 1.8.9 accepts for such a rule is accepted here and means the same; whatever has
no meaning here is refused by name, never ignored. Ours, and unknown to iptables: up to 256
buckets, a rule without a local node, `--manage-address`, `--xdp` and `--json`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Final

import msgspec

from clusterip.core.errors import UsageError
from clusterip.core.packets.model import Match, Rule
from clusterip.core.packets.state import XdpMode
from clusterip.core.rules import matches as rule_matches
from clusterip.core.rules import values as rule_values
from clusterip.core.rules.getopt import Found, Scanner, UnknownOptionError
from clusterip.core.rules.options import (
    ACTIONS,
    ADDED,
    CHAIN,
    INVERTIBLE,
    LEGAL,
    LISTS,
    NUMBERED,
    OWN,
    RULE_ACTIONS,
    TABLE,
    UNSUPPORTED,
    Action,
)
from clusterip.core.rules.target import OPTIONS as TARGET_OPTIONS
from clusterip.core.rules.target import TARGET, TargetDraft

__all__ = ["Action", "Command", "parse"]

_TARGET_LAYER: Final = -1
"""Marks the target's options; 0 marks those of iptables itself, 1 and up those of the matches."""

_BELONGS: Final = {
    **{
        name: f"it comes after {place}"
        for module, place in (
            ("tcp", "`-p tcp'"),
            (rule_matches.MULTIPORT, "`-m multiport'"),
            (rule_matches.COMMENT, "`-m comment'"),
        )
        for option in rule_matches.OPTIONS[module]
        for name in option.names
        if option.key
    },
    **{option.names[0]: f"it comes after `-j {TARGET}'" for option in TARGET_OPTIONS},
}
"""Where an option that is unknown so far would be known."""


_BROADCAST: Final = IPv4Address("255.255.255.255")


class Command(msgspec.Struct, frozen=True):
    """One command line.

    `rules` has one rule for each pair of the -s and -d lists, in the order in which they are to
    stand in the chain (iptables inserts each at the same place, so for INSERT the last named
    comes first). `number` counts from 1. `zero` asks to zero the counters after listing
    (`-L -Z`). `counters` are the packets and bytes to start with (`-c`), None for zero.
    `json` asks for an object in place of words.
    """

    action: Action
    rules: tuple[Rule, ...] = ()
    number: int | None = None
    verbose: int = 0
    numeric: bool = False
    exact: bool = False
    line_numbers: bool = False
    xdp: XdpMode | None = None
    zero: bool = False
    counters: tuple[int, int] | None = None
    json: bool = False


def parse(
    words: Sequence[str], services: rule_values.Services = rule_values.no_services
) -> Command:
    """Read a command line without the program's name; raise UsageError naming the first fault.

    `services` turns a service's name and its protocol's name into a port, or None.
    """
    return _Parser(words, services).run()


class _Parser:
    """Reads one command line: what is known so far, and a method for each kind of option."""

    def __init__(self, words: Sequence[str], services: rule_values.Services) -> None:
        self._scanner = Scanner(words, OWN, ADDED)
        self._services = services
        self._action: Action | None = None
        self._zero = False
        self._number: int | None = None
        self._verbose = 0
        self._seen: dict[str, Found] = {}
        self._negated: set[str] = set()
        self._waits = False
        self._protocol = 0
        self._matches: dict[int, rule_matches.AnyMatch] = {}
        self._autoloaded = False
        self._target: TargetDraft | None = None
        self._counters: tuple[int, int] | None = None

    def run(self) -> Command:
        """Read all words, then check what they say together."""
        invert = False
        while (read := self._next()) is not None:
            if isinstance(read, Found):
                self._option(read, invert)
                invert = False
            elif read != "!":
                raise UsageError(f"Bad argument `{read}'", "every value follows its option")
            elif invert:
                raise UsageError("multiple consecutive ! not allowed", "write one `!`")
            else:
                invert = True
        if invert:
            raise UsageError("nothing appropriate following !", "put the `!` before an option")
        return self._command()

    def _next(self) -> Found | str | None:
        try:
            return self._scanner.next()
        except UnknownOptionError as error:
            # Only an option that is unknown otherwise brings in the match of `-p`.
            module = rule_matches.AUTOMATIC.get(self._protocol)
            if self._autoloaded or module is None or self._has(module):
                error.cure = _BELONGS.get(error.name, error.cure)
                raise
        self._autoloaded = True
        self._bring(module)
        return self._next()

    def _has(self, module: str) -> bool:
        return any(one.module == module for one in self._matches.values())

    def _bring(self, module: str) -> None:
        number = len(self._matches) + 1
        self._matches[number] = rule_matches.bring(module)
        self._scanner.bring(number, rule_matches.OPTIONS[module])

    def _option(self, found: Found, invert: bool) -> None:
        key = found.option.key
        if found.layer in self._matches:
            protocol = (self._protocol, "protocol" in self._negated)
            self._matches[found.layer].take(found, invert, protocol, self._services)
        elif self._target is not None and found.layer == _TARGET_LAYER:
            self._target.take(found, invert)
        elif key in UNSUPPORTED:
            if key == "out-interface":
                raise UsageError(f"Can't use -o with {CHAIN}", UNSUPPORTED[key])
            kind = "command" if found.option.short in set("RNXEP") else "option"
            raise UsageError(f"{kind} {found.spelled} is not supported", UNSUPPORTED[key])
        elif key in ACTIONS:
            self._act(found, invert)
        else:
            self._plain(found, invert)

    def _act(self, found: Found, invert: bool) -> None:
        if invert:
            raise UsageError("unexpected '!' flag", f"leave out the `!` before {found.name}")
        action = ACTIONS[found.option.key]
        before = self._action
        if before is None:
            self._action = action
        elif {before, action} in ({Action.LIST, Action.ZERO}, {Action.LIST_RULES, Action.ZERO}):
            self._zero = True
            self._action = before if before in LISTS else action
        else:
            raise UsageError(
                f"Cannot use -{action.value} with -{before.value}", "give one command at a time"
            )
        chain = self._scanner.following() if found.value is None else found.value
        if chain is not None and chain != CHAIN:
            raise UsageError(
                f"chain `{chain}' has no CLUSTERIP rules", f"the only chain is {CHAIN}"
            )
        if chain is not None and action in NUMBERED:
            number = self._scanner.following()
            self._number = rule_values.rule_number(number) if number is not None else self._number
        if self._zero and self._number is not None:
            raise UsageError(
                "a rule number cannot go with -L and -Z together", "list and zero one at a time"
            )

    def _plain(self, found: Found, invert: bool) -> None:
        key = found.option.key
        if key == "verbose":
            self._verbose += 1
        elif key in {"wait", "wait-interval"}:
            self._wait(found)
        elif key == "table":
            if found.text != TABLE:
                raise UsageError(
                    f"table `{found.text}' has no CLUSTERIP rules", f"the only table is {TABLE}"
                )
        elif key == "ipv4":
            pass
        elif key == "match":
            self._match(found, invert)
            self._seen.setdefault(key, found)
        else:
            self._once(found, invert)
        if invert and key not in INVERTIBLE:
            raise UsageError(f"cannot have ! before {found.name}", "leave out the `!`")

    def _once(self, found: Found, invert: bool) -> None:
        key = found.option.key
        if key in self._seen:
            raise UsageError(f"multiple {found.name} flags not allowed", "give it once")
        self._seen[key] = found
        if invert and key in {"interface", "destination"}:
            raise UsageError(
                f"cannot have ! before {found.name}",
                "a CLUSTERIP rule needs its one VIP and its one device",
            )
        if invert:
            self._negated.add(key)
        if key == "protocol":
            self._protocol = rule_values.protocol(found.text)
            if invert and not self._protocol:
                raise UsageError("rule would never match protocol", "leave out the `!`")
        elif key == "jump" and not invert:
            self._jump(found)
        elif key == "set-counters":
            self._counters = self._read_counters(found)
        elif key == "xdp" and found.text not in {mode.value for mode in XdpMode}:
            raise UsageError(f'Unknown xdp mode "{found.text}"', "write auto, off or require")

    def _match(self, found: Found, invert: bool) -> None:
        if invert:
            raise UsageError("unexpected ! flag before --match", "negate the match's option")
        if found.text not in rule_matches.OPTIONS:
            known = ", ".join(rule_matches.OPTIONS)
            instead = rule_matches.INSTEAD.get(found.text)
            because = f": {instead}" if instead else ""
            raise UsageError(
                f"Couldn't load match `{found.text}'",
                f"leave `-m {found.text}` and its options out{because}"
                f" (a CLUSTERIP rule can have: {known})",
            )
        self._bring(found.text)

    def _jump(self, found: Found) -> None:
        if found.text != TARGET:
            raise UsageError(
                f"target `{found.text}' is not {TARGET}",
                f"write `-j {TARGET}`; other targets stay with iptables",
            )
        self._target = TargetDraft()
        self._scanner.bring(_TARGET_LAYER, TARGET_OPTIONS)

    def _wait(self, found: Found) -> None:
        value = self._scanner.following() if found.value is None else found.value
        seconds = found.option.key == "wait"
        if value is not None and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", value):
            what = "seconds" if seconds else "interval"
            raise UsageError(f"wait {what} not numeric", f"`{value}' was given")
        if seconds:
            self._waits = True
        else:
            self._seen.setdefault("wait-interval", found)

    def _read_counters(self, found: Found) -> tuple[int, int]:
        packets, comma, octets = found.text.partition(",")
        if not comma:
            following = self._scanner.following()
            if following is None:
                raise UsageError("-c requires packet and byte counter", "write `-c PACKETS BYTES`")
            octets = following
        values = [rule_values.number(one, 0, 2**64 - 1) for one in (packets, octets)]
        for value, what in zip(values, ("packet", "byte"), strict=True):
            if value is None:
                raise UsageError(f"-c {what} counter not numeric", "write `-c PACKETS BYTES`")
        return values[0] or 0, values[1] or 0

    def _command(self) -> Command:
        action = self._action
        if action is None:
            raise UsageError("no command specified", "start with -A, -I, -D, -C, -F, -S, -L or -Z")
        if "wait-interval" in self._seen and not self._waits:
            raise UsageError("--wait-interval only makes sense with --wait", "leave it out")
        has_rule = action in RULE_ACTIONS and not (
            action is Action.DELETE and self._number is not None
        )
        for key, found in self._seen.items():
            legal = action in LEGAL[key] if key in LEGAL else has_rule
            if not legal and key != "wait-interval":
                raise UsageError(
                    f"Illegal option `{found.name}' with this command",
                    f"leave it out or give another command than -{action.value}",
                )
        rules = self._rules() if has_rule else ()
        return Command(
            action,
            rules[::-1] if action is Action.INSERT else rules,
            self._number,
            self._verbose,
            "numeric" in self._seen,
            "exact" in self._seen,
            "line-numbers" in self._seen,
            XdpMode(self._seen["xdp"].text) if "xdp" in self._seen else None,
            self._zero,
            self._counters,
            "json" in self._seen,
        )

    def _rules(self) -> tuple[Rule, ...]:
        if self._target is None:
            raise UsageError(f"no target: the rule must say `-j {TARGET}'", f"add `-j {TARGET}`")
        sharing, local_node = self._target.finish()
        base = Match(self._protocol, "protocol" in self._negated)
        named = list(self._matches.values())
        match = rule_matches.together(named, base)
        comments = rule_matches.comments(named, match)
        matches = [match]
        if "source" in self._seen:
            sources = rule_values.addresses(self._seen["source"].text)
            negated = "source" in self._negated
            if negated and len(sources) > 1:
                raise UsageError(
                    "! not allowed with multiple source or destination IP addresses",
                    "negate one network, or write one rule for each address that is meant",
                )
            matches = [
                msgspec.structs.replace(
                    match, source=rule_values.network(one), source_negated=negated
                )
                for one in sources
            ]
        vips = self._vips()
        if "interface" not in self._seen:
            raise UsageError("Please specify an interface name", "add -i DEVICE")
        interface = rule_values.interface(self._seen["interface"].text)
        manage = "manage-address" in self._seen
        return tuple(
            Rule(vip, interface, one, sharing, local_node, manage, comments=comments)
            for one in matches
            for vip in vips
        )

    def _vips(self) -> list[IPv4Address]:
        if "destination" not in self._seen:
            raise UsageError("Please specify destination IP", "add -d VIP")
        return [_vip(one) for one in rule_values.addresses(self._seen["destination"].text)]


def _vip(text: str) -> IPv4Address:
    if ":" in text:
        raise UsageError(
            f"VIP `{text}' must be an IPv4 address in this version",
            "IPv6 VIPs are for the configuration file",
        )
    if re.search(r"[A-Za-z]", text) and not re.match(r"0[xX]", text):
        raise UsageError(
            f"VIP `{text}' must be an IPv4 address in this version",
            "write the address itself: a name may resolve to another one on the next host",
        )
    network = rule_values.network(text)
    if network.prefixlen != 32 or network.network_address == IPv4Address(0):
        raise UsageError(
            "Please specify destination IP",
            f"`{text}' is not one address; a rule has one VIP, without a mask or with /32",
        )
    vip = network.network_address
    if vip.is_multicast or vip.is_loopback or vip == _BROADCAST:
        raise UsageError(
            f"VIP {vip} is not the address of a host",
            "give an address that clients can connect to",
        )
    return vip
