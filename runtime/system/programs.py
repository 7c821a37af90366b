"""The programs of a booted kernel as probes see them: address spaces, what files they map, and points that belong to one of them.

Where mappings appear and go is learnt where the kernel's own uprobes learn it (kernel/events/uprobes.c): a point of ours at each of the
functions that it calls for them. Like these, probes in a file are planted in whatever maps it privately and may execute it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pyprobe.runtime.machine.calling import ARGUMENTS
from pyprobe.runtime.machine.memory import MemoryFault, Points, R, Vma, W, X
from pyprobe.runtime.system import maple
from pyprobe.runtime.system.pagecache import GuestFile, PageCache, PageLayout
from pyprobe.runtime.system.ram import PAGE
from pyprobe.runtime.system.root.channel import UPPER_FILES
from pyprobe.runtime.system.root.fuse import Server

if TYPE_CHECKING:
    from pyprobe.runtime.machine.bound import Bound
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.root.tree import Node
    from pyprobe.runtime.system.tasks import SystemTask

Callback = Callable[[], object]

VM_READ, VM_WRITE, VM_EXEC, VM_SHARED, VM_MAYEXEC, VM_MAYSHARE, VM_GROWSDOWN = 1, 2, 4, 8, 0x40, 0x80, 0x100  # include/linux/mm.h
VM_HUGETLB = 0x400000
_PROBED = VM_HUGETLB | VM_MAYEXEC | VM_MAYSHARE | VM_WRITE  # of these only VM_MAYEXEC: valid_vma in kernel/events/uprobes.c
_PROTECTION = VM_READ | VM_WRITE | VM_EXEC
assert (VM_READ, VM_WRITE, VM_EXEC) == (R, W, X)
_LONGEST = 64  # components of a path
THREAD_SIZE = 4 * PAGE  # with pages of 4 KB, on both architectures

FUSE, TMPFS = b"fuse", b"tmpfs"  # the types of the file systems that the host's files are on, and what the guest makes
_TYPE_NAME = 16  # bytes of a type that are looked at


class Layout(NamedTuple):
    """Offsets of members in bytes."""

    vm_start: int
    vm_end: int
    vm_mm: int
    vm_flags: int
    vm_pgoff: int
    vm_file: int
    pgd: int
    mm_mt: int
    f_path: int
    d_parent: int
    d_name: int
    d_inode: int
    i_sb: int
    s_type: int
    mm: int
    stack: int
    pid: int
    tgid: int
    sas_ss_sp: int
    sas_ss_size: int
    sas_ss_flags: int

    @classmethod
    def of(cls, kernel: SystemDescription) -> Layout:
        """Raises KeyError when the kernel's types lack a member."""
        rows = {
            "vm_area_struct": ("vm_start", "vm_end", "vm_mm", "vm_flags", "vm_pgoff", "vm_file"),
            "mm_struct": ("pgd", "mm_mt"),
            "file": ("f_path",),
            "dentry": ("d_parent", "d_name", "d_inode"),
            "inode": ("i_sb",),
            "super_block": ("s_type",),
            "task_struct": ("mm", "stack", "pid", "tgid", "sas_ss_sp", "sas_ss_size", "sas_ss_flags"),
        }
        inner = {"mm_mt": ("maple_tree", "ma_root"), "f_path": ("path", "dentry"), "d_name": ("qstr", "name")}
        found = {name: kernel.offset(record, name) for record, names in rows.items() for name in names}
        return cls(**{name: at + (kernel.offset(*inner[name]) if name in inner else 0) for name, at in found.items()})


class TreeFile:
    """A regular file of the guest's root (machine.physical.Backing, as far as symbols ask for it)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.length = node.status.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeFile) and self._node.key == other._node.key

    def __hash__(self) -> int:
        return hash(self._node.key)

    def read(self, offset: int, size: int) -> bytes:
        return self._node.read(offset, size)


class Space:
    """The memory of one program (machine.memory.AddressSpace, as far as probes ask for it).

    mm: the address of its mm_struct; tables: the physical address of its page tables. Nothing is brought in: what the kernel has not put
    into memory, or has taken out of it, is not there.
    """

    def __init__(self, programs: Programs, mm: int, tables: int) -> None:
        self.mm = mm
        self.tables = tables
        self.points = Points()
        self._programs = programs

    def read(self, address: int, n: int) -> bytes:
        """Raises MemoryFault."""
        data = self._programs.cpu.read(address, n, self.tables)
        if data is None:
            raise MemoryFault(address, R)
        return data

    def u64(self, address: int) -> int:
        """Raises MemoryFault."""
        return int.from_bytes(self.read(address, 8), "little")

    def find(self, address: int) -> Vma | None:
        """The mapping that an address lies in."""
        return self._programs.mapping(self, address)


class Registers:
    """Of a program, while it runs or where the kernel has put them when it was entered."""

    def __init__(self, programs: Programs, task: SystemTask) -> None:
        self.arch = programs.cpu.arch
        self._programs = programs
        self._task = task

    def get(self, name: str) -> int:
        """By any of its names; 0 where it cannot be told."""
        cpu = self._programs.cpu
        if cpu.user_mode:
            return cpu.get(name)
        return self._programs.saved(self._task, name)


class Process(NamedTuple):
    """What a task executes: the program's registers and memory."""

    engine: Registers
    space: Space


class Engine:
    """The processor, for probes in programs: its points belong to address spaces."""

    def __init__(self, machine: SystemMachine) -> None:
        self._cpu = cpu = machine.processor
        self.arch = cpu.arch
        self.state = cpu.state
        self._tables = cpu.address_space
        self._at: tuple[dict[int, dict[int, Callback]], dict[int, dict[int, Callback]]] = ({}, {})  # by address, by page tables

    def get(self, name: str) -> int:
        """A register. Raises KeyError for an unknown name."""
        return self._cpu.get(name)

    def register(self, name: str) -> Bound:
        """A register as source for a handler. Raises KeyError for an unknown name."""
        return self._cpu.register(name)

    def plant(self, space: Space, address: int, callback: Callback, *, exact: bool = False) -> None:
        """Call `callback` when a program is about to execute the instruction at an address; see `Processor.plant`."""
        (space.points.exact if exact else space.points.blocks)[address] = callback
        self._plant(space.tables, address, callback, exact)

    def _plant(self, tables: int, address: int, callback: Callback, exact: bool) -> None:
        spaces = self._at[exact].get(address)
        if spaces is None:
            spaces = self._at[exact][address] = {}
            self._cpu.plant(address, chooser(spaces, self._tables), exact=exact)
        spaces[tables] = callback

    def pull(self, space: Space, address: int) -> None:
        """Undo `plant`; nothing happens where nothing is planted."""
        for exact, points in enumerate((space.points.blocks, space.points.exact)):
            if points.pop(address, None) is not None:
                spaces = self._at[exact][address]
                del spaces[space.tables]
                if not spaces:
                    del self._at[exact][address]
                    self._cpu.pull(address, exact=bool(exact))

    def inherit(self, parent: Space, child: Space) -> None:
        """A forked program has its parent's points."""
        child.points = parent.points.copy()
        for exact, points in enumerate((child.points.blocks, child.points.exact)):
            for address, callback in points.items():
                self._plant(child.tables, address, callback, bool(exact))

    def clear(self, space: Space) -> None:
        """A program is gone."""
        for address in (*space.points.blocks, *space.points.exact):
            self.pull(space, address)


def chooser(spaces: Mapping[int, Callback], tables: Callable[[], int]) -> Callback:
    """What to call at an address that several programs may have code at."""

    def choose() -> None:
        callback = spaces.get(tables())
        if callback is not None:
            callback()

    return choose


class Lives:
    """The events in tasks' lives that return probes and symbols follow (machine.interface.TracepointTable, as far as they ask for it)."""

    class Fork:
        """During a callback: the values of sched_process_fork."""

        values: tuple[Any, ...] = (b"", 0, b"", 0)

    NAMES = {
        "sched_process_fork": "uprobe_copy_process",
        "sched_process_exec": "uprobe_free_utask",
        "sched_process_exit": "uprobe_free_utask",
    }

    def __init__(self) -> None:
        self.sched_process_fork = Lives.Fork()
        self.callbacks: dict[str, list[Callback]] = {"uprobe_copy_process": [], "uprobe_free_utask": []}

    def attach(self, category: str, name: str, callback: Callback) -> None:
        """Raises KeyError for other events."""
        callbacks = self.callbacks[self.NAMES[name]]
        if callback not in callbacks:
            callbacks.append(callback)


class Programs:
    """All programs of one machine.

    processes: ids of those that were born while somebody looked.
    """

    def __init__(self, machine: SystemMachine, kernel: SystemDescription) -> None:
        self.machine = machine
        self.kernel = kernel
        self.cpu = machine.processor
        self.engine = Engine(machine)
        self.events = Lives()
        self.processes: set[int] = set()
        self._spaces: dict[int, Space] = {}  # by the address of the mm_struct
        self._layout: Layout | None = None
        self._cache: PageCache | None = None
        self._watching = False

    def watch(self) -> None:
        """Follow the programs from now on. A kernel without uprobes has no functions to follow them by: nothing is seen then."""
        if self._watching:
            return
        self._watching = True
        for name, callback in {
            "uprobe_mmap": self._mapped,
            "uprobe_munmap": self._unmapped,
            "uprobe_dup_mmap": self._duplicated,
            "uprobe_clear_state": self._cleared,
            "uprobe_copy_process": self._forked,
            "uprobe_free_utask": self._freed,
        }.items():
            address = self.kernel.symbols.get(name)
            if address is not None:
                self.machine.functions.attach(address, callback, exact=False, ours=True)

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            self._layout = Layout.of(self.kernel)
        return self._layout

    def _argument(self, number: int) -> int:
        return self.cpu.get(ARGUMENTS[self.cpu.arch.name][number])

    def space(self, mm: int) -> Space:
        """The memory that an mm_struct is about."""
        found = self._spaces.get(mm)
        if found is None:
            tables = self.cpu.translate(self.cpu.number(mm + self.layout.pgd)) + self.cpu.ram.base
            found = self._spaces[mm] = Space(self, mm, tables)
        return found

    def process(self, task: SystemTask) -> Process:
        """The program of a task; the kernel's own tasks have an empty one."""
        mm = self.cpu.number(task.address + self.layout.mm)
        return Process(Registers(self, task), self.space(mm) if mm else Space(self, 0, 0))

    def altstack(self, task: SystemTask) -> tuple[int, int, int]:
        """Base, flags and size of a task's stack for signals."""
        o = self.layout
        base, size = self.cpu.number(task.address + o.sas_ss_sp), self.cpu.number(task.address + o.sas_ss_size)
        flags = self.cpu.number(task.address + o.sas_ss_flags, 4)
        return base, flags if size else SS_DISABLE, size

    def saved(self, task: SystemTask, name: str) -> int:
        """A register of a task's program, which the kernel keeps at the upper end of the task's stack."""
        if not self.cpu.number(task.address + self.layout.mm):
            return 0
        return self.cpu.saved_register(self.cpu.number(task.address + self.layout.stack) + THREAD_SIZE, name, self.kernel)

    def mapping(self, space: Space, address: int) -> Vma | None:
        """The mapping that an address lies in."""
        root = self.cpu.number(space.mm + self.layout.mm_mt) if space.mm else 0
        vma = maple.find(root, address, self.cpu.read)
        return self._vma(vma)[1] if vma else None

    def _vma(self, vma: int) -> tuple[int, Vma]:
        """Flags and description of a vm_area_struct."""
        o = self.layout
        start, end, flags, first, file = (self.cpu.number(vma + at) for at in (o.vm_start, o.vm_end, o.vm_flags, o.vm_pgoff, o.vm_file))
        path, backing = self._file(file) if file else (b"", None)
        shared, grows = bool(flags & VM_SHARED), bool(flags & VM_GROWSDOWN)
        backed: Any = backing
        return flags, Vma(start, end, flags & _PROTECTION, shared, backed, first * PAGE, path, path, grows)

    def _file(self, file: int) -> tuple[bytes, TreeFile | GuestFile | None]:
        """The path of an open file as the guest sees it, and the file, if it is one of the host's or a program that the guest has made;
        b"" for others."""
        o = self.layout
        names: list[bytes] = []
        at = self.cpu.number(file + o.f_path)
        for _ in range(_LONGEST):
            parent = self.cpu.number(at + o.d_parent)
            if parent == at:
                break
            names.append(self.cpu.read_string(self.cpu.number(at + o.d_name), PAGE) or b"")
            at = parent
        names.reverse()
        inode = self.cpu.number(file + self.kernel.offset("file", "f_inode"))
        kind = self._type_of(inode) if names else b""
        found: TreeFile | GuestFile | None = None
        if kind == FUSE:
            node = self.machine.channel.node(names)
            found = TreeFile(node) if node is not None else None
        elif kind == TMPFS:
            if names[0] == UPPER_FILES and self._type_of(self.cpu.number(at + o.d_inode)) == TMPFS:  # not through the overlay
                del names[0]
            self._cache = self._cache or PageCache(self.cpu, PageLayout.of(self.kernel))
            made = GuestFile(self._cache, inode)
            found = made if made.readable else None
        return (b"/" + b"/".join(names), found) if found is not None else (b"", None)

    def _type_of(self, inode: int) -> bytes:
        """The type of the file system that an inode is on."""
        kind = self.cpu.number(self.cpu.number(inode + self.layout.i_sb) + self.layout.s_type)
        return self.cpu.read_string(self.cpu.number(kind), _TYPE_NAME) or b""

    def count_up(self, path: str, offset: int) -> bool:
        """Raise a 16-bit counter in a file of the host, by its path in the guest, for every program that maps it: they find it raised in
        the file. A kernel raises it in the memory of each, which has to be there (update_ref_ctr in kernel/events/uprobes.c). False: there
        is no such file."""
        targets = self.kernel.targets
        below = os.path.relpath(os.path.realpath(targets.host_path(path)), os.path.realpath(targets.root or "/"))
        channel = self.machine.channel
        file = channel.node(os.fsencode(below).split(b"/"))
        view = channel.servers[0] if channel.servers else None
        if file is None or not isinstance(view, Server):
            return False
        found = int.from_bytes(file.read(offset, 2), "little")
        view.change(file, offset, (found + 1 & 0xFFFF).to_bytes(2, "little"))
        return True

    # what the kernel tells its own uprobes

    def _mapped(self) -> None:
        """uprobe_mmap(vma): a mapping has appeared, or has got other bounds."""
        address = self._argument(0)
        flags, vma = self._vma(address)
        if flags & _PROBED == VM_MAYEXEC and vma.path:
            vma.prot |= X
            space = self.space(self.cpu.number(address + self.layout.vm_mm))
            for callback in self.machine.on_image:
                callback(space, vma)

    def _unmapped(self) -> None:
        """uprobe_munmap(vma, start, end)"""
        space = self._spaces.get(self.cpu.number(self._argument(0) + self.layout.vm_mm))
        if space is not None:
            start, end = self._argument(1), self._argument(2)
            for address in [a for a in (*space.points.blocks, *space.points.exact) if start <= a < end]:
                self.engine.pull(space, address)

    def _duplicated(self) -> None:
        """uprobe_dup_mmap(parent, child): a fork is about to copy all mappings."""
        parent = self._spaces.get(self._argument(0))
        child = self._argument(1)
        old = self._spaces.pop(child, None)
        if old is not None:
            self.engine.clear(old)
        if parent is not None:
            self.engine.inherit(parent, self.space(child))

    def _cleared(self) -> None:
        """uprobe_clear_state(mm): a program is gone."""
        space = self._spaces.pop(self._argument(0), None)
        if space is not None:
            self.engine.clear(space)

    def _forked(self) -> None:
        """uprobe_copy_process(task, flags): a child has been made."""
        task = self._argument(0)
        tid, tgid = (self.cpu.number(task + at, 4) for at in (self.layout.pid, self.layout.tgid))
        if tid == tgid:
            self.processes.add(tid)
        self.events.sched_process_fork.values = (b"", 0, b"", tid)
        for callback in self.events.callbacks["uprobe_copy_process"]:
            callback()

    def _freed(self) -> None:
        """uprobe_free_utask(task): the current task executes another program, or ends."""
        for callback in self.events.callbacks["uprobe_free_utask"]:
            callback()


SS_DISABLE = 2  # sigaltstack(2)

