"""Reading structs, arrays, strings and bit-fields from guest memory."""

from __future__ import annotations

import struct

import pytest

from tests.runtime.handlers.support import Script

STRUCTS = """
struct inner { short s; unsigned char b; };
struct point { int x; long long y; char name[16]; struct inner in; int arr[4]; const char *label; unsigned int low:3, high:5; };
"""
IMAGE = struct.pack("<ii q 16s hBx 4i 4x Q B 7x", -1, 0, 1 << 33, b"pt1", -1, 251, 1, 10, 100, -1, 0x2000, 1 | 3 << 3)
WHOLE = "{ .x = -1, .y = 8589934592, .name = pt1, .in = { .s = -1, .b = 251 }, .arr = [1,10,100,-1], .label = 0x2000, .low = 1, .high = 3 }"
MEMORY = {0x1000: IMAGE, 0x2000: b"lab\0", 0x3000: struct.pack("<QQQ", 0x2000, 0x1010, 0) + bytes(8)}


def run(body: str) -> str:
    return Script(f"{STRUCTS} begin {{ $p = (struct point *)4096; {body} }}", memory=MEMORY).run()


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("$p.x", "-1"),
        ("$p->y", "8589934592"),
        ("$p.name", "pt1"),
        ("$p.in.s", "-1"),
        ("$p.in.b", "251"),
        ("$p.in", "{ .s = -1, .b = 251 }"),
        ("$p.arr", "[1,10,100,-1]"),
        ("$p.arr[3]", "-1"),
        ("$p.low", "1"),
        ("$p.high", "3"),
        ("str($p.label)", "lab"),
        ("str($p.label, 2)", "l"),
        ("*$p.label", "108"),
        ("$p.label[1]", "97"),
        ("$p.name[1]", "116"),
        ("(*$p).in.b", "251"),
        ("((int32*)$p)[0]", "-1"),
        ("*((uint8*)$p + 1)", "255"),
        ("(int32[2])*(uint64*)$p", "[-1,0]"),
        ("$p.arr == $p.arr", "true"),
        ("buf($p.label, 3)", "lab"),
        ("buf($p.arr)", "\\x01\\x00\\x00\\x00\\x0a\\x00\\x00\\x00d\\x00\\x00\\x00\\xff\\xff\\xff\\xff"),
        ("ntop($p.arr)", "100:0:a00:0:6400:0:ffff:ffff"),
        (
            "*$p",
            WHOLE,
        ),
        ("($p.x, $p.in, $p.name)", "(-1, { .s = -1, .b = 251 }, pt1)"),
    ],
)
def test_reads(expression: str, shown: str) -> None:
    assert run(f"print({expression});") == shown + "\n"
    if "*$p" not in expression:
        copied = expression.replace("$p->", "$c.").replace("$p.", "$c.")
        assert run(f"$c = *$p; print({copied});") == shown + "\n"


def test_reads_only_what_is_used() -> None:
    """A chain of members is one read of the last one."""
    script = Script(f"{STRUCTS} begin {{ $p = (struct point *)4096; print($p.in.b); }}", memory=MEMORY)
    assert "read_1(v_p + 34)" in script.handlers[0].source


def test_index_outside_of_an_array() -> None:
    script = Script(
        f"{STRUCTS} begin {{ $p = (struct point *)4096; $i = 7; print($p.arr[$i]); $c = $p.arr; print($c[$i]); }}", memory=MEMORY
    )
    assert script.run() == "0\n0\n"
    assert script.errors.count("WARNING: Array access out of bounds. This can lead to unexpected results.\n") == 2


def test_bad_addresses_are_zero_and_silent() -> None:
    script = Script(f"{STRUCTS} begin {{ $p = (struct point *)8; print($p.x); print($p.name); print(*(int32 *)8); print($p.in); }}")
    assert script.run() == "0\n\n0\n{ .s = 0, .b = 0 }\n"
    assert script.errors == ""


def test_bad_addresses_warn_under_k() -> None:
    script = Script("uprobe:/bin/true:main { print(*(int32 *)arg0); print(str(arg0)); }", k=True, values={"arg": 8})
    assert script.run() == "0\n\n"
    assert "WARNING: Bad address\nAdditional Info - helper: probe_read_user, retcode: -14\n" in script.errors
    assert "helper: probe_read_user_str, retcode: -14\n" in script.errors


def test_join() -> None:
    assert Script('begin { join(0x3000); join(0x3000, "-"); }', memory=MEMORY).run() == "lab pt1\nlab-pt1\n"
