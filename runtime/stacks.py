"""The text of stacks: one line a frame, by printing mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.lang.typesys import Stack

if TYPE_CHECKING:
    from pyprobe.runtime.context import Names, Symbol


def stack_text(t: Stack, value: tuple[int, ...], names: Names) -> bytes:
    """A newline, then a line for each frame, innermost first."""
    pid, *addresses = value
    lines = [""]
    for address in addresses[: t.limit]:
        if t.mode == "raw":
            lines.append(f"{address:x}")
            continue
        if t.mode == "build_id":
            found = names.build_id(pid, address)
            lines.append(f"{found[0]} 0x{found[1]:x}" if found else f"{address:x}")
            continue
        symbol = names.kernel(address) if t.kind == "kstack" else names.user(pid, address)
        lines.append(perf_line(t, address, symbol) if t.mode == "perf" else frame_line(address, symbol))
    return "\n".join([*lines, ""]).encode()


def frame_line(address: int, symbol: Symbol | None) -> str:
    """A frame of mode `bpftrace`."""
    if symbol is None:
        return f"        0x{address:x}"
    return f"        {symbol.name}+{symbol.offset}{'@' + symbol.source if symbol.source else ''}"


def perf_line(t: Stack, address: int, symbol: Symbol | None) -> str:
    """A frame of mode `perf`, as `perf script` prints it."""
    if symbol is None:
        return f"\t{address:x} 0x{address:x} ([unknown])"
    return f"\t{address:x} {symbol.name}+{symbol.offset}{f' ({symbol.module})' if t.kind == 'ustack' else ''}"
