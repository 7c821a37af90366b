"""pyprobe: a probe-scripting language, compatible with bpftrace, whose probes fire in an emulated machine.

The command is `pyprobe` (see `pyprobe.cli`). From Python, `pyprobe.run(text, command=[...])` runs a script and returns what it printed;
`pyprobe.Machine` with `register_kprobe` and its like is what kernel modules have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.version import VERSION as __version__

if TYPE_CHECKING:
    from pyprobe.api import Result, run
    from pyprobe.runtime.kprobes.api import (
        Kprobe,
        KprobeError,
        Kretprobe,
        KretprobeInstance,
        kprobe_disabled,
    )
    from pyprobe.runtime.kprobes.module import (
        Machine,
        disable_kprobe,
        disable_kretprobe,
        enable_kprobe,
        enable_kretprobe,
        register_kprobe,
        register_kprobes,
        register_kretprobe,
        register_kretprobes,
        register_uprobe,
        register_uprobes,
        unregister_kprobe,
        unregister_kprobes,
        unregister_kretprobe,
        unregister_kretprobes,
        unregister_uprobe,
        unregister_uprobes,
    )
    from pyprobe.runtime.kprobes.registers import (
        PtRegs,
        instruction_pointer,
        kernel_stack_pointer,
        regs_get_kernel_argument,
        regs_return_value,
    )
    from pyprobe.runtime.kprobes.uprobes import (
        Uprobe,
    )

_HOMES = {
    "pyprobe.api": ("Result", "run"),
    "pyprobe.runtime.kprobes.api": (
        "Kprobe",
        "KprobeError",
        "Kretprobe",
        "KretprobeInstance",
        "kprobe_disabled",
    ),
    "pyprobe.runtime.kprobes.module": (
        "Machine",
        "disable_kprobe",
        "disable_kretprobe",
        "enable_kprobe",
        "enable_kretprobe",
        "register_kprobe",
        "register_kprobes",
        "register_kretprobe",
        "register_kretprobes",
        "register_uprobe",
        "register_uprobes",
        "unregister_kprobe",
        "unregister_kprobes",
        "unregister_kretprobe",
        "unregister_kretprobes",
        "unregister_uprobe",
        "unregister_uprobes",
    ),
    "pyprobe.runtime.kprobes.registers": (
        "PtRegs",
        "instruction_pointer",
        "kernel_stack_pointer",
        "regs_get_kernel_argument",
        "regs_return_value",
    ),
    "pyprobe.runtime.kprobes.uprobes": (
        "Uprobe",
    ),
}

__all__ = [
    "Kprobe",
    "KprobeError",
    "Kretprobe",
    "KretprobeInstance",
    "Machine",
    "PtRegs",
    "Result",
    "Uprobe",
    "__version__",
    "disable_kprobe",
    "disable_kretprobe",
    "enable_kprobe",
    "enable_kretprobe",
    "instruction_pointer",
    "kernel_stack_pointer",
    "kprobe_disabled",
    "register_kprobe",
    "register_kprobes",
    "register_kretprobe",
    "register_kretprobes",
    "register_uprobe",
    "register_uprobes",
    "regs_get_kernel_argument",
    "regs_return_value",
    "run",
    "unregister_kprobe",
    "unregister_kprobes",
    "unregister_kretprobe",
    "unregister_kretprobes",
    "unregister_uprobe",
    "unregister_uprobes",
]


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            found = globals()[name] = getattr(import_module(module), name)
            return found
    raise AttributeError(f"module 'pyprobe' has no attribute '{name}'")
