"""How things are said: text as it is, in every encoding, whole on the narrowest terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from clusterip.cli import output

ODD = "2001:db8:a:b::1 [red]:smile:[/] [/bold] é \u20ac \u65e5\u672c \udcff \x1b[31m\x9b1m\t\x7f|"
SHOWN = ODD.translate({0xDCFF: "\\xff", 0x1B: "\\x1b", 0x9B: "\\x9b", 9: "\\x09", 0x7F: "\\x7f"})
NO_CODE = {
    "utf-8": SHOWN,
    "latin-1": SHOWN.replace("\u20ac", "\\u20ac").replace("\u65e5\u672c", "\\u65e5\\u672c"),
    "ascii": SHOWN.encode("ascii", "backslashreplace").decode(),
}


def written(monkeypatch: pytest.MonkeyPatch, encoding: str, name: str = "stdout") -> io.BytesIO:
    """Let what is printed go into the bytes returned."""
    raw = io.BytesIO()
    errors = "strict" if name == "stdout" else "backslashreplace"  # as Python has them
    stream = io.TextIOWrapper(raw, encoding=encoding, errors=errors, write_through=True)
    monkeypatch.setattr(sys, name, stream)
    output.prepare()
    return raw


@pytest.mark.parametrize("encoding", NO_CODE)
def test_a_line_is_as_it_is(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = written(monkeypatch, encoding)
    output.line(ODD)
    output.line("at ", (ODD, output.BAD), ": ", output.text(ODD))
    line = NO_CODE[encoding]
    assert raw.getvalue().decode(encoding) == f"{line}\nat {line}: {line}\n"


@pytest.mark.parametrize("encoding", NO_CODE)
def test_what_is_said_on_stderr(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = written(monkeypatch, encoding, "stderr")
    output.say(f"{ODD}:1:", output.BAD, ODD, ODD)
    line = NO_CODE[encoding]
    assert raw.getvalue().decode(encoding) == f"{line}:1: {line}\n  cure: {line}\n"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_bytes_that_are_no_characters_are_printed_as_they_came(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    raw = written(monkeypatch, encoding)
    every = bytes(range(0x80, 0x100))
    sys.stdout.write(f"{every.decode('ascii', 'surrogateescape')} \ud800\udc7f\n")
    assert raw.getvalue() == every + b" \\ud800\\udc7f\n"


@pytest.mark.parametrize(
    ("variables", "codes"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, False),
    ],
)
def test_codes(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], codes: bool) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    raw = written(monkeypatch, "utf-8")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output.line(("bold", output.STRONG), ("bad", output.BAD))
    assert (b"\x1b[" in raw.getvalue()) == codes
    assert output.console().is_terminal == codes


def test_descriptors_that_were_closed_are_not_taken_by_others() -> None:
    program = (
        "import os; from clusterip.cli import output; output.prepare();"
        "print('out'); output.line('out'); output.line('err', err=True);"
        "os._exit(os.open('/dev/null', 0) > 2 and 7)"
    )
    done = subprocess.run(
        ("bash", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, program), check=False
    )
    assert done.returncode == 7


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize("encoding", NO_CODE)
def test_words_for_a_shell(monkeypatch: pytest.MonkeyPatch, encoding: str, shell: str) -> None:
    strange = [
        "a\x1b[31m'\\b",
        "\x071",
        "\x85\x9b",
        "\t%d%%",
        '\x7f"$(reboot)`reboot`!',
        "\x01\\007",
    ]
    words = ["plain", "two words", "it's", "50% $HOME", *strange, "caf\udce9", "é\x1b", "würd€"]
    written(monkeypatch, encoding)
    text = output.shell_words(words)
    assert text.isprintable()
    assert encoding == "utf-8" or text.isascii()
    # Byte for byte, in whatever locale.
    for locale in ("C", "C.UTF-8"):
        read = subprocess.run(
            [shell, "-c", f"printf '%s\\0' {text}"],
            env={**os.environ, "LC_ALL": locale},
            capture_output=True,
            check=True,
        )
        assert read.stdout.decode(errors="surrogateescape").split("\0")[:-1] == words


def test_json_has_characters_only() -> None:
    odd = {"caf\udce9": ["\udcff", ("é", 1, None)]}
    told = output.as_json(odd)
    assert "\\ud" not in told
    assert json.loads(told) == {"caf\\xe9": ["\\xff", ["é", 1, None]]}
