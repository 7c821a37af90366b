"""The tasks of a booted kernel, read from its memory as they are asked for: where the members lie comes from the kernel's own types."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pyprobe.runtime.system.cpu import Processor
    from pyprobe.runtime.system.programs import Process, Programs

COMM_SIZE = 16  # TASK_COMM_LEN
_Comm = ctypes.c_char * COMM_SIZE  # its value ends at the first NUL
MASK = (1 << 64) - 1


class Layout(Protocol):
    """Who knows the kernel's types."""

    def offset(self, record: str, *members: str) -> int:
        """The offset of a member of a struct, or of a member of it, in bytes. Raises KeyError."""


class TaskLayout(NamedTuple):
    """Offsets in struct task_struct, and those of the ids in struct cred."""

    comm: int
    pid: int
    tgid: int
    real_parent: int
    group_leader: int
    mm: int
    cred: int
    uid: int
    gid: int

    @classmethod
    def of(cls, types: Layout) -> TaskLayout:
        """Raises KeyError when the kernel's types lack a member."""
        where = {"uid": "cred", "gid": "cred"}
        return cls(*(types.offset(where.get(member, "task_struct"), member) for member in cls._fields))


class SystemTask:
    """A task by the address of its task_struct (TaskView). A member whose memory is not there reads as zero."""

    __slots__ = ("_comm", "_cpu", "_layout", "_programs", "_start", "_view", "address")

    def __init__(self, cpu: Processor, layout: TaskLayout, address: int, programs: Programs) -> None:
        self._programs = programs
        self._cpu = cpu
        self._layout = layout
        self.address = address
        self._view = cpu.ram.view
        self._start = start = cpu.translate(address)  # a struct of the slab allocator lies in the linear mapping, in one piece
        self._comm = _Comm.from_address(cpu.ram.address + start + layout.comm) if start >= 0 else _Comm()

    @property
    def comm(self) -> bytes:
        return self._comm.value

    @property
    def tid(self) -> int:
        at = self._start + self._layout.pid
        return int.from_bytes(self._view[at : at + 4], "little")

    @property
    def pid(self) -> int:
        at = self._start + self._layout.tgid
        return int.from_bytes(self._view[at : at + 4], "little")

    @property
    def ppid(self) -> int:
        return self._cpu.number(self._pointer(self._layout.real_parent) + self._layout.tgid, 4)

    @property
    def parent_comm(self) -> bytes:
        return self._name(self._pointer(self._layout.real_parent))

    @property
    def leader_comm(self) -> bytes:
        return self._name(self._pointer(self._layout.group_leader))

    @property
    def uid(self) -> int:
        return self._cpu.number(self._pointer(self._layout.cred) + self._layout.uid, 4)

    @property
    def gid(self) -> int:
        return self._cpu.number(self._pointer(self._layout.cred) + self._layout.gid, 4)

    @property
    def is_program(self) -> bool:
        """Whether it has memory of its own; the kernel's threads have none."""
        return self._pointer(self._layout.mm) != 0

    @property
    def process(self) -> Process:
        """The program that it executes."""
        return self._programs.process(self)

    @property
    def altstack(self) -> tuple[int, int, int]:
        """Base, flags and size of its stack for signals."""
        return self._programs.altstack(self)

    def _name(self, task: int) -> bytes:
        return (self._cpu.read(task + self._layout.comm, COMM_SIZE) or b"").partition(b"\0")[0]

    def _pointer(self, member: int) -> int:
        at = self._start + member
        return int.from_bytes(self._view[at : at + 8], "little")

