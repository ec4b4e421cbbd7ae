"""Numbers in sentences."""

from __future__ import annotations


def amount(number: int, noun: str) -> str:
    """Return a number with its noun, which has an s in the plural: `1 packet`, `2 packets`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def were(number: int) -> str:
    """Return the verb of so many: `1 packet was`, `2 packets were`."""
    return "was" if number == 1 else "were"
