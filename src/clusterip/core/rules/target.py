"""The options of the CLUSTERIP target, known once `-j CLUSTERIP` has been read."""

from __future__ import annotations

from typing import Final

from clusterip.core import limits
from clusterip.core.errors import UsageError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Sharing
from clusterip.core.rules.getopt import Found, Option, Takes
from clusterip.core.rules.values import cluster_mac, ranged

TARGET: Final = "CLUSTERIP"

OPTIONS: Final = (
    Option("new", ("new",), Takes.NOTHING),
    Option("hashmode", ("hashmode",)),
    Option("clustermac", ("clustermac",)),
    Option("total-nodes", ("total-nodes",)),
    Option("local-node", ("local-node",)),
    Option("hash-init", ("hash-init",)),
)
_REQUIRED: Final = ("hashmode", "clustermac", "total-nodes")
_HASH_INIT_MAX: Final = 0xFFFFFFFF


class TargetDraft:
    """What the target's options have said so far."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._mode = HashMode.SOURCEIP
        self._mac = Mac("")
        self._total = 0
        self._local_node = 0
        self._hash_init = 0

    def take(self, found: Found, negated: bool) -> None:
        """Read one option; raise UsageError if its value is wrong."""
        key = found.option.key
        name = f"--{key}"
        if negated:
            raise UsageError(f'{TARGET}: option "{name}" cannot be inverted.', "leave out the `!`")
        if key in self._seen:
            raise UsageError(f'{TARGET}: option "{name}" can only be used once.', "give it once")
        self._seen.add(key)
        match key:
            case "hashmode":
                self._mode = _mode(found.text)
            case "clustermac":
                self._mac = cluster_mac(found.text)
            case "total-nodes":
                self._total = ranged(name, found.text, 1, limits.BUCKETS)
            case "local-node" if found.text != "none":
                self._local_node = ranged(name, found.text, 0, limits.BUCKETS)
            case "hash-init":
                self._hash_init = ranged(name, found.text, 0, _HASH_INIT_MAX)

    def finish(self) -> tuple[Sharing | None, int]:
        """Return what `--new` introduces and the local node, 0 for none."""
        if not self._seen:
            return None, 0
        if "new" not in self._seen:
            raise UsageError(
                f"{TARGET} target: Invalid parameter combination",
                f"add --new, or leave the options out to join a VIP with `-j {TARGET}` alone",
            )
        missing = [f"--{key}" for key in _REQUIRED if key not in self._seen]
        if missing:
            raise UsageError(
                f"{TARGET} target: Invalid parameter combination",
                f"--new also needs {', '.join(missing)}",
            )
        if self._local_node > self._total:
            raise UsageError(
                f"bad local_nodes[0] {self._local_node}: "
                f"--local-node is above --total-nodes {self._total}",
                f"write a number 1..{self._total}, or 0 to start with no bucket",
            )
        return Sharing(self._mode, self._mac, self._total, self._hash_init), self._local_node


def _mode(text: str) -> HashMode:
    try:
        return HashMode(text)
    except ValueError:
        known = ", ".join(mode.value for mode in HashMode)
        raise UsageError(f'Unknown hashmode "{text}"', f"write one of {known}") from None
