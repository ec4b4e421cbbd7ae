"""Several Linux hosts share one virtual IP, with no load balancer.

`bucket` says which bucket a packet falls to, `buckets` says it for arrays of packets and needs
NumPy. The rest of the package is the command `clusterip`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clusterip.core.packets.hashing import bucket
    from clusterip.core.packets.hashing_numpy import buckets

__version__ = "0.2.0"
"""Of which release this program is, or which comes next; hatchling reads it from here."""

__all__ = ["__version__", "bucket", "buckets"]


def __getattr__(name: str) -> object:
    """Load what is slow to load, or optional, when it is first asked for."""
    if name == "bucket":
        value: object = _load_bucket()
    elif name == "buckets":
        value = _load_buckets()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _load_bucket() -> object:
    from clusterip.core.packets import hashing  # noqa: PLC0415 - the command may not need it

    return hashing.bucket


def _load_buckets() -> object:
    try:
        from clusterip.core.packets import hashing_numpy  # noqa: PLC0415 - NumPy is an extra
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        raise ImportError(
            "clusterip.buckets needs NumPy: pip install clusterip[numpy]", name="numpy"
        ) from error
    return hashing_numpy.buckets
