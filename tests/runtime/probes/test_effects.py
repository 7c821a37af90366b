"""What probes do to a program: signals, results in place of its functions' and of the kernel's, writes to its memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.parametrize(
    ("arch", "prefix", "pc", "flags"), [("x86_64", "x64", "ip", ()), ("arm64", "arm64", "pc", ("-static",))], ids=["x86_64", "arm64"]
)
UNDISTURBED = ["2", "1000", "signal 0", "as it was", "open 0 Success", "uid 0"]


@pytest.fixture
def lines(compiled: Callable[..., Path], pyprobe: Callable[..., Any], arch: str, flags: tuple[str, ...]) -> Callable[..., list[str]]:
    """`lines(SCRIPT, *OPTIONS)`: what the script and the program print; PROGRAM stands for its path."""
    program = compiled("effects.c", *flags, arch=arch)

    def run(script: str, *options: str) -> list[str]:
        result = pyprobe("-q", "--unsafe", *options, "-c", str(program), "-e", script.replace("PROGRAM", str(program)))
        assert (result.status, result.err) == (0, ""), result
        return [line for line in result.out.split("\n") if line]

    return run


def test_results_of_user_functions(lines: Callable[..., list[str]], prefix: str, pc: str) -> None:
    script = "uprobe:PROGRAM:answer { override(42); @n++; } uretprobe:PROGRAM:answer { print(retval); } uprobe:PROGRAM:loop { override(-7); }"
    for attach in "hook", "breakpoint":
        out = lines(script, "--attach", attach)
        assert sorted(out) == sorted(["42", "-7", *UNDISTURBED[2:], "42", "42", "@n: 2"]), attach


def test_results_of_kernel_functions(lines: Callable[..., list[str]], prefix: str, pc: str) -> None:
    script = f"""kprobe:do_sys_openat2 /str(arg1) == "/etc/passwd"/ {{ override(-13); }} kprobe:__{prefix}_sys_getuid {{ override(77); }}"""
    assert lines(script) == [*UNDISTURBED[:4], "open 1 Permission denied", "uid 77"]


def test_signals(lines: Callable[..., list[str]], prefix: str, pc: str) -> None:
    for call in 'signal("USR1")', "signal_thread(10)", 'signal("SIGUSR1")', "$n = pid - pid + 10; signal($n)":
        assert lines(f"uprobe:PROGRAM:loop {{ {call}; }}") == ["2", "1000", "signal 10", *UNDISTURBED[3:]], call
    # nothing of the function runs any more, nor does its caller
    assert lines('uprobe:PROGRAM:loop { signal("KILL"); } uretprobe:PROGRAM:loop { print("back"); } end { print("end"); }') == ["end"]
    # in a system call it is delivered when the call returns
    assert lines(f"kprobe:__{prefix}_sys_getuid {{ signal(9); }} kretprobe:__{prefix}_sys_getuid {{ print(retval); }}") == ["0"]


def test_writes_to_memory(lines: Callable[..., list[str]], prefix: str, pc: str) -> None:
    out = lines('uprobe:PROGRAM:loop { print(write_user(arg0, "changed", 8)); }')
    assert out == ["true", *UNDISTURBED[:3], "changed", *UNDISTURBED[4:]]
    out = lines('uprobe:PROGRAM:loop { print(write_user(arg0, "AS", 2)); print(write_user(arg0 + 3, "IT", 0)); }')
    assert out == ["true", "true", *UNDISTURBED[:3], "AS it was", *UNDISTURBED[4:]]
    # neither an address without memory nor read-only code, and the program goes on
    out = lines(f'uprobe:PROGRAM:loop {{ print(write_user(0, "x", 1)); print(write_user((uint8*)reg("{pc}"), "x", 1)); }}')
    assert out == ["false", "false", *UNDISTURBED]
