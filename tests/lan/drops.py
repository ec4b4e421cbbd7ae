"""Firewalls and switches that drop some of what they get."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.namespace import Namespace


@contextlib.contextmanager
def dropping(where: Namespace, family: str, hook: str, *matches: str) -> Iterator[None]:
    """Have nftables drop what any of `matches` says, at a hook of a family, see nft(8)."""
    chain = f"{family} dropping {hook}"
    rules = [f"add rule {chain} {one} drop" for one in matches]
    base = f"add chain {chain} {{ type filter hook {hook} priority 0; }}"
    where.run("nft", "; ".join((f"add table {family} dropping", base, *rules)))
    try:
        yield
    finally:
        where.run("nft", f"delete table {family} dropping")
