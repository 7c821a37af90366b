"""dw_ustack: the stacks of programs without frame pointers, by the tables that compilers make for exceptions."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result

Compile = Callable[..., Path]
Pyprobe = Callable[..., Result]

EXPECTED = {
    1: ["mark", "plain", "main"],
    2: ["mark", "compare", "sorted", "main"],
    3: ["mark", "variable", "main"],
    4: ["mark", "recursive", "recursive", "recursive", "recursive", "main"],
    5: ["mark", "handler", "interrupted", "main"],
    6: ["mark", "thread"],
}
"""Functions of frames.c on the stack, innermost first, by the argument of `mark`; those of the C library are left out."""

OWN = {name for names in EXPECTED.values() for name in names}
FLAGS = ("-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-fno-inline", "-static", "-pthread")
FORMS = {
    "x86_64": ("x86_64", ()),
    "arm64": ("arm64", ()),
    "breakpoints": ("x86_64", ("--attach", "breakpoint")),
    "breakpoints arm64": ("arm64", ("--attach", "breakpoint")),
}


def stacks(output: str) -> list[tuple[int, list[str]]]:
    """What is printed between `<N` and `>`: N and the names of functions."""
    return [(int(n), re.findall(r"^ +(.*)\+\d+$", text, re.M)) for n, text in re.findall(r"<(\d+)\n(.*?)>", output, re.S)]


@pytest.mark.parametrize("form", FORMS)
def test_callers_without_frame_pointers(compiled: Compile, pyprobe: Pyprobe, form: str) -> None:
    arch, options = FORMS[form]
    program = compiled("frames.c", *FLAGS, arch=arch)
    script = f"""
        config = {{ unstable_dw_ustack = enable }}
        uretprobe:{program}:plain, uretprobe:{program}:recursive, uretprobe:{program}:compare {{ @returned = count(); }}
        uprobe:{program}:mark {{ printf("<%d\\n", arg0); print(dw_ustack); printf(">\\n"); }}
    """
    done = pyprobe(*options, "-e", script, "-c", str(program))
    assert done.status == 0 and "@returned: 6" in done.out, done
    found = dict(stacks(done.out))
    assert {n: [name for name in names if name in OWN] for n, names in found.items()} == EXPECTED
    assert all("_start" in names for n, names in found.items() if n != 6)


def test_they_are_those_of_frame_pointers(compiled: Compile, pyprobe: Pyprobe) -> None:
    """But that a caller is shown by its call, not by the instruction after it, and that frame pointers miss who has not set up one."""
    program = compiled("calls.c", "-O1", "-fno-omit-frame-pointer", "-static")
    script = f"""
        config = {{ unstable_dw_ustack = enable }}
        uprobe:{program}:leaf, uprobe:{program}:rec {{ print(ustack(raw, 3)); print(dw_ustack(raw, 3)); }}
    """
    done = pyprobe("-e", script, "-c", f"{program} 3")
    assert done.status == 0, done
    blocks = [[int(line, 16) for line in block.split()] for block in re.findall(r"\n((?:[0-9a-f]+\n)+)", done.out)]
    assert len(blocks) >= 12
    for by_pointers, by_tables in zip(blocks[::2], blocks[1::2], strict=True):
        assert by_tables == [by_pointers[0], *(address - 1 for address in by_pointers[1:])]


def test_modes_and_limits(compiled: Compile, pyprobe: Pyprobe) -> None:
    program = compiled("frames.c", *FLAGS)
    script = f"""
        config = {{ unstable_dw_ustack = enable }}
        uprobe:{program}:mark /arg0 == 1/ {{ print(dw_ustack(perf, 2)); print(dw_ustack(1)); @[dw_ustack(2)] = len(dw_ustack(2)); }}
    """
    done = pyprobe("-e", script, "-c", str(program))
    first, second, third = (f.replace(str(program), "BIN") for f in done.out.split("\n\n")[:3])
    assert re.fullmatch(r"\n?\t[0-9a-f]+ mark\+0 \(BIN\)\n\t[0-9a-f]+ plain\+\d+ \(BIN\)", first), done
    assert second.strip() == "mark+0"
    assert "@[" in done.out and "]: 2" in done.out, third


def test_where_no_program_runs(pyprobe: Pyprobe) -> None:
    done = pyprobe("-e", "begin { print(dw_ustack(3)); exit(); }")
    assert done.status == 0
    assert "Script is using an unstable feature: dw_ustack" in done.err
    assert "WARNING: No DWARF unwind data available for this process." in done.err
