"""The options of iptables and ours, and which of them go with which command.

The names are those of iptables 1.8.9; options that have no meaning here are in the table too, so
that they are refused by name and a shortened option is as ambiguous as it is there.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from clusterip.core.rules.getopt import Option, Takes
from clusterip.core.rules.target import TARGET

CHAIN: Final = "INPUT"
TABLE: Final = "filter"


class Action(Enum):
    """What a command line asks for; the values are iptables' letters."""

    APPEND = "A"
    INSERT = "I"
    DELETE = "D"
    CHECK = "C"
    FLUSH = "F"
    LIST_RULES = "S"
    LIST = "L"
    ZERO = "Z"


_NO: Final = Takes.NOTHING
# Refused options take no value, so that they are refused for what they are and not for its lack.
OWN: Final = (
    Option("append", ("append",), short="A"),
    Option("delete", ("delete",), short="D"),
    Option("check", ("check",), short="C"),
    Option("insert", ("insert",), short="I"),
    Option("replace", ("replace",), _NO, "R"),
    Option("list", ("list",), Takes.MAYBE, "L"),
    Option("list-rules", ("list-rules",), Takes.MAYBE, "S"),
    Option("flush", ("flush",), Takes.MAYBE, "F"),
    Option("zero", ("zero",), Takes.MAYBE, "Z"),
    Option("new-chain", ("new-chain",), _NO, "N"),
    Option("delete-chain", ("delete-chain",), _NO, "X"),
    Option("rename-chain", ("rename-chain",), _NO, "E"),
    Option("policy", ("policy",), _NO, "P"),
    Option("source", ("source", "src"), short="s"),
    Option("destination", ("destination", "dst"), short="d"),
    Option("protocol", ("protocol", "proto"), short="p"),
    Option("interface", ("in-interface",), short="i"),
    Option("jump", ("jump",), short="j"),
    Option("table", ("table",), short="t"),
    Option("match", ("match",), short="m"),
    Option("numeric", ("numeric",), _NO, "n"),
    Option("out-interface", ("out-interface",), _NO, "o"),
    Option("verbose", ("verbose",), _NO, "v"),
    Option("wait", ("wait",), Takes.MAYBE, "w"),
    Option("wait-interval", ("wait-interval",), Takes.MAYBE, "W"),
    Option("exact", ("exact",), _NO, "x"),
    Option("fragments", ("fragments",), _NO, "f"),
    Option("version", ("version",), _NO, "V"),
    Option("help", ("help",), _NO, "h"),
    Option("line-numbers", ("line-numbers",), _NO),
    Option("modprobe", ("modprobe",), _NO, "M"),
    Option("set-counters", ("set-counters",), short="c"),
    Option("goto", ("goto",), _NO, "g"),
    Option("ipv4", ("ipv4",), _NO, "4"),
    Option("ipv6", ("ipv6",), _NO, "6"),
)
ADDED: Final = (
    Option("xdp", ("xdp",)),
    Option("manage-address", ("manage-address",), _NO),
    Option("json", ("json",), _NO),
)

ACTIONS: Final = {
    "append": Action.APPEND,
    "insert": Action.INSERT,
    "delete": Action.DELETE,
    "check": Action.CHECK,
    "flush": Action.FLUSH,
    "list-rules": Action.LIST_RULES,
    "list": Action.LIST,
    "zero": Action.ZERO,
}
NUMBERED: Final = frozenset(
    {Action.INSERT, Action.DELETE, Action.LIST, Action.LIST_RULES, Action.ZERO}
)
LISTS: Final = frozenset({Action.LIST, Action.LIST_RULES})
INVERTIBLE: Final = frozenset({"source", "protocol"})
RULE_ACTIONS: Final = frozenset({Action.APPEND, Action.INSERT, Action.CHECK, Action.DELETE})
LEGAL: Final = {
    "numeric": frozenset({Action.LIST}),
    "exact": frozenset({Action.LIST}),
    "line-numbers": frozenset({Action.LIST}),
    "set-counters": frozenset({Action.APPEND, Action.INSERT}),
    "xdp": frozenset({Action.APPEND, Action.INSERT}),
    "json": frozenset(Action),
}
"""Which actions an option goes with, as in iptables; those not named here describe a rule."""

UNSUPPORTED: Final = {
    "replace": "delete the rule and insert another; `-L --line-numbers` has the numbers",
    "new-chain": f"there is only the {CHAIN} chain; --new goes after `-j {TARGET}`",
    "delete-chain": f"there is only the {CHAIN} chain",
    "rename-chain": f"there is only the {CHAIN} chain",
    "policy": "the policy stays with the firewall",
    "goto": f"write `-j {TARGET}`",
    "out-interface": "-i names the device of the VIP",
    "fragments": "a fragment goes where its first fragment went, without a rule",
    "modprobe": "no kernel module is needed; leave it out",
    "ipv6": "a VIP must be an IPv4 address in this version",
    "version": "write `clusterip --version`",
    "help": "write `clusterip --help`",
}
