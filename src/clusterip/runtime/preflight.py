"""Whether a daemon would start on this host as it is: all is looked at, and nothing changed.

What a start refuses is asked here of the same functions, so both say it with the same words.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

import msgspec

from clusterip.adapters import (
    bpfobject,
    capabilities,
    checks,
    clock,
    configfiles,
    ports,
    refusals,
    runfiles,
)
from clusterip.adapters.datagrams import UdpDatagrams
from clusterip.adapters.links import NetlinkLinks
from clusterip.adapters.memory import RunFiles, try_reserving
from clusterip.adapters.statussocket import group_id
from clusterip.core.config.faults import ConfigError
from clusterip.core.config.model import CommandCheck, Config, Node
from clusterip.core.errors import AbsentError, ClusterIPError, SystemFaultError, UsageError
from clusterip.core.findings import Code, Finding
from clusterip.runtime import carrier, reach
from clusterip.runtime.coordinators.beginning import refuse_voters
from clusterip.runtime.feeding import of_group
from clusterip.runtime.namespace import Namespace, find_link
from clusterip.runtime.served_interface import ServedInterface
from clusterip.runtime.startup import named_node

NEEDS_ROOT: Final = "needs root"
_UNKNOWN: Final = "which node this host is, is not known"


class Skipped(msgspec.Struct, frozen=True):
    """What could not be looked at, and why."""

    what: str
    why: str


class Looked(msgspec.Struct, frozen=True):
    """What was found: `at` is what was looked at, in words, `skipped` what was not.

    `error` has the faults of the key file.
    """

    node: Node | None = None
    findings: tuple[Finding, ...] = ()
    at: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    error: ConfigError | None = None


def look(config: Config, file: str, name: str | None, hostname: str) -> Looked:
    """Look at this host, which is node `name` of the file, None for that of its host name."""
    me, unnamed = _named(config, file, name, hostname)
    running = runfiles.is_running(config.name)
    lack = _lack()
    findings: list[Finding] = list(unnamed)
    at: list[str] = [f"node {me.name}"] if me else ["host name"]
    skipped: list[Skipped] = []
    wrong: ConfigError | None = None
    for what, needs_root, step, code in _steps(config, file, me, running=running):
        if step is None:
            skipped.append(Skipped(what, _UNKNOWN))
        elif needs_root and lack:
            skipped.append(Skipped(what, lack))
        else:
            try:
                findings += _found(step, code)
                at.append(what)
            except PermissionError:
                skipped.append(Skipped(what, NEEDS_ROOT))
            except ConfigError as error:
                wrong = error
                at.append(what)
    return Looked(me, tuple(dict.fromkeys(findings)), tuple(at), tuple(skipped), wrong)


Step = Callable[[], Iterable[Finding]]


class _Look(NamedTuple):
    """What is looked at, whether that needs root, and how; None where it cannot be.

    `code` is that of what is raised.
    """

    what: str
    needs_root: bool
    step: Step | None
    code: Code = Code.SYSTEM_REFUSED


def _steps(config: Config, file: str, me: Node | None, *, running: bool) -> Iterator[_Look]:
    """Yield what is looked at, in order."""
    yield _Look(f"key file {config.key_file}", False, partial(_keys, config))
    yield _Look("clock", False, _clock, Code.CLOCK_ELSEWHERE)
    yield _Look("libbpf", False, _library, Code.LIBRARY_MISSING)
    if not os.geteuid():
        # Where it runs, it has them.
        step = tuple if running else partial(_capabilities, me)
        yield _Look("capabilities", False, step, Code.CAPABILITY_MISSING)
    # Where it runs, it was loaded.
    yield _Look("kernel", True, tuple if running else _kernel, Code.KERNEL_REFUSES)
    yield _Look(f"UDP port {config.port}", False, partial(_port, config, running=running))
    yield _Look("status group", False, partial(_group, config))
    yield _Look("voters", True, partial(_voters, config, file), Code.OTHER_VOTERS)
    # Where it runs, it has its space.
    space = tuple if running else partial(_space, config)
    yield _Look(f"space in {runfiles.ROOT}", True, space, Code.NO_SPACE)
    commands = [one for one in config.checks if isinstance(one, CommandCheck)]
    if commands and not (me is not None and me.witness):
        yield _Look("programs of checks", False, partial(_programs, commands))
    if me is None:
        for what in ("interface", "VIPs", "addresses"):
            yield _Look(what, False, None)
        return
    if not me.witness:
        interface = partial(_interface, me)
        yield _Look(f"interface {me.interface}", False, interface, Code.INTERFACE_UNFIT)
        yield _Look("what else uses it", True, partial(_served, config, me))
        yield _Look("VIPs", True, partial(_vips, config, me))
    yield _Look("addresses", False, partial(reach.findings, config, me, NetlinkLinks()))


def _group(config: Config) -> Iterable[Finding]:
    found = of_group(config, group_id(config.status_group))
    return tuple(one.as_warning() for one in found)  # a daemon starts and serves


def _named(
    config: Config, file: str, name: str | None, hostname: str
) -> tuple[Node | None, tuple[Finding, ...]]:
    try:
        return named_node(config, file, hostname if name is None else name), ()
    except UsageError as error:
        if name is not None:
            raise
        return None, (_of_error(error, Code.NO_NODE),)


def _found(step: Step, code: Code) -> list[Finding]:
    """Return what a step finds; what it is refused is one finding, but for faults of a file."""
    try:
        return list(step())
    except PermissionError:
        raise
    except ClusterIPError as error:
        if isinstance(error.__cause__, PermissionError) and os.geteuid():
            raise error.__cause__ from error
        if isinstance(error, ConfigError):
            raise
        return [_of_error(error, code)]
    except OSError as error:
        if error.errno == errno.EPERM and os.geteuid():
            raise PermissionError from error
        words, cure = f"the system refused: {error}", refusals.cure(error)
        return [Finding.of(Code.SYSTEM_REFUSED, words, cure=cure)]


def _of_error(error: ClusterIPError, code: Code) -> Finding:
    if isinstance(error, AbsentError):
        code = Code.INTERFACE_MISSING
    return Finding.of(code, error.message, cure=error.cure)


def _keys(config: Config) -> tuple[Finding, ...]:
    configfiles.load_keys(config.key_file)
    return configfiles.key_advice(config.key_file)


def _clock() -> tuple[Finding, ...]:
    clock.refuse_offset()
    return ()


def _library() -> tuple[Finding, ...]:
    bpfobject.check_installation()
    return ()


def _lack() -> str:
    """Return what this process lacks to look at all, "" if nothing."""
    if os.geteuid():
        return NEEDS_ROOT
    lacking = capabilities.missing(capabilities.LOOK)
    return f"needs {' '.join(map(str, lacking))}" if lacking else ""


def _capabilities(me: Node | None) -> tuple[Finding, ...]:
    capabilities.refuse_lack(() if me is not None and me.witness else capabilities.SERVE)
    return ()


def _kernel() -> tuple[Finding, ...]:
    bpfobject.try_loading()
    return ()


def _interface(me: Node) -> Iterator[Finding]:
    link = find_link(NetlinkLinks(), me.interface)
    for one in carrier.findings(link.name, up=link.up, running=link.running):
        yield one.as_warning()  # a daemon starts, and serves when it is up


def _served(config: Config, me: Node) -> list[Finding]:
    with contextlib.suppress(ClusterIPError):
        find_link(NetlinkLinks(), me.interface)
        found = ServedInterface(Namespace.to_look_at()).obstacles(config, me.interface)
        return [_of_error(error, Code.INTERFACE_TAKEN) for error in found]
    return []  # what is wrong with the interface was said


def _vips(config: Config, me: Node) -> Iterable[Finding]:
    netns = Namespace.to_look_at()
    yield from ServedInterface(netns).findings(config, me.interface, netns.readable())
    with contextlib.suppress(ClusterIPError):  # that there is no such interface was said
        link = find_link(netns.links, me.interface)
        yield from reach.of_vips(config, link.index, link.name, netns.links)


def _port(config: Config, *, running: bool) -> Iterator[Finding]:
    try:
        UdpDatagrams(config.port, "").close()
    except SystemFaultError as error:
        user = ports.user(config.port)
        if user is None and os.geteuid():
            raise PermissionError from error
        if not (running and user and runfiles.is_daemon(config.name, user.pid)):
            if user is None:
                yield _of_error(error, Code.PORT_IN_USE)
                return
            yield Finding.of(
                Code.PORT_IN_USE,
                error.message,
                f"{user.name}, process {user.pid}",
                cure="end that one; or give another port in [cluster], on every host",
            )


def _space(config: Config) -> tuple[Finding, ...]:
    try_reserving(config.name)
    return ()


def _programs(commands: Iterable[CommandCheck]) -> Iterator[Finding]:
    for check in commands:
        if why := checks.obstacle(check):
            yield Finding.of(
                Code.CHECK_PROGRAM,
                f"the program of check {check.name}, {check.argv[0]}, cannot be started ({why})",
                "this host would never serve",
                cure="install it here, executable (chmod +x), or mend `command` in the file",
            )


def _voters(config: Config, file: str) -> tuple[Finding, ...]:
    refuse_voters(config, file, RunFiles(config.name).voters())
    return ()
