"""File descriptors that stand for processes: pidfd_open(2) (kernel/pid.c, kernel/fork.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.user.vfs.abi import O_RDWR, READABLE
from pyprobe.runtime.user.vfs.anon import anonymous_dentry
from pyprobe.runtime.user.vfs.open import install
from pyprobe.runtime.user.vfs.openfile import OpenFile

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task
    from pyprobe.runtime.user.vfs.inode import Dentry


class PidFile(OpenFile):
    """A pidfd: readable once the process has ended."""

    def __init__(self, dentry: Dentry, flags: int, process: Process) -> None:
        super().__init__(dentry, flags | O_RDWR)
        self.process = process

    def poll(self, k: Kernel, t: Task) -> int:
        return 0 if self.process.alive else READABLE


def pidfd_create(k: Kernel, t: Task, process: Process, flags: int) -> int:
    """A new descriptor of the current task's process for `process`. Raises Errno(EMFILE)."""
    return install(t, PidFile(anonymous_dentry(k, b"[pidfd]"), flags, process), close_on_exec=True)
