"""What is read from a kernel's image is what that kernel says when it runs: its /proc/kallsyms, its tracefs, its debugfs."""

from __future__ import annotations

import re
from collections.abc import Callable

from pyprobe.runtime.system.kernels import store
from pyprobe.runtime.system.metadata.facts import Facts
from tests.conftest import Result

LOOK = """mount -t tracefs t /sys/kernel/tracing; mount -t debugfs d /sys/kernel/debug
cat /proc/kallsyms; echo ====
cat /sys/kernel/tracing/available_filter_functions; echo ====
cat /sys/kernel/debug/kprobes/blacklist; echo ====
for f in /sys/kernel/tracing/events/*/*/format; do echo "= $f"; cat $f; done; echo ===="""
FIELD = re.compile(r"\tfield:([^;]*);\toffset:(\d+);\tsize:(\d+);")


def test_facts_are_what_the_running_kernel_says(pyprobe: Callable[..., Result], kernel: store.Kernel, facts: Facts) -> None:
    done = pyprobe("-q", "--kernel", kernel.name, "-e", "begin { }", "-c", f"sh -c '{LOOK}'", timeout=300)
    assert done.status == 0, done.err
    symbols, traceable, forbidden, formats, _ = done.out.split("====\n")

    rows = [line.split() for line in symbols.splitlines() if "[" not in line]
    assert len(rows) > 40000
    ours = zip(facts.symbols.addresses, facts.symbols.kinds, facts.symbols.names, strict=True)
    assert sorted((int(address, 16), kind, name) for address, kind, name in rows) == sorted(ours)

    listed = {line.split()[0] for line in traceable.splitlines() if line and "[" not in line}
    assert {name for name in listed if not name.startswith("__ftrace_invalid_address")} == facts.traceable

    assert {line.split()[1] for line in forbidden.splitlines() if line and "[" not in line} == set(facts.forbidden)

    found = {}
    for text in formats.split("= /sys/kernel/tracing/events/")[1:]:
        category, name = text.split("/")[:2]
        fields = [(declared, int(offset), int(size)) for declared, offset, size in FIELD.findall(text) if int(offset) >= 8]
        if category != "ftrace":  # the tracers' own records, which are no events
            found[category, name] = fields
    assert found == {key: [(declared(f.type, f.name), f.offset, f.size) for f in event.fields] for key, event in facts.events.items()}


def declared(ctype: str, name: str) -> str:
    """A field as the kernel writes it: the brackets of arrays behind the name."""
    array = re.fullmatch(r"(.*)\[(\d*)\]", ctype)
    return f"{array[1]} {name}[{array[2]}]" if array and not ctype.startswith("__data_loc") else f"{ctype} {name}"
