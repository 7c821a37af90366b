"""pyprobe.lang.check: a script judged without a machine."""

from __future__ import annotations

from pyprobe.lang import check
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


def test_hints_and_order() -> None:
    found = check("let @m = hsh(3); begin { while (0) { } @m[1] = 1; }")
    assert [d.severity for d in found] == ["error", "warning"]
    assert found[0].hints == ["Valid map types: percpulruhash, percpuhash, lruhash, hash"]


def test_world_and_options() -> None:
    assert check("kprobe:vfs_read { @[comm] = count(); }", world=TableWorld()) == []
    assert check("kprobe:nosuch { @ = count(); }", world=TableWorld())[0].message == "No matches for kprobe nosuch."
    assert check("begin { print($1); }", params=["5"]) == []
    assert check("begin { $x = str($1); print($x); }", params=["5"], name="file.bt") == []


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
