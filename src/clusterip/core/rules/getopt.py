"""Words to options, as getopt_long(3) reads them for iptables.

What is kept of it: short options may stand together and hold their value (`-nvL`, `-ptcp`),
long ones take `--name value` and `--name=value` and may be shortened while that is unambiguous,
and the set of known options grows while the words are read: `-m tcp` and `-j CLUSTERIP` bring
theirs. An option that is unknown leaves the scanner where it stood, so that the caller can bring
in more options and ask again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Final

import msgspec

from clusterip.core.errors import UsageError
from clusterip.core.words import like

_SEE: Final = "see clusterip(8) for the options"


class Takes(Enum):
    """Whether an option has a value. `MAYBE` takes one only when it is attached."""

    NOTHING = "nothing"
    VALUE = "value"
    MAYBE = "maybe"


class Option(msgspec.Struct, frozen=True):
    """One option: its meaning, its long names without dashes, its letter ("" for none)."""

    key: str
    names: tuple[str, ...]
    takes: Takes = Takes.VALUE
    short: str = ""


class Found(msgspec.Struct, frozen=True):
    """An option that was read: which, from which layer, its value, and how it was written."""

    layer: int
    option: Option
    value: str | None
    spelled: str

    @property
    def text(self) -> str:
        """The value of an option that must have one."""
        return self.value or ""

    @property
    def name(self) -> str:
        """The name to use in messages: the letter where there is one, as iptables does."""
        return f"-{self.option.short}" if self.option.short else f"--{self.option.names[0]}"


class UnknownOptionError(UsageError):
    """No option by that name, or several that begin with it. `name` is without dashes."""

    def __init__(self, name: str, message: str, cure: str) -> None:
        super().__init__(message, cure)
        self.name = name


class Layer(msgspec.Struct, frozen=True):
    """The options that one module brought in."""

    number: int
    options: tuple[Option, ...]


class Scanner:
    """Reads words one option at a time.

    `own` are the program's options (layer 0). `added` are options that must not change what a
    shortened name meant before they existed: a shortened name reaches them last.
    """

    def __init__(
        self, words: Sequence[str], own: tuple[Option, ...], added: tuple[Option, ...] = ()
    ) -> None:
        self._words = tuple(words)
        self._at = 0
        self._letter = 0
        self._own = Layer(0, own)
        self._added = Layer(0, added)
        self._layers: list[Layer] = []

    def bring(self, number: int, options: Iterable[Option]) -> None:
        """Make the options of a module known; the newest module is asked first."""
        self._layers.insert(0, Layer(number, tuple(options)))

    def following(self) -> str | None:
        """Take the next word if it is neither an option nor a `!`."""
        if self._letter or self._at >= len(self._words) or self._words[self._at][:1] in {"-", "!"}:
            return None
        return self._take()

    def next(self) -> Found | str | None:
        """Return the next option, or a word that is none, or None at the end.

        Raises UsageError for a missing value and UnknownOptionError for an unknown option.
        """
        if self._letter:
            return self._short()
        if self._at >= len(self._words):
            return None
        word = self._words[self._at]
        if word == "--":
            self._at += 1
            if self._at < len(self._words):
                raise UsageError(
                    "unknown arguments found on commandline", "leave out `--` and what follows it"
                )
            return None
        if word.startswith("--"):
            return self._long(word)
        if word.startswith("-") and len(word) > 1:
            self._letter = 1
            return self._short()
        return self._take()

    def _take(self) -> str:
        self._at += 1
        return self._words[self._at - 1]

    def _value(self, spelled: str) -> str:
        if self._at >= len(self._words):
            raise UsageError(f'option "{spelled}" requires an argument', "put its value after it")
        return self._take()

    def _short(self) -> Found:
        word = self._words[self._at]
        letter = word[self._letter]
        option = next((one for one in self._own.options if one.short == letter), None)
        if option is None:
            self._letter = 0
            raise UnknownOptionError(word[1:], f'unknown option "{word}"', _SEE)
        spelled = f"-{letter}"
        attached = word[self._letter + 1 :]
        if option.takes is Takes.NOTHING and attached:
            self._letter += 1
            return Found(0, option, None, spelled)
        self._letter = 0
        self._at += 1
        if attached or option.takes is not Takes.VALUE:
            return Found(0, option, attached or None, spelled)
        return Found(0, option, self._value(spelled), spelled)

    def _long(self, word: str) -> Found:
        name, equals, attached = word[2:].partition("=")
        layer, option = self._resolve(name)
        if equals and option.takes is Takes.NOTHING:
            raise UsageError(f'unknown option "{word}"', f"--{name} takes no value")
        self._at += 1
        spelled = f"--{name}"
        if equals:
            return Found(layer, option, attached, spelled)
        value = self._value(spelled) if option.takes is Takes.VALUE else None
        return Found(layer, option, value, spelled)

    def _names(self, layers: Iterable[Layer]) -> Iterator[tuple[str, int, Option]]:
        for layer in layers:
            for option in layer.options:
                for name in option.names:
                    yield name, layer.number, option

    def _resolve(self, name: str) -> tuple[int, Option]:
        layers = (self._own, *self._layers)
        for known, layer, option in self._names((*layers, self._added)):
            if known == name:
                return layer, option
        candidates: list[tuple[str, int, Option]] = []
        for group in (layers, (self._added,)):
            # A lone "--" never comes here, but "--=5" does and is a prefix of everything.
            candidates = [one for one in self._names(group) if name and one[0].startswith(name)]
            if candidates:
                break
        if not candidates:
            close = like(name, [known for known, _, _ in self._names((*layers, self._added))])
            cure = f"did you mean --{close}?" if close else _SEE
            raise UnknownOptionError(name, f'unknown option "--{name}"', cure)
        if len({(layer, option.key) for _, layer, option in candidates}) > 1:
            choices = " ".join(f"'--{known}'" for known, _, _ in candidates)
            raise UnknownOptionError(
                name,
                f"option '--{name}' is ambiguous; possibilities: {choices}",
                "write the option in full",
            )
        return candidates[0][1:]
