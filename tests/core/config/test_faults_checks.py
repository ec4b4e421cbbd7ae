"""Bad health checks in configuration files: each fault with its line and its words."""

from __future__ import annotations

import pytest

from tests.core.config.texts import faults, with_lines

HEADER = with_lines().count("\n")


@pytest.mark.parametrize(
    ("lines", "place", "message"),
    [
        ("port = 1", 0, "[[check]] has no type"),
        ('type = "https"', 1, "type: unknown type 'https'"),
        ("type = 3", 1, "type: must be text, not a number"),
        ('type = "tcp"', 0, "[[check]] has no port"),
        ('type = "tcp"\nport = 1\npath = "/"', 3, "path is not for a check of type tcp"),
        ('type = "tcp"\nport = 1\nbody = ""', 3, "body is not for a check of type tcp"),
        ('type = "command"', 0, "[[check]] has no command"),
        ('type = "command"\ncommand = "/bin/x"', 2, "command: must be an array of words, not text"),
        ('type = "command"\ncommand = ["x"]', 2, "command: 'x' is not an absolute path"),
        ('type = "command"\ncommand = []', 2, "command: has 0 words"),
        ('type = "command"\ncommand = ["/x\\u0000"]', 2, "command: has a word with a zero byte"),
        ('type = "http"\nport = 1\npath = "x"', 3, "path: 'x' is not the path of a URL"),
        ('type = "http"\nport = 1\npath = "/a b"', 3, "path: '/a b' is not the path of a URL"),
        ('type = "http"\nport = 1\nhost = "a\\r\\nb"', 3, "host: 'a\\r\\nb' is not a host name"),
        ('type = "http"\nport = 1\nstatus = 600', 3, "status: 600 is not in 100..599"),
        (
            'type = "http"\nport = 1\nstatus = "2xx"',
            3,
            "status: '2xx' is neither a number nor a range",
        ),
        ('type = "http"\nport = 1\nbody = ""', 3, "body: has 0 characters"),
        ('type = "tcp"\nport = 1\nrise = 0', 3, "rise: 0 is not in 1..100"),
        ('type = "tcp"\nport = 1\nfall = 101', 3, "fall: 101 is not in 1..100"),
        ('type = "tcp"\nport = 1\ninterval = "99ms"', 3, "interval: '99ms' is not in 100ms..1h"),
        (
            'type = "tcp"\nport = 1\ntimeout = "3s"',
            3,
            "timeout: 3s is longer than the interval, 2s",
        ),
        (
            'type = "tcp"\nport = 1\ninterval = 1\ntimeout = "3s"',
            3,
            "interval: must be a duration with its unit, not a number",
        ),
    ],
)
def test_checks(lines: str, place: int, message: str) -> None:
    assert faults(with_lines(rest=f"[[check]]\n{lines}")) == [(HEADER + place, message)]
