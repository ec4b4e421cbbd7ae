"""What the log has of alarms: each as a finding, at the level of its severity."""

from __future__ import annotations

import logging

import pytest

from clusterip.core.findings import Code
from clusterip.core.serving.actions import Alarm, AlarmKind
from clusterip.core.units import MILLISECOND, SECOND
from clusterip.runtime import alarms
from tests.runtime.agents import sharing

SAID = {
    AlarmKind.TWO_OWNERS: (
        0b110,
        Code.TWO_OWNERS,
        (
            "TWO OWNERS: web2 says that it holds buckets 2-3, which are held here; see whether the"
            " hosts hear each other, and whether their clocks run right"
        ),
    ),
    AlarmKind.BOTH_SERVED: (
        4 * SECOND,
        Code.TWO_OWNERS,
        (
            "TWO OWNERS: both served, for about 4.0 s at most: this host and web2 did not hear each"
            " other, and are heard again; give the two a second way to hear each other, or add a"
            " witness"
        ),
    ),
    AlarmKind.MISMATCH: (
        0xAB,
        Code.OTHER_CONFIGURATION,
        (
            "web2 has another configuration (digest 00000000000000ab): it does not serve with this"
            " node; compare the files with `clusterip check`"
        ),
    ),
    AlarmKind.STOOD_STILL: (
        3 * SECOND // 2,
        Code.STOOD_STILL,
        (
            "this machine stood still for 1.50 s, as the others' clocks show: was it paused, saved"
            " or moved? What it held before, it asks for anew; drain a host before you pause it"
        ),
    ),
    AlarmKind.STARVED: (
        412 * MILLISECOND,
        Code.STARVED,
        (
            "starved: this daemon ran 412 ms late, of a lease of 700 ms; free the processor, or use"
            ' profile = "relaxed"'
        ),
    ),
    AlarmKind.DEAF: (
        1,
        Code.DEAF,
        (
            "web2 is heard, but does not hear this node: is UDP port 5407 open from here to it, its"
            " address right in the file here, the key used here in its key file, and this node in"
            " its file?"
        ),
    ),
}


@pytest.mark.parametrize("kind", AlarmKind)
def test_each_alarm(kind: AlarmKind, caplog: pytest.LogCaptureFixture) -> None:
    value, code, line = SAID[kind]
    cluster = sharing()
    exchange = cluster["web1"].exchange
    alarm = Alarm(kind, cluster["web2"].node.me, value)
    caplog.clear()
    alarms.say(alarm, exchange, now=0)
    (record,) = caplog.records
    assert record.getMessage() == line
    found = alarms.finding(alarm, exchange)
    assert (found.code, found.severity) == (code.value, code.severity)
    assert found.cure
    assert record.levelno == (logging.ERROR if found.is_fault else logging.WARNING)
