"""The keys of `clusterip show --json` with their types, one list for each format.

Keys that were added are put in by `python -m tests.vectors.keys`, which writes
docs/show.schema.json as well. It refuses where one went or has another type: that is another
format.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clusterip.core import status

SCHEMA = Path(__file__).parents[2] / "docs" / "show.schema.json"
KEYS = Path(__file__).parent / "show" / f"{status.FORMAT}.json"


def keys(schema: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the type of each key of each object; what must be there ends with "!"."""
    found: dict[str, dict[str, str]] = {}
    for name, part in schema["$defs"].items():
        required = part.get("required", ())
        # Of a choice of words the words are what must not change.
        found[name] = (
            {"": _type(part)}
            if "enum" in part
            else {
                key: _type(value) + ("!" if key in required else "")
                for key, value in part["properties"].items()
            }
        )
    return found


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "anyOf" in value:
        return "|".join(sorted(map(_type, value["anyOf"])))
    if "enum" in value:
        return "|".join(sorted(map(repr, value["enum"])))
    if "prefixItems" in value:
        return f"({', '.join(map(_type, value['prefixItems']))})"
    if value["type"] == "array":
        return f"[{_type(value['items'])}]"
    if value["type"] == "object":
        return f"{{{_type(value['additionalProperties'])}}}"
    return str(value["type"])


def held(old: dict[str, dict[str, str]], new: dict[str, dict[str, str]]) -> list[str]:
    """Return what of `old` is not in `new` as it was, and what is in `new` and has no default."""
    lost = [
        f"{part}.{key}: was {kind}, is {new.get(part, {}).get(key, 'gone')}"
        for part, some in old.items()
        for key, kind in some.items()
        if new.get(part, {}).get(key) != kind
    ]
    return lost + [
        f"{part}.{key}: has no default"
        for part, some in new.items()
        if part in old
        for key, kind in some.items()
        if key not in old[part] and kind.endswith("!")
    ]


def written() -> dict[str, dict[str, str]]:
    """Return the keys of the format as they were last written."""
    told: dict[str, dict[str, str]] = json.loads(KEYS.read_text())
    return told


def main() -> None:
    """Write both files anew."""
    schema = status.schema()
    lost = held(written(), keys(schema)) if KEYS.exists() else []
    if lost:
        raise SystemExit("\n".join(["another format:", *lost]))
    KEYS.write_text(json.dumps(keys(schema), indent=1) + "\n")
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n")


if __name__ == "__main__":
    main()
