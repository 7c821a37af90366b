"""The objects of a booted kernel of one kind, one after the other, as kernel/bpf/task_iter.c of the kernel goes through them.

By the number of the task, threads too; what threads share is gone through once. What is ours is left out: init, and who works for it.
The struct that the kernel would hand over is written to memory that the board keeps from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyprobe.runtime.system import maple
from pyprobe.runtime.system.tracing.registering import tasks

if TYPE_CHECKING:
    from pyprobe.runtime.system.machine import SystemMachine

CONTEXT_AT, META_AT = 0xF000, 0xF100  # in the kept memory, behind the registers of events
_MOST_FILES = 1 << 20  # of one task: beyond, the table is none


def addresses(machine: SystemMachine, kind: str) -> Iterator[int]:
    """The address of a `struct bpf_iter__*` for each object of a kind (`task`, `task_file`, `task_vma`), valid until the next."""
    description, cpu = machine.description, machine.processor
    start = cpu.linear(machine.board.kept)
    context, meta = start + CONTEXT_AT, start + META_AT
    struct = f"bpf_iter__{kind}"
    sizes = {"fd": 4}
    places = [(description.offset(struct, name), sizes.get(name, 8)) for name in ("meta", *_MEMBERS[kind])]
    size = description.size(f"struct {struct}")
    counted = description.offset("bpf_iter_meta", "seq_num")
    cpu.write(meta, bytes(description.size("struct bpf_iter_meta")))
    cpu.write(meta + description.offset("bpf_iter_meta", "session_id"), (1).to_bytes(8, "little"))
    for number, values in enumerate(_WALKS[kind](machine)):
        content = bytearray(size)
        for (at, width), value in zip(places, (meta, *values), strict=True):
            content[at : at + width] = value.to_bytes(width, "little")
        cpu.write(context, bytes(content))
        cpu.write(meta + counted, number.to_bytes(8, "little"))
        yield context


def _tasks(machine: SystemMachine) -> Iterator[tuple[int, ...]]:
    yield from ((task,) for _, task in sorted(_shown(machine)))


def _shown(machine: SystemMachine) -> Iterator[tuple[int, int]]:
    """Thread id and address of the tasks, without the idle task, which has no number of its own, and ours."""
    for address in tasks(machine):
        task = machine.task_at(address)
        if task is not None and task.tid and not machine.is_ours(task):
            yield task.tid, address


def _with_own_files(machine: SystemMachine) -> Iterator[tuple[int, int]]:
    """The tasks with their table of files, without those that have the one of the first of their threads."""
    at, leader = machine.description.offset("task_struct", "files"), machine.description.offset("task_struct", "group_leader")
    for _, task in sorted(_shown(machine)):
        files, first = machine.processor.number(task + at), machine.processor.number(task + leader)
        if task == first or files != machine.processor.number(first + at):
            yield task, files


def _files(machine: SystemMachine) -> Iterator[tuple[int, ...]]:
    of = machine.description.offset
    fdt, most, table = of("files_struct", "fdt"), of("fdtable", "max_fds"), of("fdtable", "fd")
    for task, files in _with_own_files(machine):
        descriptors = machine.processor.number(files + fdt) if files else 0
        count = machine.processor.number(descriptors + most) & 0xFFFF_FFFF if descriptors else 0
        first = machine.processor.number(descriptors + table) if 0 < count <= _MOST_FILES else 0
        for fd in range(count if first else 0):
            file = machine.processor.number(first + 8 * fd)
            if file:
                yield task, fd, file


def _vmas(machine: SystemMachine) -> Iterator[tuple[int, ...]]:
    at = machine.description.offset("task_struct", "mm")
    root = machine.description.offset("mm_struct", "mm_mt", "ma_root")
    for task, _ in _with_own_files(machine):
        mm = machine.processor.number(task + at)
        if mm:
            yield from ((task, vma) for vma in maple.entries(machine.processor.number(mm + root), machine.processor.read))


_MEMBERS = {"task": ("task",), "task_file": ("task", "fd", "file"), "task_vma": ("task", "vma")}
_WALKS = {"task": _tasks, "task_file": _files, "task_vma": _vmas}
