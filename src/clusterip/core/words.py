"""Numbers and words in sentences."""

from __future__ import annotations

from collections.abc import Iterable


def like(word: str, known: Iterable[str]) -> str | None:
    """Return which of the known words is most like this one, None if none is like it."""
    import difflib  # noqa: PLC0415 - most commands are without mistakes

    return next(iter(difflib.get_close_matches(word.lower(), sorted(known), n=1)), None)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a cure for an unknown word: the known one most like it, else all of them."""
    words = sorted(known)
    close = like(word, words)
    return f'did you mean "{close}"?' if close else f"known are: {', '.join(words)}"


def few(words: Iterable[str], most: int = 5) -> str:
    """Return some words with commas between, and `…` for those that are more than so many."""
    some = list(words)
    return ", ".join(some[:most] + ["…"] * (len(some) > most))


def amount(number: int, noun: str) -> str:
    """Return a number with its noun, which has an s in the plural: `1 packet`, `2 packets`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def were(number: int) -> str:
    """Return the verb of so many: `1 packet was`, `2 packets were`."""
    return "was" if number == 1 else "were"


def lasting(seconds: float) -> str:
    """Return how long something lasts in the largest unit that it has two of: `90 min`."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
