"""The rings import only inward, and the core touches nothing outside of it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clusterip

PACKAGE = Path(__file__).parent.parent / "src" / "clusterip"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A ring may import from itself and from these.
INWARD = {
    "core": {"core"},
    "adapters": {"core", "adapters"},
    "runtime": {"core", "adapters", "runtime"},
    # On top, beside one another: neither has anything of the other.
    "cli": {"core", "adapters", "runtime", "cli"},
    "api": {"core", "adapters", "runtime"},
    "": {"core"},
}

# A package of the core may import from itself, from what lies beside it, and from these.
PACKAGES = {
    "": {"config", "packets", "events", "messages", "serving"},
    "events": set[str](),
    "packets": set[str](),
    "rules": {"packets"},
    "messages": set[str](),
    "serving": set[str](),
    "lease": {"messages", "serving"},
    "config": {"packets", "rules", "messages", "lease"},
}

# Of the runtime, what knows the coordinator of peers as such: all else goes by the protocol.
OF_PEERS = {
    f"runtime/coordinators/{name}.py"
    for name in ("beginning", "doubles", "others", "peer", "receptions")
}

# Who else imports those: the table, and who asks before a start whether there may be one.
BY_NAME = {"runtime/coordinators/kinds.py", "runtime/preflight.py"}

# Of the standard library, what neither asks the machine anything nor changes it.
PURE = {
    "__future__", "abc", "array", "ast", "base64", "binascii", "bisect", "collections",
    "contextlib", "copy", "csv", "dataclasses", "decimal", "difflib", "enum", "errno", "fractions",
    "functools", "hashlib", "heapq", "hmac", "importlib", "io", "ipaddress", "itertools", "json",
    "math", "operator", "re", "shlex", "string", "struct", "textwrap", "tomllib", "types", "typing",
    "zlib",
}  # fmt: skip
THIRD_PARTY = {"msgspec"}
NUMPY = {"core/packets/hashing_numpy.py"}


def imports(module: Path) -> set[str]:
    """Return the dotted names a module imports, at its top or within a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def place(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def ring(module: Path) -> str:
    """Return the ring of a module: a package, or a module that is one by itself; "" is the root."""
    name = place(module).partition("/")[0].removesuffix(".py")
    return "" if name == "__init__" else name


def package(where: str) -> str:
    """Return the package of the core that a module is in, "" for none."""
    _, _, rest = where.partition("/")
    return rest.rpartition("/")[0]


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_rings_import_only_inward(module: Path) -> None:
    ours = {name.split(".")[1] for name in imports(module) if name.startswith("clusterip.")}
    # What the package itself offers lies in the core.
    assert ours - set(clusterip.__all__) <= INWARD[ring(module)]


@pytest.mark.parametrize("module", [m for m in MODULES if ring(m) == "core"], ids=place)
def test_packages_of_the_core_are_in_order(module: Path) -> None:
    here = package(place(module))
    names = (name.split(".") for name in imports(module) if name.startswith("clusterip.core."))
    used = {name[2] for name in names if name[2] in PACKAGES}
    assert used - {here} <= PACKAGES[here]


def test_who_knows_the_peers_protocol_in_the_runtime() -> None:
    knowing = {
        place(module)
        for module in MODULES
        if ring(module) == "runtime"
        if any(name.startswith("clusterip.core.lease.") for name in imports(module))
    }
    assert knowing == OF_PEERS
    named = {one.removesuffix(".py").replace("/", ".") for one in OF_PEERS}
    importing = {
        place(module)
        for module in MODULES
        if any(".".join(name.split(".")[1:4]) in named for name in imports(module))
    }
    assert importing <= OF_PEERS | BY_NAME


@pytest.mark.parametrize("module", [m for m in MODULES if ring(m) in {"core", ""}], ids=place)
def test_core_is_pure(module: Path) -> None:
    foreign = {name.split(".")[0] for name in imports(module)} - {"clusterip"}
    allowed = PURE | THIRD_PARTY | ({"numpy"} if place(module) in NUMPY else set())
    assert foreign <= allowed


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_a_module_is_one_idea(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 400


def test_the_rings_are_known() -> None:
    assert {ring(module) for module in MODULES} == set(INWARD)
    assert {package(place(one)) for one in MODULES if ring(one) == "core"} == set(PACKAGES)


@pytest.mark.parametrize("loads", ["import clusterip", "from clusterip import bucket"])
def test_the_package_loads_little(loads: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", f"{loads}; import sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    ours = {name.split(".")[1] for name in said if name.startswith("clusterip.")}
    assert ours <= {"core"}
    assert not {"msgspec", "asyncio"} & set(said)


def test_an_import_outward_is_found(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text("import time\ndef f():\n    from clusterip.cli import main\n")
    assert imports(module) == {"time", "clusterip.cli.main"}
