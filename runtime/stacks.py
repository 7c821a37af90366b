"""The text of stacks: one line a frame, by printing mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.lang.typesys import Stack

if TYPE_CHECKING:
    from pyprobe.runtime.context import Names, Symbol


def stack_text(t: Stack, value: tuple[int, ...], names: Names, *, sources: bool = False) -> bytes:
    """A newline, then a line for each frame, innermost first. sources: with places in the source, and inlined functions as frames."""
    pid, *addresses = value
    lines = [""]
    for number, address in enumerate(addresses[: t.limit]):
        if t.mode == "raw":
            lines.append(f"{address:x}")
            continue
        if t.mode == "build_id":
            found = names.build_id(pid, address)
            lines.append(f"{found[0]} 0x{found[1]:x}" if found else f"{address:x}")
            continue
        symbol = names.kernel(address) if t.kind == "kstack" else names.user(pid, address)
        show = perf_lines if t.mode == "perf" else frame_lines
        lines += show(t, address, symbol, names.source(pid, address, returned=number > 0) if sources and t.kind == "ustack" else [])
    return "\n".join([*lines, ""]).encode()


def frame_lines(t: Stack, address: int, symbol: Symbol | None, source: list[tuple[str, str]]) -> list[str]:
    """A frame of mode `bpftrace`."""
    if symbol is None:
        return [f"        0x{address:x}"]
    lines = [f"        [inlined] {name}@{place}" for name, place in source[:-1]]
    return [*lines, f"        {symbol.name}+{symbol.offset}{'@' + source[-1][1] if source else ''}"]


def perf_lines(t: Stack, address: int, symbol: Symbol | None, source: list[tuple[str, str]]) -> list[str]:
    """A frame of mode `perf`, as `perf script` prints it."""
    if symbol is None:
        return [f"\t{address:x} 0x{address:x} ([unknown])"]
    lines = [f"\t{address:x} {name} (inlined)" for name, _ in source[:-1]]
    return [*lines, f"\t{address:x} {symbol.name}+{symbol.offset}{f' ({symbol.module})' if t.kind == 'ustack' else ''}"]
