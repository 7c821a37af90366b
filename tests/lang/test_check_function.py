"""pyprobe.lang.check: a script judged without a machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pyprobe.lang import check
from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.world import NoWorld
from tests.lang.worlds import TableWorld


def test_good() -> None:
    assert check("begin { @ = count(); }") == []


def test_stages() -> None:
    text = "begin { print($x); }"
    assert check(text, stage="parse") == []
    (found,) = check(text)
    assert (found.severity, found.message) == ("error", "Undefined or undeclared variable: $x")
    assert found.span is not None
    assert (found.span.start, found.span.end, found.span.header) == (14, 16, "1:15-17")
    (wrong,) = check("begin { print(1 }", stage="parse")
    assert wrong.message == "syntax: expected ')'"
    assert check("begin { print(1 }")[0].message == wrong.message
    with pytest.raises(ValueError, match="stage must be 'parse' or 'check', got 'types'"):
        check(text, stage="types")  # type: ignore[arg-type]  # what a caller without mypy may write


def test_hints_and_order() -> None:
    found = check("let @m = hsh(3); begin { while (0) { } @m[1] = 1; }")
    assert [d.severity for d in found] == ["error", "warning"]
    assert found[0].hints == ["Valid map types: percpulruhash, percpuhash, lruhash, hash"]


def test_world_and_options() -> None:
    assert check("kprobe:vfs_read { @[comm] = count(); }", world=TableWorld()) == []
    assert check("kprobe:nosuch { @ = count(); }", world=TableWorld())[0].message == "No matches for kprobe nosuch."
    assert check("begin { print($1); }", params=["5"]) == []
    assert check("begin { $x = str($1); print($x); }", params=["5"], name="file.bt") == []


def test_without_a_world_every_probe_exists() -> None:
    assert check("kprobe:nosuch { @[comm] = count(); }") == []
    assert check("tracepoint:no:such { print(args.x); }")[0].severity == "error"


def test_unsafe() -> None:
    text = 'begin { system("ls"); }'
    assert any("unsafe" in d.message for d in check(text))
    assert not any("unsafe" in d.message for d in check(text, unsafe=True))


def test_calls_without_a_value() -> None:
    for call in "signal(9)", 'signal_thread("KILL")', "override(1)", "exit()":
        (found,) = check(f"kprobe:vfs_read {{ print({call}); }}", world=TableWorld(), unsafe=True)
        assert found.message == "none type passed to print() is not printable", call
        (found,) = check(f"kprobe:vfs_read {{ if ({call}) {{ print(1); }} }}", world=TableWorld(), unsafe=True)
        assert found.message == "Invalid condition: none", call


class Notes(NoWorld):
    """A caller's own machine: one function `note`, whatever it is."""

    def matches(self, point: AttachPoint) -> list[AttachPoint]:
        return [point] if (point.provider, point.function) == ("kprobe", "note") else []


def test_a_world_of_the_caller() -> None:
    assert check("kprobe:note { print(arg0); }", world=Notes()) == []
    found, warning = check("kprobe:other { print(arg0); }", world=Notes())
    assert (found.severity, found.message) == ("error", "No matches for kprobe other.")
    assert warning.message.startswith("other is not traceable")


def test_nothing_is_started() -> None:
    """Neither the machine nor a package outside the standard library is imported to judge a script."""
    code = "import sys; from pyprobe.lang import check; assert check('begin { @ = count(); }') == []; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()} | {".".join(name.split(".")[:2]) for name in done.stdout.split()}
    assert not loaded & {"pyprobe.runtime", "unicorn", "capstone", "elftools", "clang", "lark"}
