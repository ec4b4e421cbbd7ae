"""What a mutant is: places in the source, what stands there instead, and what that breaks."""

from __future__ import annotations

import functools
import importlib
import sys
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.util import spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import clusterip.core
from clusterip.core.lease.node import Node
from tests.sim.coordinators import Make, peers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_CORE = Path(clusterip.core.__file__).parent
_NAME = clusterip.core.__name__
_LEASE = f"{_NAME}.lease"


@dataclass(frozen=True)
class Edit:
    """`old` stands once in src/clusterip/core/`file`; `new` takes its place."""

    file: str
    old: str
    new: str

    @property
    def module(self) -> str:
        """The name of the module that is edited."""
        return f"{_NAME}.{self.file.removesuffix('.py').replace('/', '.')}"

    def applied(self, source: str) -> str:
        """Return the source with the edit; ValueError unless the place is there once."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} is there {source.count(self.old)} times")
        return source.replace(self.old, self.new)


@dataclass(frozen=True)
class Mutant:
    """One small rule left out, or turned round. `breaks` says what nodes do then."""

    name: str
    breaks: str
    edits: tuple[Edit, ...]

    @classmethod
    def of(cls, name: str, breaks: str, *edits: tuple[str, str, str]) -> Mutant:
        """Return the mutant with edits, each a file, what stands there, and what instead."""
        return cls(name, breaks, tuple(Edit(*one) for one in edits))

    def __str__(self) -> str:
        return self.name.replace(" ", "_")

    def kind(self) -> type[Node]:
        """Return the class of such nodes."""
        return _load(self)

    def make(self) -> Make:
        """Return what makes such nodes."""
        return peers(self.kind())


class _Edited(MetaPathFinder, Loader):
    """Finds the edited modules of a mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self._sources: dict[str, str] = {}
        for edit in mutant.edits:
            source = self._sources.get(edit.module) or (_CORE / edit.file).read_text()
            self._sources[edit.module] = edit.applied(source)

    @property
    def modules(self) -> set[str]:
        return set(self._sources)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname in self._sources else None

    def exec_module(self, module: ModuleType) -> None:
        source = self._sources[module.__name__]
        exec(compile(source, f"mutant of {module.__name__}", "exec"), vars(module))


@functools.cache
def _load(mutant: Mutant) -> type[Node]:
    """Import the protocol's package a second time, with the edits, and put the first one back."""
    edited = _Edited(mutant)
    before = {
        name: module
        for name, module in sys.modules.items()
        if name == _LEASE or name.startswith(f"{_LEASE}.") or name in edited.modules
    }
    for name in before:
        del sys.modules[name]
    sys.meta_path.insert(0, edited)
    try:
        return cast("type[Node]", importlib.import_module(Node.__module__).Node)
    finally:
        sys.meta_path.remove(edited)
        for name, module in before.items():
            sys.modules[name] = module
            parent, _, child = name.rpartition(".")
            own: Any = sys.modules[parent]
            setattr(own, child, module)
