"""The functions that Linux refuses to probe.

In a booted kernel: those that its own tables name (pyprobe.runtime.system.metadata.attachable). In the emulated kernel, whose functions
are few: those of its entry code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pyprobe.runtime.probes.description import Description

EMULATED = frozenset(
    {"do_syscall_64", "entry_SYSCALL_64_after_hwframe", "invoke_syscall", "el0_svc_common.constprop.0", "do_el0_svc", "el0_svc",
     "el0t_64_sync_handler", "el0t_64_sync"}
)  # fmt: skip


def lines(machine: Description) -> list[str]:
    """What is refused on a described machine, as /sys/kernel/debug/kprobes/blacklist shows it: address range and name, sorted."""
    symbols = machine.symbols
    if not machine.booted:
        from pyprobe.runtime.user.functions import FUNCTION_SIZE

        found = [(symbols[name], symbols[name] + FUNCTION_SIZE, name) for name in EMULATED if name in symbols]
    else:
        from pyprobe.runtime.system.description import SystemDescription

        refused = cast(SystemDescription, machine).forbidden.values()
        found = [(s.address, s.address + s.size, s.name) for s in refused]
    return [f"0x{start:016x}-0x{end:016x}\t{name}" for start, end, name in sorted(found)]
