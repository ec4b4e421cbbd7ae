"""The lines of a daemon's log, and what becomes of them where nobody takes them."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from clusterip.cli import log
from clusterip.core.events import Failed
from clusterip.core.journal import Journal, Stamp
from tests.cli.conftest import environment
from tests.served import until

# Says line after line on stderr, and on stdout how many it came to say.
TALKER = """
import logging, sys
from clusterip.cli import log
from clusterip.runtime.journaling import Journaling
log.begin(wrap=Journaling, as_json="json" in sys.argv)
for number in range(int(sys.argv[1])):
    logging.getLogger("clusterip").warning("line %d %s", number, "x" * 900)
print("said", flush=True)
for line in sys.stdin:
    logging.getLogger("clusterip").warning("%s", line.strip())
    print("said", flush=True)
"""


@pytest.mark.parametrize(
    ("journal", "level", "line"),
    [
        ("", logging.INFO, "clusterip: serving 3"),
        ("", logging.ERROR, "clusterip: serving 3"),
        ("8:1", logging.INFO, "<6>serving 3"),
        ("8:1", logging.WARNING, "<4>serving 3"),
        ("8:1", logging.ERROR, "<3>serving 3"),
        ("8:1", logging.DEBUG, "<6>serving 3"),
    ],
)
def test_the_lines_of_the_log(
    journal: str, level: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if journal:
        monkeypatch.setenv("JOURNAL_STREAM", journal)
    record = logging.LogRecord("clusterip", level, "", 1, "serving %d", (3,), None)
    assert log.Lines().format(record) == line


def test_each_line_of_a_traceback_has_its_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    record = logging.LogRecord("clusterip", logging.ERROR, "", 1, "a\nb", None, None)
    assert log.Lines().format(record) == "<3>a\n<3>b"


def test_an_event_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = Journal("a").record(Failed(cause="a fault", detail="a\nb"), at=Stamp(1.5, 7))
    record = logging.makeLogRecord({"levelno": logging.ERROR, "msg": entry.text, "entry": entry})
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert json.loads(log.Json().format(record)) == msgspec.to_builtins(entry)
    assert log.Lines().format(record) == "clusterip: a fault\na\nb"
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    assert json.loads(log.Json().format(record).removeprefix("<3>"))["seq"] == 1
    assert log.Lines().format(record) == "<3>a fault\n<3>a\n<3>b"


def test_a_log_of_json() -> None:
    words = (sys.executable, "-c", TALKER, "3", "json")
    done = subprocess.run(
        words, env=environment(), input="", capture_output=True, text=True, check=True
    )
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert [one["seq"] for one in said] == [1, 2, 3]
    assert {one["event"]["kind"] for one in said} == {"noted"}


def talker(count: int, stderr: int) -> subprocess.Popen[str]:
    words = (sys.executable, "-c", TALKER, str(count))
    return subprocess.Popen(
        words,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def said(process: subprocess.Popen[str], line: str = "") -> bool:
    """Have it say a line; return whether it came to the end of that."""
    assert process.stdin
    assert process.stdout
    if line:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    return process.stdout.readline() == "said\n"


def test_a_reader_who_does_not_read_holds_nobody_up() -> None:
    reader, writer = os.pipe()
    with talker(500, writer) as process, os.fdopen(reader, "rb", buffering=0) as log_of_it:
        os.close(writer)
        assert said(process)
        os.set_blocking(reader, False)
        first = log_of_it.read(1 << 20)
        assert first is not None
        assert first.startswith(b"clusterip: line 0 ")
        # It goes on with what was lost.
        assert said(process, "once more")
        rest = log_of_it.read(1 << 20)
        assert rest is not None
        lost = 500 - first.count(b"clusterip: line")
        assert lost > 0
        assert (
            rest == b"clusterip: %d lines of the log were lost here\nclusterip: once more\n" % lost
        )
        process.kill()


def test_a_reader_who_is_gone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with talker(3, writer) as process:
        os.close(writer)
        assert said(process)
        assert said(process, "once more")
        process.kill()


def test_a_full_disk() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with talker(3, full) as process:
        os.close(full)
        assert said(process)
        process.kill()


def test_stderr_is_closed(tmp_path: Path) -> None:
    """What is opened next must not become what the log is written to."""
    file = tmp_path / "file"
    script = (
        "from clusterip.cli import log\n"
        "from clusterip.runtime.journaling import Journaling\n"
        "log.begin(wrap=Journaling)\n"
        "import logging, sys\n"
        f"one = open({str(file)!r}, 'w')\n"
        "logging.getLogger('clusterip').warning('hello')\n"
        "print('to nobody', file=sys.stderr)\n"
        "print(one.fileno(), file=one)\n"
    )
    words = ("sh", "-c", 'exec "$0" -c "$1" 0<&- 1>&- 2>&-', sys.executable, script)
    assert subprocess.run(words, env=environment(), check=False).returncode == 0
    assert int(file.read_text()) > 2


def test_who_is_aborted_says_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("wb") as stderr:
        process = talker(0, stderr.fileno())
    with process:
        assert said(process)
        process.send_signal(signal.SIGABRT)
        assert process.wait(10) == -signal.SIGABRT
    until(lambda: "Current thread" in file.read_text())
    assert "<string>" in file.read_text()
