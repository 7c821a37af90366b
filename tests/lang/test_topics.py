"""The reference: every name of the language has one, and what it says comes from the tables."""

from __future__ import annotations

import pytest

from pyprobe.cli import main
from pyprobe.lang import topics
from pyprobe.lang.builtins import BUILTINS
from pyprobe.lang.functions import FUNCTIONS
from pyprobe.lang.providers import PROVIDERS


@pytest.mark.parametrize("name", sorted({name for group in topics.names().values() for name in group}))
def test_every_name(name: str) -> None:
    text = topics.reference(name)
    assert text is not None
    assert name in text
    assert text.endswith("\n")


def test_nothing_is_left_out() -> None:
    listed = {name for group in topics.names().values() for name in group}
    assert set(PROVIDERS) == set(topics.PROBES)
    assert listed >= {*FUNCTIONS, *BUILTINS, *PROVIDERS} - {"reg"}


def test_text() -> None:
    assert topics.reference("str()") == "str(p: int or pointer or string[, n: int])\n    the string at an address\n"
    assert topics.reference("max_strlen") == (
        "setting max_strlen, default 1024\n    most bytes of what str(), buf() and path() give\n"
        "    config = { max_strlen = VALUE }, or BPFTRACE_MAX_STRLEN=VALUE in the environment, which wins\n"
    )
    assert (topics.reference("reg") or "").startswith("reg(name: string literal) : uint64\n")  # never without its argument
    assert "retval" in (topics.reference("fexit") or "") and "retval" not in (topics.reference("fentry") or "")
    assert "a builtin" not in (topics.reference("arg3") or "")
    assert topics.reference("nosuch") is None
    assert (topics.reference("ppid") or "").count("ppid") == 2  # as a value and as a function
    assert (topics.reference("is_err") or "").endswith("A macro of the library.\n")


def test_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help", "hist"]) == 0
    assert capfd.readouterr().out.startswith("hist(n: int[, bits: int literal])\n    log2 histogram\n")
    assert main(["--help", "topics"]) == 0
    assert "Library macros:" in capfd.readouterr().out
    assert main(["kernel", "--help"]) == 0
    assert capfd.readouterr().out.startswith("USAGE: pyprobe kernel install NAME ")
    assert main(["--help", "kprobe_events"]) == 0
    assert capfd.readouterr().out.startswith("USAGE: pyprobe [--kernel NAME]")
    assert main(["-h", "strlne"]) == 1
    assert capfd.readouterr().err == "ERROR: no help on 'strlne'\nHINT: similar: strlen, str, max_strlen\n"
