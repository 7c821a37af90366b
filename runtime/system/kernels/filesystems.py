"""The file systems that a kernel needs to run commands: how it sees the host's files (FUSE), and how it writes beside them (overlay)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyprobe.runtime.system.kernels.errors import KernelError

if TYPE_CHECKING:
    from pyprobe.runtime.system.kernels.store import Kernel
    from pyprobe.runtime.system.metadata.facts import Facts

_FUNCTIONS = {"fuse": "fuse_dev_read", "overlay": "ovl_lookup"}  # of each module, one that a kernel has which it is built into
_NAMES = {"fuse": "FUSE", "overlay": "overlay"}
MODULES = tuple(_FUNCTIONS)
"""What our init loads, where it is not built in; what these need comes along."""


def missing(kernel: Kernel, facts: Facts) -> list[str]:
    """Those of MODULES that a kernel neither has built in nor as a module. Raises KernelError when it does not tell."""
    return [name for name in MODULES if name not in kernel.modules and _FUNCTIONS[name] not in facts.symbols.functions]


def cannot_run(kernel: Kernel, lacking: Iterable[str]) -> KernelError:
    """The complaint about missing ones."""
    lacking = tuple(lacking)
    names = " and ".join(_NAMES[name] for name in lacking)
    several = "systems, neither built in nor as modules" if len(lacking) > 1 else "system, neither built in nor as a module"
    files = " ".join(f"{name}.ko" for name in lacking)
    return KernelError(
        f"kernel {kernel.name} can't run commands: it has no {names} file {several}",
        f"add it again with its modules (pyprobe kernel add NAME VMLINUZ {files}, or its .deb), or trace its boot alone (--boot)",
    )
