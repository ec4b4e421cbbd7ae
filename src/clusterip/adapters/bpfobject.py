"""The compiled BPF object of this installation, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from clusterip.adapters import libbpf
from clusterip.core.errors import SystemFaultError

_OBJECT: Final = Path(__file__).with_name("clusterip.bpf.o")


def object_content() -> bytes:
    """Return the compiled BPF object; SystemFaultError if the installation lacks it."""
    try:
        return _OBJECT.read_bytes()
    except FileNotFoundError as error:
        raise SystemFaultError(
            "the BPF object is missing from this installation",
            "in a source tree: make object; else install the wheel again",
        ) from error


def check_installation() -> None:
    """Raise SystemFaultError if libbpf or the BPF object is missing, or half of that is."""
    libbpf.possible_cpus()
    content = object_content()
    try:
        libbpf.layout_of(content)
    except OSError as error:
        raise SystemFaultError(
            f"the BPF object of this installation is damaged ({len(content):,} bytes)",
            "in a source tree: make object; else install the wheel again",
        ) from error


def try_loading() -> None:
    """Have the kernel verify the programs, and forget them; SystemFaultError if it refuses."""
    libbpf.Object(object_content()).close()


def digest(content: bytes) -> str:
    """Return what tells one object from another."""
    import hashlib  # noqa: PLC0415 - needs OpenSSL, and is for changes alone

    return hashlib.sha256(content).hexdigest()[:16]
