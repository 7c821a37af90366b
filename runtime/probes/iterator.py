"""iter: once for each object of a kind that the kernel has when everything else is attached; then the program ends.

`ctx` is what the kernel's own iterators of these kinds hand over (`struct bpf_iter__*`, kernel/bpf/task_iter.c of the kernel), and the
order is theirs. As there, the probe runs in the context of who reads the iterator: that is pyprobe.

An iterator with a name is kept under the BPF file system for others to read. Nobody outlives the machine here, so that all there is to do
is what bpftrace says about it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from pyprobe.lang.attachpoint import AttachPoint, PointError
from pyprobe.lang.typesys import Record
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.probes.base import Handler, Listed, MakeHandler
from pyprobe.runtime.probes.special import SpecialBinding
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.user.kernel import Kernel

_TASK = ("struct task_struct *", "task")
KINDS: dict[str, tuple[tuple[str, str], ...]] = {
    "task": (_TASK,),
    "task_file": (_TASK, ("u32", "fd"), ("struct file *", "file")),
    "task_vma": (_TASK, ("struct vm_area_struct *", "vma")),
}
"""The kinds, with type and name of what `ctx` holds beside `meta`."""

BPF_FS = "/sys/fs/bpf"


def context(kind: str) -> str:
    """The C name of the type of `ctx`."""
    return f"struct bpf_iter__{kind}"


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    for kind in filter(matcher(parts[0] if parts else "*"), KINDS):
        if machine.type_named(context(kind)) is not None:
            yield Listed(f"{name}:{kind}", lambda kind=kind: [f"{ctype} {member}" for ctype, member in KINDS[kind]])  # type: ignore[misc]  # binds the loop's value


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    kind = point.function
    if machine.type_named(context(kind)) is None:
        raise PointError(f"iter {kind} not available for your kernel version.")
    if kind not in KINDS:
        raise PointError(f"No matches for iter {kind}.", f"There are: {', '.join(KINDS)}.")
    return [point]


def args(machine: Description, point: AttachPoint) -> Record | None:
    return None


class Context:
    """`ctx` of the object that the iterator is at: its address."""

    address = 0


class IteratorBinding(SpecialBinding):
    """Builtins in the context of pyprobe, in the kernel's code that calls the iterator."""

    def __init__(self, machine: Kernel, point: AttachPoint, context: Context) -> None:
        super().__init__(machine, point.name, point.provider)
        self.context = context

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        if name == "ctx":
            return Bound("_iteration.address", {"_iteration": self.context})
        return None if name == "usermode" else super().special(name, literals)


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    context = Context()
    handler = make(IteratorBinding(machine, point, context))

    def iterate() -> None:
        for context.address in addresses(machine, point.function):
            handler()

    points.iterators.append((pinned(point.pin) if point.pin else None, cast(Handler, iterate)))


def addresses(machine: Any, kind: str) -> Iterator[int]:
    """The address of `ctx` for each object of a kind, valid until the next."""
    if getattr(machine, "booted", False):
        from pyprobe.runtime.system import iterators as booted

        system: SystemMachine = machine
        return booted.addresses(system, kind)
    from pyprobe.runtime.user import iterators

    return iterators.addresses(machine, kind)


def pinned(name: str) -> str:
    """Where an iterator is kept; "" where it cannot be: outside of the BPF file system, in a directory that it does not have, or under a
    name with a dot (bpf_lookup() of kernel/bpf/inode.c)."""
    path = os.path.normpath(os.path.join(BPF_FS, name))
    folder, last = os.path.split(path)
    return path if folder == BPF_FS and last and "." not in last else ""
